//! The whole mesh on a real Kubernetes cluster: installed, carrying the bookstore and
//! other workloads, disturbed, and removed again without a trace.
//!
//! `cargo xtask e2e` brings the cluster (or takes that of `$KUBECONFIG`) and the images,
//! and runs this. What is expected of single parts is in their own tests.

mod bookstore;
mod certificates;
mod faults;
mod helm;
mod identity;
mod members;
mod replicas;
mod upgrade;
mod workloads;

use anyhow::Result;
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::Mesh;
use osm_e2e::cluster::{step, tidy_up};
use osm_e2e::kubectl::told_by;

/// Does all of it. `mesh` is what is installed meanwhile.
fn walk(mesh: &mut Option<Mesh>) -> Result<()> {
    tidy_up()?;
    let before = Inventory::take()?;
    step("the mesh is installed by the command line", || {
        let (installed, saw) = Mesh::install()?;
        *mesh = Some(installed);
        Ok(saw)
    })?;
    let disturbed = [faults::STEPS, upgrade::STEPS, identity::STEPS, certificates::STEPS, replicas::STEPS];
    let steps = [&[bookstore::STEPS, workloads::STEPS, members::STEPS], &disturbed[..]].concat().concat();
    steps.into_iter().try_for_each(|(title, work)| step(title, work))?;
    step("nothing is left after the mesh was uninstalled", || {
        mesh.take().map_or(Ok(()), Mesh::uninstall)?;
        before.compare()
    })
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
fn a_mesh_is_installed_used_disturbed_and_removed_on_a_real_cluster() {
    let mut mesh = None;
    if let Err(error) = walk(&mut mesh) {
        let told = told_by(&["osm-system", "bookbuyer", "bookstore", "bookthief", "workloads", "members"]);
        // What a step left is to go before the mesh does.
        let removed = members::remove();
        drop(mesh);
        panic!("{error:?}\n\n{told}\n{removed:?}");
    }
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG, and helm: OSM_HELM"]
fn a_mesh_of_helm_carries_the_bookstore_and_leaves_what_helm_leaves() {
    let mut release = None;
    if let Err(error) = helm::walk(&mut release) {
        let told = told_by(&["osm-system", "bookbuyer", "bookstore"]);
        drop(release);
        panic!("{error:?}\n\n{told}");
    }
}
