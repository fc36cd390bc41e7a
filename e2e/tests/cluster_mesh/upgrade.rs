//! Another version and other values of the control plane, while requests go on and pods
//! are made.

use anyhow::{Context, Result, bail, ensure};

use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::mesh::upgrade;
use osm_e2e::cluster::{Step, members, proxies, replicas};
use osm_e2e::kubectl::{get, kubectl, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] =
    &[("no request fails while the mesh is upgraded, and pods get their sidecars meanwhile", upgraded)];

/// The other image, and a value that adds an object.
pub(crate) const NEXT: [&str; 3] = [
    "osm.image.name.osmController=osm-controller-next",
    "osm.osmController.enablePodDisruptionBudget=true",
    "osm.controllerLogLevel=debug",
];

fn upgraded() -> Result<String> {
    members::call(members::PAUSE)?;
    let before = [Client::Buyer.counts()?, Client::Caller.counts()?];
    let made = while_upgraded()?;
    let deployment = get(&["deployment", "osm-controller", "--namespace=osm-system"])?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    ensure!(container["image"] == "openservicemesh/osm-controller-next:dev", "{container}");
    get(&["poddisruptionbudget", "osm-controller", "--namespace=osm-system"])?;
    let connected = proxies::connected()?;
    replicas::with_streams(1, connected)?;
    if Client::Thief.next(20)?.successes > 0 {
        bail!("the thief succeeds");
    }
    let [bought, called] = before;
    let bought = Client::Buyer.counts()?.since(&bought).without_failure()?;
    let called = Client::Caller.counts()?.since(&called).without_failure()?;
    Ok(format!(
        "buyer: {bought}; new connections: {called}; pods made meanwhile: {made}; {connected} proxies connected again"
    ))
}

/// Upgrades, and makes one pod after the other until that is done.
fn while_upgraded() -> Result<u32> {
    std::thread::scope(|scope| {
        let upgrading = scope.spawn(|| upgrade(&NEXT));
        let mut made = 0;
        while !upgrading.is_finished() {
            kubectl(&["rollout", "restart", "--namespace=bookthief", "deployment/bookthief"])?;
            rolled_out("bookthief", &["deployment/bookthief"])?;
            made += 1;
        }
        upgrading.join().ok().context("the upgrade's thread")??;
        Ok(made)
    })
}
