//! Settings of the mesh that concern the control plane itself.

use osm_certs::manager::CertificateManager;
use osm_core::catalog::SnapshotWatch;

use crate::readiness::Pending;

/// Follows the MeshConfig: how long certificates live, and what keys they have. The source is ready with
/// the first snapshot.
pub(super) async fn follow(mut snapshots: SnapshotWatch, certificates: CertificateManager, source: Pending) {
    let mut source = Some(source);
    while let Some((snapshot, change)) = snapshots.changed().await {
        if change.settings {
            certificates.set_validity(snapshot.config().service_certificate_validity);
            certificates.set_service_key(snapshot.config().service_key);
        }
        source.take().into_iter().for_each(Pending::ready);
    }
}
