//! What a machine must have for local mode, found once, at the start.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The Envoy that everything here is tested with.
pub const ENVOY_VERSION: &str = "1.40.0";

/// Where programs of the system may be besides `$PATH`.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The programs of the system that local mode runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the path of the program of its name")]
pub struct Tools {
    pub ip: PathBuf,
    pub iptables_restore: PathBuf,
    pub nsenter: PathBuf,
    pub unshare: PathBuf,
    pub setpriv: PathBuf,
    pub mount: PathBuf,
    pub sh: PathBuf,
    pub env: PathBuf,
    /// What an ordinary user needs besides; root does not.
    pub mappers: Option<Mappers>,
}

/// The programs that lend users and groups to the namespace of an ordinary user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the path of the program of its name")]
pub struct Mappers {
    pub newuidmap: PathBuf,
    pub newgidmap: PathBuf,
}

impl Tools {
    /// Looks for all that this user needs.
    ///
    /// # Errors
    /// When some are missing: all of these are named, with their Debian packages.
    pub fn find(search_path: &[PathBuf]) -> Result<Self> {
        Self::find_for(nix::unistd::geteuid().is_root(), search_path)
    }

    fn find_for(root: bool, search_path: &[PathBuf]) -> Result<Self> {
        let mut missing = Vec::new();
        let mut find = |name: &'static str, package: &'static str| {
            let found = search_path.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            found.unwrap_or_else(|| {
                missing.push((name, package));
                PathBuf::new()
            })
        };
        let tools = Self {
            ip: find("ip", "iproute2"),
            iptables_restore: find("iptables-restore", "iptables"),
            nsenter: find("nsenter", "util-linux"),
            unshare: find("unshare", "util-linux"),
            setpriv: find("setpriv", "util-linux"),
            mount: find("mount", "mount"),
            sh: find("sh", "dash"),
            env: find("env", "coreutils"),
            mappers: (!root).then(|| Mappers {
                newuidmap: find("newuidmap", "uidmap"),
                newgidmap: find("newgidmap", "uidmap"),
            }),
        };
        if missing.is_empty() {
            return Ok(tools);
        }
        let named: Vec<String> =
            missing.iter().map(|(name, package)| format!("{name} (package {package})")).collect();
        let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        let sudo = if root { "" } else { "sudo " };
        bail!(
            "missing on this machine: {}; on Debian, `{sudo}apt-get install {}`",
            named.join(", "),
            packages.join(" ")
        );
    }
}

/// The folders of `$PATH`, and those of the system.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for folder in SYSTEM_FOLDERS {
        if !folders.iter().any(|known| known == Path::new(folder)) {
            folders.push(folder.into());
        }
    }
    folders
}

/// Refuses to go on where it can't work.
///
/// # Errors
/// When this is not Linux.
pub fn check_machine() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "`osm local` makes network namespaces, which only Linux has");
    Ok(())
}

/// The Envoy to run: this one, else `$OSM_ENVOY`, else `envoy` on the search path,
/// else the one that `cargo xtask envoy` fetched.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn find_envoy(given: Option<&Path>, search_path: &[PathBuf]) -> Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "--envoy {}: there is no such file", path.display());
        return Ok(std::path::absolute(path)?);
    }
    if let Some(path) = env::var_os("OSM_ENVOY").filter(|path| !path.is_empty()).map(PathBuf::from) {
        ensure!(path.is_file(), "$OSM_ENVOY is {}, which is no file", path.display());
        return Ok(std::path::absolute(path)?);
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let fetched = cache.map(|cache| cache.join(format!("osm/envoy-{ENVOY_VERSION}/envoy")));
    let mut candidates = search_path.iter().map(|folder| folder.join("envoy")).chain(fetched);
    match candidates.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "Envoy is missing: run `cargo xtask envoy` to fetch {ENVOY_VERSION}, or name one with --envoy PATH or $OSM_ENVOY"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_program_is_named_with_its_package() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["nsenter", "unshare", "setpriv", "mount", "sh", "env"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let find = |root| {
            let error = Tools::find_for(root, &[folder.path().to_owned()]).expect_err("some are missing");
            error.to_string()
        };
        let error = find(true);
        assert!(error.contains("ip (package iproute2), iptables-restore (package iptables);"), "{error}");
        assert!(error.contains("`apt-get install iproute2 iptables`"), "{error}");
        assert!(find(false).contains("`sudo apt-get install iproute2 iptables uidmap`"), "{}", find(false));
    }

    #[test]
    fn an_envoy_that_is_named_must_be_there() {
        let error = find_envoy(Some(Path::new("/nowhere/envoy")), &[]).expect_err("no file").to_string();
        assert!(error.contains("--envoy /nowhere/envoy"), "{error}");
    }
}
