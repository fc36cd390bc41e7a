//! `cargo xtask check`: what can be said in short time with nothing but Rust.

use std::path::Path;

use anyhow::Result;

use crate::workspace::{SELECTION, cargo, step, succeed, tests};
use crate::{artifacts, packages, tidy};

/// Format, tidy, lints, documentation, build and the tests that need neither Envoy nor root, in the
/// order of what is known soonest.
///
/// # Errors
/// With the name of the first step that fails.
pub fn run(root: &Path) -> Result<()> {
    packages::ensure(packages::COMPILER)?;
    step("format", || succeed(cargo(root).args(["fmt", "--all", "--check"])))?;
    step("fetch crates", || succeed(cargo(root).args(["fetch", "--quiet"])))?;
    step("tidy", || tidy::run(root))?;
    step("lints", || {
        succeed(cargo(root).arg("clippy").args(SELECTION).args(["--all-targets", "--", "-D", "warnings"]))
    })?;
    step("documentation", || {
        let mut doc = cargo(root);
        succeed(doc.args(["doc", "--no-deps"]).args(SELECTION).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    step("build", || artifacts::build(root, &[&SELECTION[..], &["--all-targets"]].concat()))?;
    tests("tests that need nothing but Rust", || succeed(cargo(root).arg("test").args(SELECTION)))
}
