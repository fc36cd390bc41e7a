//! The Secrets by which proxies prove themselves, where they do so: one beside each pod.
//!
//! A Secret is made once its pod is there, so that admitting a pod writes nothing, a pod
//! that is refused after all leaves nothing, and the Secret belongs to the pod from the start:
//! Kubernetes takes it away with the pod, and starts no pod that mounts it before it is there. The replica
//! that holds the lease does so. It keeps what is good, and makes what is missing, edited,
//! about to end or of an authority that signs no more.
//!
//! Whose certificate is in a Secret is what the API server says of the pod: its namespace, its
//! account, and the name of its proxy. A pod gets one only if its volume names the Secret of that
//! very proxy. A Secret of that name without the mesh's labels is somebody else's and stays as it is.
//!
//! What is decided is in `decision` (pure). What is in a Secret is another dialect: it comes from
//! [`PodCredentials`]. No key is kept here once it is written.

mod claim;
mod decision;
mod keep;
mod known;
mod queue;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;
use osm_core::identity::ProxyId;
use tokio::sync::watch;

use crate::client::ApiClient;
use crate::lease::LeaseWatch;
use crate::metrics::Metrics;
use crate::namespaces::MonitoredNamespaces;
use keep::{End, Keeper};

/// What is in a Secret, by name. Nothing of it is wiped: the client of the API server holds copies
/// of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretFiles(pub BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for SecretFiles {
    /// Leaves out what is in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the files of a Secret prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Whose they are.
    pub proxy: ProxyId,
    /// When they are to be replaced, well before they end.
    pub until: SystemTime,
}

/// Makes what is in the Secrets, and reads it again. What is read may be anybody's: whoever may make Secrets gives them the mesh's labels.
pub trait PodCredentials: Send + Sync + 'static {
    /// What files prove that the mesh wrote at this time, as far as that is known; `None` if that is nothing, or nothing any more.
    fn read(&self, files: &SecretFiles, written: Option<SystemTime>) -> Option<Proved>;

    /// New files for a proxy; `None` if there are none now. Not called for many at once.
    fn issue(&self, proxy: ProxyId) -> BoxFuture<'static, Option<SecretFiles>>;

    /// Another number when files that were good may be so no more. `None` until that can be
    /// told: before that nothing is read or issued.
    fn epoch(&self) -> watch::Receiver<Option<u64>>;
}

/// Keeps the Secrets of the pods of a mesh, for ever, while a lease is held.
pub struct PodSecrets {
    server: ApiClient,
    mesh_name: String,
    namespaces: MonitoredNamespaces,
    credentials: Arc<dyn PodCredentials>,
    lease: LeaseWatch,
    metrics: Metrics,
}

impl std::fmt::Debug for PodSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodSecrets").field("mesh_name", &self.mesh_name).finish_non_exhaustive()
    }
}

impl PodSecrets {
    /// Nothing is asked or written until [`run`](Self::run) is polled and the lease is held.
    #[must_use]
    pub fn new(
        server: ApiClient,
        mesh_name: &str,
        namespaces: MonitoredNamespaces,
        credentials: Arc<dyn PodCredentials>,
        lease: LeaseWatch,
        metrics: Metrics,
    ) -> Self {
        Self { server, mesh_name: mesh_name.to_owned(), namespaces, credentials, lease, metrics }
    }

    /// Keeps them, for ever.
    pub async fn run(mut self) {
        let mut epoch = self.credentials.epoch();
        loop {
            while !self.lease.is_held() {
                self.lease.changed().await;
            }
            let keeper = epoch.borrow_and_update().map(|_| Keeper::new(&self));
            let keeping = async {
                let ended = match keeper {
                    Some(keeper) => Some(keeper.run().await),
                    None => None,
                };
                // With another namespace in the mesh its Secrets are to be read.
                if ended != Some(End::Joined) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = keeping => {}
                () = self.lease.changed() => {}
                // Everything is looked at anew.
                changed = epoch.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}
