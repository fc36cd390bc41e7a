//! The bookstore, from the same manifests as the demo on one machine: permissive mode,
//! policy, traffic splits, and clients without a sidecar.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Step;
use super::shopper::Shopper;
use osm_e2e::kubectl::{apply, delete, exec, get, output_of, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("the bookstore's pods have sidecars and are ready", deploy),
    ("in permissive mode everyone reaches everyone", permissive),
    ("with policy the thief is denied and the buyer is not", policy),
    ("all requests go to version 1", || split(SPLITS[0], 100.0)),
    ("half of the requests go to version 2", || split(SPLITS[1], 50.0)),
    ("all requests go to version 2", || split(SPLITS[2], 0.0)),
    ("a client without a sidecar is refused", outsider),
    ("a protocol in which the server speaks first works, and not for everyone", server_first),
];

macro_rules! manifest {
    ($name:literal) => {
        include_str!(concat!("../../../examples/bookstore/manifests/", $name))
    };
}

const BASE: [&str; 8] = [
    manifest!("base/00-namespaces.yaml"),
    manifest!("base/bookstore.yaml"),
    manifest!("base/bookstore-v1.yaml"),
    manifest!("base/bookstore-v2.yaml"),
    manifest!("base/bookledger.yaml"),
    manifest!("base/bookwarehouse.yaml"),
    manifest!("base/bookbuyer.yaml"),
    manifest!("base/bookthief.yaml"),
];
const POLICY: [&str; 3] = [
    manifest!("policy/bookstore.yaml"),
    manifest!("policy/bookwarehouse.yaml"),
    manifest!("policy/bookledger.yaml"),
];
const SPLITS: [&str; 3] =
    [manifest!("split/100-0.yaml"), manifest!("split/50-50.yaml"), manifest!("split/0-100.yaml")];

/// The bookstore's Deployments, by namespace.
const DEPLOYMENTS: [(&str, &str); 6] = [
    ("bookwarehouse", "deployment/bookledger"),
    ("bookwarehouse", "deployment/bookwarehouse"),
    ("bookstore", "deployment/bookstore-v1"),
    ("bookstore", "deployment/bookstore-v2"),
    ("bookbuyer", "deployment/bookbuyer"),
    ("bookthief", "deployment/bookthief"),
];

/// Requests that a plain look waits for.
const SOME: u64 = 300;
/// Requests that make a share telling: half and half misses [`TOLERANCE`] by chance once in 10,000 runs.
const TELLING: u64 = 1_000;
/// How far a share may be off, in points of percent.
const TOLERANCE: f64 = 6.5;

fn deploy() -> Result<String> {
    apply(manifest!("mesh-config.permissive.yaml"))?;
    apply(&BASE.join("\n---\n"))?;
    for (namespace, name) in DEPLOYMENTS {
        rolled_out(namespace, &[name])?;
    }
    let mut pods = 0;
    for namespace in ["bookbuyer", "bookstore", "bookthief", "bookwarehouse"] {
        let list = get(&["pods", "--namespace", namespace])?;
        for pod in list["items"].as_array().context("a list of pods")? {
            has_sidecar(pod)?;
            pods += 1;
        }
    }
    Ok(format!("{pods} pods"))
}

fn has_sidecar(pod: &Value) -> Result<()> {
    let of = |kind: &str| pod["spec"][kind].as_array().cloned().unwrap_or_default();
    let containers = [of("initContainers"), of("containers")].concat();
    let is_labelled = pod["metadata"]["labels"]["osm-proxy-uuid"].is_string();
    if !is_labelled || !containers.iter().any(|container| container["name"] == "envoy") {
        bail!("{} has no sidecar", pod["metadata"]["name"]);
    }
    Ok(())
}

fn permissive() -> Result<String> {
    let buyer = Shopper::Buyer.until(SOME, |seen| seen.failures() == 0)?;
    let thief = Shopper::Thief.until(40, |seen| seen.failures() == 0)?;
    Ok(format!("buyer: {buyer}; thief: {thief}"))
}

fn policy() -> Result<String> {
    apply(&POLICY.join("\n---\n"))?;
    apply(manifest!("mesh-config.smi.yaml"))?;
    let thief = Shopper::Thief.until(40, |seen| seen.successes == 0)?;
    let buyer = Shopper::Buyer.next(SOME)?.without_failure()?;
    Ok(format!("buyer: {buyer}; thief: {thief}"))
}

fn split(manifest: &str, expected: f64) -> Result<String> {
    apply(manifest)?;
    let is_end = expected == 0.0 || expected == 100.0;
    let (requests, tolerance) = if is_end { (SOME, 0.0) } else { (TELLING, TOLERANCE) };
    let buyer = Shopper::Buyer.until(requests, |seen| (seen.share_of_v1() - expected).abs() <= tolerance)?;
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
    apply(OUTSIDER)?;
    let said = output_of("outside", "outsider")?;
    delete(OUTSIDER)?;
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

/// Removes everything that the steps put into the cluster.
pub(crate) fn remove() -> Result<()> {
    delete(OUTSIDER)?;
    delete(&BASE.join("\n---\n"))
}
