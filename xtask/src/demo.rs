//! `cargo xtask demo`: from a fresh clone to the bookstore running, in one command.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::step;
use crate::{artifacts, envoy, packages};

/// Builds `osm` and the bookstore's applications, brings what they need, and becomes
/// `osm local demo`: signals and the exit code are that program's own.
///
/// # Errors
/// When something is missing that can't be brought, or the build fails.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    // Said before the build, not after minutes of it.
    packages::ensure(packages::COMPILER)?;
    packages::ensure(packages::LOCAL_MESH)?;
    if !packages::is_root()? {
        packages::ensure(packages::ORDINARY_USER)?;
    }
    let envoy = envoy::ensure()?;
    let programs = step("building osm and the bookstore (the first time takes minutes)", || {
        artifacts::build(root, &["--package", "osm-bin", "--package", "bookstore", "--bins"])
    })?;
    artifacts::find(&programs, "bookstore-app")?;
    let mut osm = artifacts::command(artifacts::find(&programs, "osm")?);
    osm.current_dir(root).args(["local", "demo"]).args(arguments).env("OSM_ENVOY", envoy);
    Err(osm.exec()).context("starting osm local demo")
}
