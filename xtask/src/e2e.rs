//! `cargo xtask e2e`: the tests that need a Kubernetes cluster, with one brought for
//! them and taken down again, or in the one that `$KUBECONFIG` names.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cluster::Cluster;
use crate::tidy::tree::Tree;
use crate::workspace::{SELECTION, cargo, step, succeed, tests};
use crate::{artifacts, cert_manager, envoy, helm, images, openbao, suite};

/// Builds the images, gets a cluster, loads them, and runs every test target that needs
/// a cluster and whose name begins with `target`, one test at a time.
///
/// # Errors
/// With the name of the first step that fails, or what is missing.
pub fn run(root: &Path, target: &str, filter: Option<&str>) -> Result<()> {
    let targets = suite::cluster_targets(&Tree::load(root)?, target);
    if targets.is_empty() {
        bail!("no test target that needs a cluster has a name that begins with {target}");
    }
    let began = Instant::now();
    let (envoy, helm) = (envoy::ensure()?, helm::ensure()?);
    let (openbao, cert_manager) = (openbao::ensure(root)?, cert_manager::ensure(root)?);
    let (programs, images) = images::make(root)?;
    // The compiler is through before the cluster takes its share of the machine.
    step("building the tests", || {
        let mut command = cargo(root);
        command.args(["test", "--no-run"]).args(SELECTION);
        succeed(command.args(targets.iter().flat_map(|target| ["--test", target])))
    })?;
    let cluster = Cluster::get(root)?;
    step("loading images", || images.iter().try_for_each(|image| cluster.load(&image.file)))?;
    for target in &targets {
        tests(&format!("tests of {target} in a cluster"), || {
            let mut command = cargo(root);
            command.arg("test").args(SELECTION).args(["--test", target, "--"]).args(filter);
            command.args(["--ignored", "--test-threads=1", "--nocapture"]);
            command.env("OSM_ENVOY", &envoy).env("OSM_HELM", &helm);
            command.env("OSM_OPENBAO", &openbao).env("OSM_CERT_MANAGER", &cert_manager);
            command.env("OSM_CLI", artifacts::find(&programs, "osm")?);
            succeed(cluster.show_to(&mut command))
        })?;
    }
    step("taking the cluster down", || {
        drop(cluster);
        Ok(())
    })?;
    eprintln!("== end-to-end tests: ok, {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
