//! What the mesh means at this moment: the snapshot that its control plane has, made here from the same objects.

use std::sync::Arc;

use anyhow::{Context, Result};
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::name::{ObjectName, QualifiedName};
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_k8s::ManifestKind;
use osm_k8s::document::{self, Outcome};

use super::connection::Cluster;
use crate::install::Installed;

/// Reads the objects of a mesh, and links them.
pub(super) async fn snapshot(cluster: &Cluster, mesh: &Installed) -> Result<Arc<MeshSnapshot>> {
    let mut facts = Vec::new();
    for kind in ManifestKind::ALL.iter().filter(|kind| kind.fact().is_some()) {
        // As the control plane reads them: in the newest version that the server has.
        for object in cluster.objects.list_first(kind.api_versions(), kind.name()).await? {
            if let Outcome::Manifest(manifest) = document::read_value(&object, 0).outcome {
                facts.extend(manifest.facts().objects);
            }
        }
    }
    let (catalog, mut driver) = Catalog::new(options(mesh)?);
    driver.take_in(SourceEvent::round(facts));
    Ok(catalog.snapshot())
}

fn options(mesh: &Installed) -> Result<MeshOptions> {
    let mut options = MeshOptions::default();
    options.mesh_name.clone_from(&mesh.mesh);
    let namespace = mesh.namespace.parse().context("the namespace of the control plane")?;
    let name: ObjectName = "osm-mesh-config".parse().context("the name of the MeshConfig")?;
    options.mesh_config = QualifiedName::new(namespace, name);
    Ok(options)
}
