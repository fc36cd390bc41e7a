//! What the mesh does while parts of its cluster are away: API server, etcd, the control
//! plane itself. Requests go on, nobody is let in who was not, and what is changed
//! afterwards arrives.
//!
//! `cargo xtask e2e cluster_faults` runs it in the cluster of the project's own. In another one, `$OSM_CLUSTER` says how
//! parts of it are taken away.

mod outages;
mod rollout;

use anyhow::{Result, ensure};
use osm_e2e::cluster::bookstore::{ALL_TO_V1, ALL_TO_V2, allow_by_policy, deploy};
use osm_e2e::cluster::client::{Client, Counts};
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::Mesh;
use osm_e2e::cluster::{members, step, tidy_up};
use osm_e2e::kubectl::{apply, told_by};

/// What all clients counted at one moment.
struct Seen([Counts; 3]);

impl Seen {
    fn now() -> Result<Self> {
        Ok(Self([Client::Buyer.counts()?, Client::Caller.counts()?, Client::Thief.counts()?]))
    }

    /// Makes a change that has to be in force soon, and tells of all requests since then: those who may
    /// succeeded, and the thief never did.
    fn until_a_change_is_in_force(self) -> Result<String> {
        apply(ALL_TO_V1)?;
        Client::Buyer.until(100, |seen| seen.share_of_v1() == 100.0)?;
        apply(ALL_TO_V2)?;
        Client::Buyer.until(100, |seen| seen.share_of_v1() == 0.0)?;
        let Self([buyer, caller, thief]) = self;
        let buyer = Client::Buyer.counts()?.since(&buyer).without_failure()?;
        let caller = Client::Caller.counts()?.since(&caller).without_failure()?;
        let thief = Client::Thief.counts()?.since(&thief);
        ensure!(thief.successes == 0 && thief.requests > 0, "the thief: {thief}");
        Ok(format!("buyer: {buyer}; new connections: {caller}; thief: {thief}"))
    }
}

fn prepare() -> Result<String> {
    let pods = deploy()?;
    allow_by_policy()?;
    apply(ALL_TO_V2)?;
    members::deploy()?;
    members::call()?;
    Client::Thief.until(20, |seen| seen.successes == 0)?;
    Client::Buyer.until(100, |seen| seen.failures() == 0)?;
    Client::Caller.until(20, |seen| seen.failures() == 0)?;
    Ok(pods)
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
    step("the bookstore and others make requests", prepare)?;
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
