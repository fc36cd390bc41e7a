//! The bookstore in a cluster, from the same manifests as the demo on one machine.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubectl::{apply, delete, get, rolled_out};

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
/// The split that sends all requests to version 1.
pub const ALL_TO_V1: &str = manifest!("split/100-0.yaml");
/// The split that sends half of the requests to version 2.
pub const HALF_AND_HALF: &str = manifest!("split/50-50.yaml");
/// The split that sends all requests to version 2.
pub const ALL_TO_V2: &str = manifest!("split/0-100.yaml");

/// The bookstore's Deployments, by namespace.
const DEPLOYMENTS: [(&str, &str); 6] = [
    ("bookwarehouse", "deployment/bookledger"),
    ("bookwarehouse", "deployment/bookwarehouse"),
    ("bookstore", "deployment/bookstore-v1"),
    ("bookstore", "deployment/bookstore-v2"),
    ("bookbuyer", "deployment/bookbuyer"),
    ("bookthief", "deployment/bookthief"),
];
const NAMESPACES: [&str; 4] = ["bookbuyer", "bookstore", "bookthief", "bookwarehouse"];

/// Deploys it in permissive mode, waits until it is ready, and tells of how many pods with
/// sidecars it consists.
///
/// # Errors
/// When it does not become ready, or a pod has no sidecar.
pub fn deploy() -> Result<String> {
    apply(manifest!("mesh-config.permissive.yaml"))?;
    apply(&BASE.join("\n---\n"))?;
    for (namespace, name) in DEPLOYMENTS {
        rolled_out(namespace, &[name])?;
    }
    let mut pods = 0;
    for namespace in NAMESPACES {
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

/// Ends permissive mode: the buyer may buy, and the thief may not.
///
/// # Errors
/// When the cluster does not take it.
pub fn allow_by_policy() -> Result<()> {
    apply(&POLICY.join("\n---\n"))?;
    apply(manifest!("mesh-config.smi.yaml"))
}

/// Removes it.
///
/// # Errors
/// When it does not go.
pub fn remove() -> Result<()> {
    delete(&BASE.join("\n---\n"))
}
