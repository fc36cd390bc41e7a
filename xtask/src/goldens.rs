//! `cargo xtask goldens`: what the scenarios and the chart come to, written down again.

use std::path::Path;

use anyhow::Result;

use crate::workspace::{SELECTION, cargo, step, succeed};

/// Runs the tests with goldens with the order to write their goldens instead of comparing them.
///
/// # Errors
/// When one of them can't be run.
pub fn run(root: &Path) -> Result<()> {
    step("writing goldens", || {
        let mut command = cargo(root);
        command
            .arg("test")
            .args(SELECTION)
            .args(["--test", "scenarios", "--test", "chart"])
            .env("UPDATE_GOLDENS", "1");
        succeed(&mut command)
    })?;
    eprintln!("Read the difference as a change of behaviour before it is committed.");
    Ok(())
}
