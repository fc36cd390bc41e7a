//! A mesh that the real helm installs and removes.

use anyhow::{Context, Result, ensure};

use osm_e2e::cluster::bookstore::{self, allow_by_policy, deploy};
use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::{VALUES, osm};
use osm_e2e::cluster::{server, step, tidy_up};
use osm_e2e::kubectl::{apply, delete, get, run};

/// A namespace of the mesh that outlives it.
const SHOP: &str = "shop";

/// What helm leaves by design: kinds, since with them all policy would go, and the namespace that it made. And what
/// the control plane made: the root of the mesh, so that a mesh installed later is trusted, the Lease by which
/// statuses are written, which root signs, and the roots that the pods in namespaces of the mesh believe.
const LEFT: [&str; 16] = [
    "CustomResourceDefinition /httproutegroups.specs.smi-spec.io",
    "CustomResourceDefinition /meshconfigs.config.openservicemesh.io",
    "CustomResourceDefinition /meshrootcertificates.config.openservicemesh.io",
    "CustomResourceDefinition /tcproutes.specs.smi-spec.io",
    "CustomResourceDefinition /trafficsplits.split.smi-spec.io",
    "CustomResourceDefinition /traffictargets.access.smi-spec.io",
    "Namespace /osm-system",
    "ConfigMap osm-system/kube-root-ca.crt",
    "ServiceAccount osm-system/default",
    "Secret osm-system/osm-ca-bundle",
    "ConfigMap osm-system/osm-mesh-roots",
    "Lease osm-system/osm-controller",
    "Namespace /shop",
    "ConfigMap shop/kube-root-ca.crt",
    "ConfigMap shop/osm-trust-bundle",
    "ServiceAccount shop/default",
];

/// A mesh that helm installed. It goes when this does, however the test ends.
#[derive(Debug)]
pub(crate) struct Release(());

impl Drop for Release {
    fn drop(&mut self) {
        let uninstalled =
            helm(&["uninstall", "osm", "--namespace=osm-system", "--ignore-not-found", "--wait"]);
        for gone in [bookstore::remove(), uninstalled.map(drop), remove_rest()] {
            if let Err(error) = gone {
                eprintln!("the mesh of helm could not be removed: {error:#}");
            }
        }
    }
}

/// Removes what helm leaves.
fn remove_rest() -> Result<()> {
    delete(&osm(&["crds"])?)?;
    delete(&[server::namespace(SHOP, None), server::namespace("osm-system", None)].join("---"))
}

fn helm(words: &[&str]) -> Result<String> {
    let helm = std::env::var("OSM_HELM").context("OSM_HELM names a helm; `cargo xtask helm` brings one")?;
    run(&helm, words, None)
}

/// Does all of it. `release` is what is installed meanwhile.
pub(crate) fn walk(release: &mut Option<Release>) -> Result<()> {
    tidy_up()?;
    let before = Inventory::take()?;
    step("the mesh is installed by helm", || {
        *release = Some(Release(()));
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/osm");
        let place = ["install", "osm", chart, "--namespace=osm-system", "--create-namespace"];
        let set: Vec<&str> = VALUES.iter().flat_map(|value| ["--set", value]).collect();
        helm(&[&place[..], &["--wait", "--timeout=120s"], &set].concat())?;
        Ok("deployed".to_owned())
    })?;
    step("the bookstore's pods have sidecars and are ready", || {
        apply(&server::namespace(SHOP, Some("osm")))?;
        deploy()
    })?;
    step("with policy the thief is denied and the buyer is not", || {
        allow_by_policy()?;
        let thief = Client::Thief.until(20, |seen| seen.successes == 0)?;
        let buyer = Client::Buyer.next(100)?.without_failure()?;
        Ok(format!("buyer: {buyer}; thief: {thief}"))
    })?;
    step("helm leaves the kinds, and what it and the control plane made in namespaces", || {
        bookstore::remove()?;
        helm(&["uninstall", "osm", "--namespace=osm-system", "--wait"])?;
        let shop = get(&["namespace", SHOP])?;
        let labels = &shop["metadata"]["labels"];
        ensure!(labels["openservicemesh.io/monitored-by"] == "osm", "{SHOP} has the labels {labels}");
        // A replica whose rights went first could not take its own away.
        let leases = get(&["leases", "--namespace=osm-system"])?;
        let names = leases["items"].as_array().into_iter().flatten();
        let names = names.filter_map(|lease| lease["metadata"]["name"].as_str());
        let told = names.filter(|name| name.starts_with("osm-replica-") || name.starts_with("osm-roots-"));
        let told = told.map(|name| format!("Lease osm-system/{name}"));
        before.compare_but_for(&LEFT.map(str::to_owned).into_iter().chain(told).collect::<Vec<_>>())
    })?;
    step("without those, nothing is left", || {
        drop(release.take());
        before.compare()
    })
}
