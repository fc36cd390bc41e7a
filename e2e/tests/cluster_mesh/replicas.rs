//! Two replicas of the control plane, of which one is lost and then another one: its process is killed where the test can
//! do so, else its pod is deleted.

use anyhow::{Context, Result, bail, ensure};

use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::mesh::upgrade;
use osm_e2e::cluster::replicas::{self, Replica};
use osm_e2e::cluster::{Step, members, proxies};
use osm_e2e::kubectl::{kubectl, rolled_out, until};

use super::upgrade::NEXT;

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("proxies are spread over two replicas", spread),
    (
        "a replica that is lost leaves its proxies to the other one, which has the same to say, byte by byte",
        identical,
    ),
    ("no request fails while a replica is lost and endpoints change", under_load),
];

fn spread() -> Result<String> {
    upgrade(&[&NEXT[..], &["osm.osmController.replicaCount=2"]].concat())?;
    // Proxies stay where they are. A new one takes either.
    let replicas = until("proxies at both replicas", || {
        let replicas = replicas::all()?;
        if replicas.len() == 2 && replicas.iter().all(|replica| replica.streams > 0) {
            return Ok(replicas);
        }
        kubectl(&["rollout", "restart", "--namespace=bookthief", "deployment/bookthief"])?;
        rolled_out("bookthief", &["deployment/bookthief"])?;
        bail!("{replicas:?}")
    })?;
    Ok(replicas.iter().map(|replica| replica.streams.to_string()).collect::<Vec<_>>().join(" and "))
}

/// The replica with most proxies, and the other one.
fn by_streams() -> Result<(Replica, Replica)> {
    let mut replicas = replicas::with_streams(2, proxies::connected()?)?;
    replicas.sort_by_key(|replica| replica.streams);
    let most = replicas.pop().context("a replica")?;
    Ok((most, replicas.pop().context("another replica")?))
}

fn identical() -> Result<String> {
    let (lost, other) = by_streams()?;
    let before = proxies::configurations()?;
    let how = replicas::lose(&lost)?;
    let connected = proxies::connected()?;
    let replicas = replicas::without(&lost, 2, connected)?;
    let after = proxies::configurations()?;
    ensure!(before.keys().eq(after.keys()), "other proxies than before");
    for (pod, configuration) in &after {
        if let Some(difference) = proxies::difference(&before[pod], configuration) {
            bail!("{pod:?} has another configuration: {difference}");
        }
    }
    let sent = replicas.iter().map(|replica| replica.resources).sum::<u64>() - other.resources;
    ensure!(sent == 0, "{sent} resources were sent: {replicas:?}, before {other:?}");
    let compared: usize = after.values().map(proxies::resources).sum();
    ensure!(compared > connected, "{compared} resources were compared");
    Ok(format!(
        "{} of {connected} proxies of the replica that was {how} changed over and were sent nothing but certificates; {compared} resources are the same",
        lost.streams
    ))
}

fn under_load() -> Result<String> {
    let before = [Client::Buyer.counts()?, Client::Caller.counts()?];
    let (lost, _) = by_streams()?;
    let how = std::thread::scope(|scope| {
        let scaling = scope.spawn(|| [4, 2, 3].into_iter().try_for_each(members::scale));
        let how = replicas::lose(&lost)?;
        scaling.join().ok().context("the thread that scales")??;
        anyhow::Ok(how)
    })?;
    let connected = proxies::connected()?;
    replicas::without(&lost, 2, connected)?;
    // Who was made last is known to who calls.
    Client::Caller.until(100, |seen| seen.by("members-2") > 0)?;
    let [bought, called] = before;
    let bought = Client::Buyer.counts()?.since(&bought).without_failure()?;
    let called = Client::Caller.counts()?.since(&called).without_failure()?;
    Ok(format!("it was {how}; {connected} proxies; buyer: {bought}; new connections: {called}"))
}
