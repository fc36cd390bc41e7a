//! The ConfigMap with the mesh's authorities, kept in every monitored namespace.
//!
//! Proxies verify their control plane by it. It is written anew when the authorities
//! change, when a namespace comes into the mesh, and when somebody edits or deletes it.
//! A namespace that leaves the mesh keeps it, for the pods that run there still.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use crate::client::ApiClient;
use crate::namespaces::MonitoredNamespaces;

/// The name of the ConfigMap.
pub const TRUST_CONFIG_MAP: &str = "osm-trust-bundle";

/// Who writes it, as `managedFields` says.
const MANAGER: &str = "osm-controller";
/// How long to wait after a write that failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the mesh's objects are found by.
const NAME_LABEL: (&str, &str) = ("app.kubernetes.io/name", "openservicemesh.io");
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The files of the ConfigMap, by name; `None` until they are known.
pub type TrustFiles = watch::Receiver<Option<BTreeMap<String, String>>>;

/// Keeps the ConfigMap as these files say, in every namespace of a mesh, for ever.
#[derive(Debug)]
pub struct TrustBundles {
    server: ApiClient,
    mesh_name: String,
    namespaces: MonitoredNamespaces,
    files: TrustFiles,
    /// Where it is as it should be.
    right: BTreeSet<String>,
}

impl TrustBundles {
    /// Nothing is written until [`run`](Self::run) is polled.
    #[must_use]
    pub fn new(
        server: ApiClient,
        mesh_name: &str,
        namespaces: MonitoredNamespaces,
        files: TrustFiles,
    ) -> Self {
        let mesh_name = mesh_name.to_owned();
        Self { server, mesh_name, namespaces, files, right: BTreeSet::new() }
    }

    /// Writes what differs whenever it does. Ends when neither files nor namespaces can
    /// change any more.
    pub async fn run(mut self) {
        let all: Api<ConfigMap> = Api::all(self.server.kube());
        let config = Config::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"));
        let mut events = pin!(watcher(all, config).default_backoff());
        loop {
            let is_done = self.write_what_is_missing().await;
            let retry = async {
                match is_done {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                changed = self.files.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.right.clear();
                }
                may_change = self.namespaces.changed() => if !may_change {
                    return;
                },
                Some(event) = events.next() => self.look(event),
                () = retry => {}
            }
        }
    }

    /// Takes in what somebody, maybe this, has done to one.
    fn look(&mut self, event: Result<Event<ConfigMap>, watcher::Error>) {
        match event {
            Ok(Event::Init) => self.right.clear(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let is_right =
                    self.files.borrow().as_ref().is_some_and(|files| object.data.as_ref() == Some(files));
                let namespace = object.namespace().unwrap_or_default();
                if is_right {
                    self.right.insert(namespace);
                } else {
                    self.right.remove(&namespace);
                }
            }
            Ok(Event::Delete(object)) => {
                self.right.remove(&object.namespace().unwrap_or_default());
            }
            Ok(Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "trust bundles cannot be watched"),
        }
    }

    /// Returns whether everything is as it should be.
    async fn write_what_is_missing(&mut self) -> bool {
        let (Some(files), Some(names)) = (self.files.borrow().clone(), self.namespaces.names()) else {
            return true;
        };
        self.right.retain(|name| names.contains(name));
        let missing: Vec<String> = names.into_iter().filter(|name| !self.right.contains(name)).collect();
        let mut is_done = true;
        for name in missing {
            let written = tokio::time::timeout(PATIENCE, self.write(&name, &files)).await;
            let Ok(written) = written else {
                tracing::warn!(namespace = name, "trust bundle is not taken in time");
                is_done = false;
                continue;
            };
            match written {
                Ok(()) => {
                    tracing::debug!(namespace = name, "trust bundle is written");
                    self.right.insert(name);
                }
                // A namespace that is being deleted takes nothing new.
                Err(kube::Error::Api(status)) if status.code == 404 || is_ending(&status.message) => {
                    tracing::debug!(namespace = name, error = %status, "trust bundle is not taken");
                }
                Err(error) => {
                    tracing::warn!(namespace = name, %error, "trust bundle cannot be written");
                    is_done = false;
                }
            }
        }
        is_done
    }

    async fn write(&self, namespace: &str, files: &BTreeMap<String, String>) -> Result<(), kube::Error> {
        let labels = [NAME_LABEL, (INSTANCE_LABEL, self.mesh_name.as_str())];
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(TRUST_CONFIG_MAP.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(files.clone()),
            ..ConfigMap::default()
        };
        let objects: Api<ConfigMap> = Api::namespaced(self.server.kube(), namespace);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        // As a whole: what somebody has added goes as well.
        match objects.replace(TRUST_CONFIG_MAP, &params, &object).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                objects.create(&params, &object).await.map(drop)
            }
            replaced => replaced.map(drop),
        }
    }
}

/// Whether a refusal says that the namespace is being deleted, and not that rights are missing.
fn is_ending(message: &str) -> bool {
    message.contains("because it is being terminated")
}
