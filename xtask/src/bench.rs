//! `cargo xtask bench`: measurements of programs as users build them.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::step;
use crate::{artifacts, cluster};

/// The controller as images have it.
const CONTROLLER: [&str; 7] =
    ["--release", "--package", "osm-bin", "--bin", "osm-controller", "--features", "jemalloc"];

/// Builds the controller and the simulated proxies for release, and becomes `osm-fleet`.
///
/// # Errors
/// When a build fails.
pub fn fleet(root: &Path, arguments: &[String]) -> Result<()> {
    become_bench(root, "osm-fleet", arguments, None)
}

/// The same with the objects in an API server of its own, whose programs are built if need be.
///
/// # Errors
/// When a build fails.
pub fn source(root: &Path, arguments: &[String]) -> Result<()> {
    let programs = cluster::programs(root)?;
    become_bench(root, "osm-fleet", arguments, Some(&programs))
}

/// Becomes `osm-admission`, with an API server as above.
///
/// # Errors
/// When a build fails.
pub fn admission(root: &Path, arguments: &[String]) -> Result<()> {
    let programs = cluster::programs(root)?;
    become_bench(root, "osm-admission", arguments, Some(&programs))
}

/// Becomes a program that finds the controller in `$OSM_CONTROLLER`.
fn become_bench(root: &Path, bench: &str, arguments: &[String], api_server: Option<&Path>) -> Result<()> {
    // Built one after the other: together, the bench's test features would be in the controller.
    let controller = step("building osm-controller for release", || artifacts::build(root, &CONTROLLER))?;
    let controller = artifacts::find(&controller, "osm-controller")?;
    let built = step(&format!("building {bench} for release"), || {
        artifacts::build(root, &["--release", "--package", "osm-e2e", "--bin", bench])
    })?;
    let mut command = artifacts::command(artifacts::find(&built, bench)?);
    command.current_dir(root).env("OSM_CONTROLLER", controller);
    if let Some(programs) = api_server {
        command.arg("--api-server").arg(programs);
    }
    command.args(arguments);
    Err(command.exec()).with_context(|| format!("starting {bench}"))
}

/// Builds a program that needs no controller for release, and becomes it.
///
/// # Errors
/// When the build fails.
pub fn alone(root: &Path, bench: &str, arguments: &[String]) -> Result<()> {
    let programs = step(&format!("building {bench} for release"), || {
        artifacts::build(root, &["--release", "--package", "osm-e2e", "--bin", bench])
    })?;
    let mut command = artifacts::command(artifacts::find(&programs, bench)?);
    command.current_dir(root).args(arguments);
    Err(command.exec()).with_context(|| format!("starting {bench}"))
}
