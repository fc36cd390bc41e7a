//! `cargo xtask bench`: measurements of programs as users build them.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::artifacts;
use crate::workspace::step;

/// The controller as images have it.
const CONTROLLER: [&str; 7] =
    ["--release", "--package", "osm-bin", "--bin", "osm-controller", "--features", "jemalloc"];

/// Builds the controller and the simulated proxies for release, and becomes `osm-fleet`,
/// which finds the controller in `$OSM_CONTROLLER`.
///
/// # Errors
/// When a build fails.
pub fn fleet(root: &Path, arguments: &[String]) -> Result<()> {
    // Built one after the other: together, the bench's test features would be in the controller.
    let controller = step("building osm-controller for release", || artifacts::build(root, &CONTROLLER))?;
    let controller = artifacts::find(&controller, "osm-controller")?;
    let fleet = step("building osm-fleet for release", || {
        artifacts::build(root, &["--release", "--package", "osm-e2e", "--bin", "osm-fleet"])
    })?;
    let mut command = artifacts::command(artifacts::find(&fleet, "osm-fleet")?);
    command.current_dir(root).args(arguments).env("OSM_CONTROLLER", controller);
    Err(command.exec()).context("starting osm-fleet")
}

/// Builds `osm-snapshot` for release, and becomes it.
///
/// # Errors
/// When the build fails.
pub fn snapshot(root: &Path, arguments: &[String]) -> Result<()> {
    let programs = step("building osm-snapshot for release", || {
        artifacts::build(root, &["--release", "--package", "osm-e2e", "--bin", "osm-snapshot"])
    })?;
    let mut command = artifacts::command(artifacts::find(&programs, "osm-snapshot")?);
    command.current_dir(root).args(arguments);
    Err(command.exec()).context("starting osm-snapshot")
}
