//! What the mesh does while parts of its cluster are away: API server, etcd, the control
//! plane itself. Requests go on, nobody is let in who was not, and what is changed
//! afterwards arrives.
//!
//! `cargo xtask e2e cluster_faults` runs it in the cluster of the project's own. In another one, `$OSM_CLUSTER` says how
//! parts of it are taken away.

mod outages;
mod rollout;

use anyhow::Result;
use osm_e2e::cluster::bookstore::{ALL_TO_V1, ALL_TO_V2};
use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::Mesh;
use osm_e2e::cluster::seen::{Seen, everybody_calls};
use osm_e2e::cluster::{members, step, tidy_up};
use osm_e2e::kubectl::{apply, told_by};

/// Makes a change that has to be in force soon, and tells of all requests since then.
fn until_a_change_is_in_force(seen: Seen) -> Result<String> {
    apply(ALL_TO_V1)?;
    Client::Buyer.until(100, |seen| seen.share_of_v1() == 100.0)?;
    apply(ALL_TO_V2)?;
    Client::Buyer.until(100, |seen| seen.share_of_v1() == 0.0)?;
    seen.all_went_well()
}

/// Does all of it. `mesh` is what is installed meanwhile.
fn walk(mesh: &mut Option<Mesh>) -> Result<()> {
    tidy_up()?;
    let before = Inventory::take()?;
    step("the mesh is installed", || {
        let (installed, saw) = Mesh::install()?;
        *mesh = Some(installed);
        Ok(saw)
    })?;
    step("the bookstore and others make requests", || everybody_calls(members::PAUSE))?;
    let steps = [outages::STEPS, rollout::STEPS].concat();
    steps.into_iter().try_for_each(|(title, work)| step(title, work))?;
    step("nothing is left after the mesh was uninstalled", || {
        mesh.take().map_or(Ok(()), Mesh::uninstall)?;
        before.compare()
    })
}

#[test]
#[ignore = "needs a Kubernetes cluster whose parts can be taken away: KUBECONFIG, OSM_CLUSTER"]
fn a_mesh_lives_through_the_loss_of_each_part_of_its_cluster() {
    let mut mesh = None;
    if let Err(error) = walk(&mut mesh) {
        let told = told_by(&["osm-system", "bookbuyer", "bookstore", "bookthief", "workloads"]);
        drop(mesh);
        panic!("{error:?}\n\n{told}");
    }
}
