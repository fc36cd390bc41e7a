//! The trust domain in which proxies and workloads have their names, as it changes.

use std::sync::Arc;

use osm_core::catalog::{MeshCatalog, SnapshotWatch};
use osm_core::identity::TrustDomain;

/// The trust domain in which they have them now.
pub(crate) fn own_domain(catalog: &dyn MeshCatalog) -> TrustDomain {
    catalog.snapshot().trust_domains().own().clone()
}

/// Follows it.
pub(crate) struct OwnDomain {
    catalog: Arc<dyn MeshCatalog>,
    snapshots: SnapshotWatch,
    known: TrustDomain,
}

impl OwnDomain {
    pub(crate) fn follow(catalog: Arc<dyn MeshCatalog>) -> Self {
        let (snapshots, known) = (catalog.watch(), own_domain(&*catalog));
        Self { catalog, snapshots, known }
    }

    /// The one that was known last.
    pub(crate) fn known(&self) -> &TrustDomain {
        &self.known
    }

    /// Waits for another one, if need be for ever. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            let now = own_domain(&*self.catalog);
            if now != self.known {
                self.known = now;
                return;
            }
            if self.snapshots.changed().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }
}
