//! Who may reach whom: `mesh-from-files PATH...` reads manifests and prints what
//! policy decides for each pod. Nothing is run and nothing is changed.

mod cluster;
mod report;

use anyhow::{Result, bail, ensure};
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;
use osm_k8s::FileSource;

#[tokio::main]
async fn main() -> Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!paths.is_empty(), "usage: mesh-from-files PATH...; a path is a manifest or a folder of them");
    let mut entries = Vec::new();
    let mut findings = Vec::new();
    for path in &paths {
        let manifests = FileSource::new(path).load_once().await;
        findings.extend(manifests.all_diagnostics());
        if !manifests.is_complete {
            bail!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        entries.extend(manifests.entries.values().cloned());
    }
    let (catalog, mut driver) = Catalog::new(MeshOptions::default());
    driver.take_in([SourceEvent::Reset]);
    driver.take_in(cluster::facts(&entries).into_iter().map(SourceEvent::apply));
    driver.take_in([SourceEvent::Diagnostics(findings), SourceEvent::Ready]);
    print!("{}", report::report(&catalog.snapshot()));
    Ok(())
}
