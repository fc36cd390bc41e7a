//! The bookstore in the mesh: permissive mode, policy, traffic splits, and clients
//! without a sidecar.

use anyhow::{Result, bail};

use osm_e2e::cluster::Step;
use osm_e2e::cluster::bookstore::{ALL_TO_V1, ALL_TO_V2, HALF_AND_HALF, allow_by_policy, deploy};
use osm_e2e::cluster::client::Client;
use osm_e2e::kubectl::{apply, delete, exec, output_of};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("the bookstore's pods have sidecars and are ready", deploy),
    ("in permissive mode everyone reaches everyone", permissive),
    ("with policy the thief is denied and the buyer is not", policy),
    ("all requests go to version 1", || split(ALL_TO_V1, 100.0)),
    ("half of the requests go to version 2", || split(HALF_AND_HALF, 50.0)),
    ("all requests go to version 2", || split(ALL_TO_V2, 0.0)),
    ("a client without a sidecar is refused", outsider),
    ("a protocol in which the server speaks first works, and not for everyone", server_first),
];

/// Requests that a plain look waits for.
const SOME: u64 = 300;
/// Requests that make a share telling: half and half misses [`TOLERANCE`] by chance once in 10,000 runs.
const TELLING: u64 = 1_000;
/// How far a share may be off, in points of percent.
const TOLERANCE: f64 = 6.5;

fn permissive() -> Result<String> {
    let buyer = Client::Buyer.until(SOME, |seen| seen.failures() == 0)?;
    let thief = Client::Thief.until(40, |seen| seen.failures() == 0)?;
    Ok(format!("buyer: {buyer}; thief: {thief}"))
}

fn policy() -> Result<String> {
    allow_by_policy()?;
    let thief = Client::Thief.until(40, |seen| seen.successes == 0)?;
    let buyer = Client::Buyer.next(SOME)?.without_failure()?;
    Ok(format!("buyer: {buyer}; thief: {thief}"))
}

fn split(manifest: &str, expected: f64) -> Result<String> {
    apply(manifest)?;
    let is_end = expected == 0.0 || expected == 100.0;
    let (requests, tolerance) = if is_end { (SOME, 0.0) } else { (TELLING, TOLERANCE) };
    let buyer = Client::Buyer.until(requests, |seen| (seen.share_of_v1() - expected).abs() <= tolerance)?;
    let share = buyer.share_of_v1();
    Ok(format!("{}, {share:.1} % by version 1", buyer.without_failure()?))
}

/// A pod of a namespace that is not of the mesh.
const OUTSIDER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: outsider, namespace: outside}
spec:
  restartPolicy: Never
  containers:
  - name: calls
    image: osm-traffic:dev
    args: ["call", "10 times GET bookstore.bookstore:14001/books-bought", "3 times TCP bookledger.bookwarehouse:14002"]
"#;

fn outsider() -> Result<String> {
    let said = apply(OUTSIDER).and_then(|()| output_of("outside", "outsider"));
    delete(OUTSIDER)?;
    let said = said?;
    match serde_json::from_str::<Vec<String>>(&said) {
        Ok(outcomes) if outcomes == ["closed", "closed"] => Ok("13 of 13 connections were closed".to_owned()),
        _ => bail!("who is outside of the mesh sees {said}"),
    }
}

fn server_first() -> Result<String> {
    let ask = |namespace: &str, container: &str| {
        let words = ["bookstore-app", "ask-ledger", "bookledger.bookwarehouse:14002", "TOTAL"];
        exec(namespace, &format!("deployment/{namespace}"), container, &words)
    };
    let said = ask("bookwarehouse", "warehouse")?;
    match ask("bookthief", "thief") {
        Ok(said) => bail!("the thief reads in the ledger: {said}"),
        Err(_) => Ok(said.trim().replace('\n', ", ")),
    }
}
