//! gRPC's own library for Python, for the tests of its xDS client: installed once
//! by pip into the user's cache, checked against pinned hashes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{envoy, packages, workspace};

/// What is installed, with hashes; relative to the root of the workspace.
const REQUIREMENTS: &str = "e2e/grpc/requirements.txt";

/// The folder in which Python finds gRPC: `$OSM_GRPC` when that is set, else one in
/// the user's cache, which is filled now if it is not there yet.
///
/// # Errors
/// When the list of what is needed can't be read, or pip can't install it.
pub fn ensure(root: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("OSM_GRPC").filter(|given| !given.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    let requirements = root.join(REQUIREMENTS);
    let text = std::fs::read_to_string(&requirements).with_context(|| format!("reading {REQUIREMENTS}"))?;
    let version = version(&text).with_context(|| format!("{REQUIREMENTS} names no version of grpcio"))?;
    let home = envoy::cache()?;
    let folder = home.join(format!("grpcio-{version}"));
    if !folder.is_dir() {
        packages::ensure(packages::FETCH)?;
        workspace::step(&format!("installing gRPC {version} for Python into {}", folder.display()), || {
            install(&requirements, &home, &folder)
        })?;
    }
    Ok(folder)
}

/// Installs beside the folder and renames, so that nobody ever sees half of it.
fn install(requirements: &Path, home: &Path, folder: &Path) -> Result<()> {
    let workshop = envoy::Workshop::make(home)?;
    let installed = workshop.path().join("grpcio");
    pip_install(requirements, &installed)?;
    std::fs::rename(&installed, folder).with_context(|| format!("writing {}", folder.display()))
}

/// Has pip install what a file lists, with hashes, into a folder.
pub(crate) fn pip_install(requirements: &Path, folder: &Path) -> Result<()> {
    let mut pip = envoy::python();
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps"])
        .args(["--quiet", "--no-warn-script-location", "--root-user-action=ignore"])
        .args(["--require-hashes", "--only-binary", ":all:"])
        .arg("--target")
        .arg(folder)
        .arg("--requirement")
        .arg(requirements);
    workspace::succeed(&mut pip)
}

fn version(requirements: &str) -> Option<&str> {
    let pinned = requirements.lines().find_map(|line| line.strip_prefix("grpcio=="))?;
    pinned.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_has_the_version_that_is_pinned() {
        assert_eq!(version("# grpcio\ngrpcio==1.2.3 \\\n    --hash=sha256:0\nother==4\n"), Some("1.2.3"));
        assert_eq!(version("other==4\n"), None);
        let text = std::fs::read_to_string(workspace::root().join(REQUIREMENTS)).unwrap();
        assert!(version(&text).is_some());
    }
}
