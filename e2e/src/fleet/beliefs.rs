//! What proxies believe while the root of their mesh is exchanged, and what they prove themselves with: as files in pods, they
//! are another some time after the control plane has told of another root.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use osm_certs::certificate::TrustBundle;
use osm_xds::credential::Credential;
use osm_xds::generate::names::TRUST_SECRET;
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use parking_lot::Mutex;
use rustls::RootCertStore;

use super::credentials::{Credentials, Proof, store};

/// What all proxies of a mesh believe. Each has what proves it under the old root and under the new one.
pub(super) struct Beliefs {
    delay: Duration,
    new_root: TrustBundle,
    files: Mutex<Files>,
    /// The versions of the secret that were told of, in their order.
    told: Mutex<Vec<String>>,
    proxies: Vec<OfProxy>,
    connected: AtomicUsize,
    connections: AtomicU64,
    refused: AtomicU64,
}

/// What stands in the files of all pods.
struct Files {
    roots: Arc<RootCertStore>,
    is_new: bool,
}

struct OfProxy {
    old: Proof,
    new: Proof,
    /// Which of the versions that were told of it has, counted from 1.
    told: AtomicUsize,
    secrets: AtomicU64,
}

/// How often proxies have come, and not been able to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comings {
    pub(super) connections: u64,
    pub(super) refused: u64,
}

impl Beliefs {
    /// Those of proxies that prove themselves by these, in their order, and whose files are so much behind.
    pub(super) fn new(
        old: &Credentials,
        new: &Credentials,
        proofs: Vec<(Proof, Proof)>,
        delay: Duration,
    ) -> Self {
        let of_proxy = |(old, new)| OfProxy { old, new, told: 0.into(), secrets: 0.into() };
        Self {
            delay,
            new_root: new.root().clone(),
            files: Mutex::new(Files { roots: old.roots(), is_new: false }),
            told: Mutex::default(),
            proxies: proofs.into_iter().map(of_proxy).collect(),
            connected: 0.into(),
            connections: 0.into(),
            refused: 0.into(),
        }
    }

    /// TLS of a proxy as its files are now.
    pub(super) fn tls(&self, proxy: usize) -> Result<rustls::ClientConfig> {
        let (roots, is_new) = {
            let files = self.files.lock();
            (Arc::clone(&files.roots), files.is_new)
        };
        let OfProxy { old, new, .. } = &self.proxies[proxy];
        if is_new { new.tls(roots) } else { old.tls(roots) }
    }

    /// A proxy was sent a secret. The first that is told of other roots has them in all pods after a while.
    pub(super) fn secret(
        self: &Arc<Self>,
        proxy: usize,
        name: &str,
        version: &str,
        body: &[u8],
    ) -> Result<()> {
        let of_proxy = &self.proxies[proxy];
        of_proxy.secrets.fetch_add(1, Ordering::Relaxed);
        if name != TRUST_SECRET {
            return Ok(());
        }
        let mut told = self.told.lock();
        let known = told.iter().position(|known| known == version);
        let place = known.unwrap_or_else(|| {
            told.push(version.to_owned());
            told.len() - 1
        });
        drop(told);
        of_proxy.told.store(place + 1, Ordering::Release);
        if known.is_none() {
            let files = self.files_of(body)?;
            let beliefs = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(beliefs.delay).await;
                *beliefs.files.lock() = files;
            });
        }
        Ok(())
    }

    fn files_of(&self, body: &[u8]) -> Result<Files> {
        let key = ResourceKey::new(ResourceKind::Secret, ResourceName::new(TRUST_SECRET));
        let secret = Resource::new(key, body.to_vec().into(), Vec::new(), Vec::new());
        let Some(Credential::Trust(bundle)) = Credential::read(&secret) else {
            bail!("the secret of the roots has none");
        };
        let roots = Arc::new(store(&bundle)?);
        let is_new = self.new_root.der().iter().all(|root| bundle.der().contains(root));
        Ok(Files { roots, is_new })
    }

    /// A proxy has a stream.
    pub(super) fn came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connected.fetch_add(1, Ordering::Release);
    }

    /// A proxy has none any more.
    pub(super) fn went(&self) {
        self.connected.fetch_sub(1, Ordering::Release);
    }

    /// A proxy got none: it did not believe the control plane, or the other way round.
    pub(super) fn was_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connected(&self) -> usize {
        self.connected.load(Ordering::Acquire)
    }

    pub(super) fn comings(&self) -> Comings {
        let (connections, refused) = (&self.connections, &self.refused);
        Comings { connections: connections.load(Ordering::Relaxed), refused: refused.load(Ordering::Relaxed) }
    }

    /// How many proxies have what was told last, and how many times something was.
    pub(super) fn told(&self) -> (usize, usize) {
        let last = self.told.lock().len();
        (self.proxies.iter().filter(|proxy| proxy.told.load(Ordering::Acquire) == last).count(), last)
    }

    /// How many secrets each proxy was sent.
    pub(super) fn secrets(&self) -> Vec<u64> {
        self.proxies.iter().map(|proxy| proxy.secrets.load(Ordering::Relaxed)).collect()
    }
}
