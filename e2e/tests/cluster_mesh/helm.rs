//! A mesh that the real helm installs and removes.

use anyhow::{Context, Result};

use osm_e2e::cluster::bookstore::{self, allow_by_policy, deploy};
use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::{VALUES, osm};
use osm_e2e::cluster::{step, tidy_up};
use osm_e2e::kubectl::{delete, run};

/// The control plane's namespace, which helm makes and leaves.
const NAMESPACE: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: osm-system}
";

/// What helm leaves by design: kinds, since with them all policy would go, and the namespace that it made.
/// The root of the mesh is left in it by the control plane, so that a mesh installed later is trusted.
const LEFT: [&str; 9] = [
    "CustomResourceDefinition /httproutegroups.specs.smi-spec.io",
    "CustomResourceDefinition /meshconfigs.config.openservicemesh.io",
    "CustomResourceDefinition /tcproutes.specs.smi-spec.io",
    "CustomResourceDefinition /trafficsplits.split.smi-spec.io",
    "CustomResourceDefinition /traffictargets.access.smi-spec.io",
    "Namespace /osm-system",
    "ConfigMap osm-system/kube-root-ca.crt",
    "ServiceAccount osm-system/default",
    "Secret osm-system/osm-ca-bundle",
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
    delete(NAMESPACE)
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
    step("the bookstore's pods have sidecars and are ready", deploy)?;
    step("with policy the thief is denied and the buyer is not", || {
        allow_by_policy()?;
        let thief = Client::Thief.until(20, |seen| seen.successes == 0)?;
        let buyer = Client::Buyer.next(100)?.without_failure()?;
        Ok(format!("buyer: {buyer}; thief: {thief}"))
    })?;
    step("helm leaves the kinds, the namespace and the root, and nothing else", || {
        bookstore::remove()?;
        helm(&["uninstall", "osm", "--namespace=osm-system", "--wait"])?;
        before.compare_but_for(&LEFT.map(str::to_owned))
    })?;
    step("without those, nothing is left", || {
        drop(release.take());
        before.compare()
    })
}
