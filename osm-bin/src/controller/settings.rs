//! Settings of the mesh that concern the control plane itself.

use osm_certs::manager::CertificateManager;
use osm_core::catalog::SnapshotWatch;
use osm_xds::server::ProxyLimit;

use crate::readiness::Pending;

/// Follows the MeshConfig: how long certificates live, what keys they have, and how
/// many proxies may connect. The source is ready with the first snapshot.
pub(super) async fn follow(
    mut snapshots: SnapshotWatch,
    certificates: CertificateManager,
    proxies: ProxyLimit,
    source: Pending,
) {
    let mut source = Some(source);
    while let Some((snapshot, change)) = snapshots.changed().await {
        if change.settings {
            let config = snapshot.config();
            certificates.set_validity(config.service_certificate_validity);
            certificates.set_service_key(config.service_key);
            proxies.set(config.max_data_plane_connections);
        }
        source.take().into_iter().for_each(Pending::ready);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    use osm_certs::in_process::InProcessCa;
    use osm_certs::manager::ManagerOptions;
    use osm_core::catalog::{Catalog, MeshCatalog};
    use osm_core::model::MeshConfig;
    use osm_core::snapshot::MeshOptions;
    use osm_core::source::SourceEvent;

    use super::*;
    use crate::readiness::Readiness;

    #[tokio::test]
    async fn the_limit_of_proxies_is_that_of_the_mesh_config_as_it_is_now() {
        let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
        let (certificates, _manager) = CertificateManager::new(authority, ManagerOptions::default());
        let (reader, mut catalog) = Catalog::new(MeshOptions::default());
        let limit = ProxyLimit::default();
        let pending = Readiness::default().expect("source");
        let followed = tokio::spawn(follow(reader.watch(), certificates, limit.clone(), pending));
        let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
        catalog.take_in([SourceEvent::Reset, SourceEvent::Ready]);
        for wanted in [Some(5), Some(2), None, Some(7)] {
            config.max_data_plane_connections = wanted.and_then(NonZeroU32::new);
            catalog.take_in([SourceEvent::apply(config.clone())]);
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while limit.current() != wanted.map(|limit| limit as usize) {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{:?} instead of {wanted:?}",
                    limit.current()
                );
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        followed.abort();
    }
}
