//! API server and etcd are away for a while, alone and together with the control plane.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

use osm_e2e::cluster::parts::{Away, ControlPlane};
use osm_e2e::cluster::seen::Seen;
use osm_e2e::cluster::{Step, proxies};
use osm_e2e::kubectl::{rolled_out, until};

use super::until_a_change_is_in_force;

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("a minute without API server fails no request and lets nobody in", api_server),
    ("neither does an etcd that starts again", etcd),
    ("a control plane that is killed without API server waits for it, and its proxies go on", both),
];

/// How long the API server is away.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a control plane is looked at that must not become ready.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// What a control plane logs again and again that has no root.
const WAITS: &str = "the root of the mesh is waited for";

/// Looks again and again until a time has passed.
fn for_so_long(time: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        look()?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn api_server() -> Result<String> {
    let seen = Seen::now()?;
    let control_plane = ControlPlane::find()?;
    let away = Away::take("kube-apiserver")?;
    // It stays ready: what it knows is the best that anybody knows.
    for_so_long(MINUTE, || {
        let (status, said) = control_plane.page("/health/ready")?;
        ensure!(status == 200, "the control plane is not ready: {said}");
        Ok(())
    })?;
    let staleness = staleness_of(&control_plane)?;
    ensure!(staleness > 45.0, "what is known is {staleness} s old after a minute");
    away.bring_back()?;
    until("control plane that knows all that the API server knows", || {
        match staleness_of(&control_plane)? {
            0.0 => Ok(()),
            seconds => bail!("what it knows is {seconds} s old"),
        }
    })?;
    Ok(format!("{}; staleness was {staleness:.0} s", until_a_change_is_in_force(seen)?))
}

fn staleness_of(control_plane: &ControlPlane) -> Result<f64> {
    let (_, metrics) = control_plane.page("/metrics")?;
    let value = metrics.lines().find_map(|line| line.strip_prefix("osm_source_staleness_seconds "));
    value.context("the metric of staleness")?.parse().context("a number")
}

fn etcd() -> Result<String> {
    let seen = Seen::now()?;
    Away::take("etcd")?.bring_back()?;
    until_a_change_is_in_force(seen)
}

fn both() -> Result<String> {
    let seen = Seen::now()?;
    let control_plane = ControlPlane::find()?;
    let away = Away::take("kube-apiserver")?;
    control_plane.kill()?;
    // Without its root and without a list of everything it has nothing to say, and says nothing.
    for_so_long(LOOKED_AT, || match control_plane.page("/health/ready") {
        Ok((200, _)) => bail!("a control plane that knows nothing is ready"),
        Ok(_) | Err(_) => Ok(()),
    })?;
    let without_api_server = Timestamp::now();
    away.bring_back()?;
    rolled_out("osm-system", &["deployment/osm-controller"])?;
    until("control plane that is ready again", || match control_plane.page("/health/ready")? {
        (200, _) => Ok(()),
        (status, said) => bail!("{status}: {said}"),
    })?;
    let follower = ControlPlane::find()?;
    ensure!(follower.follows(&control_plane), "{follower:?} is no new process after {control_plane:?}");
    let waited = follower.logged(WAITS)?;
    let meanwhile = waited.iter().filter(|moment| **moment < without_api_server).count();
    ensure!(meanwhile > 0, "the new process has not waited before {without_api_server}, but at {waited:?}");
    let connected = proxies::connected()?;
    Ok(format!(
        "{}; the new process found no root {meanwhile} times meanwhile; {connected} proxies connected again",
        until_a_change_is_in_force(seen)?
    ))
}
