//! The programs of Kubernetes, built once from Go modules and kept in the user's
//! cache. Which versions, `e2e/cluster/node/go.mod` says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::go;
use crate::workspace::{output, step, succeed};

/// The names by which the one program is called.
const NAMES: [&str; 8] = [
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// The sources, relative to their folder.
const SOURCES: [&str; 4] = ["go.mod", "go.sum", "main.go", "pause/main.go"];

/// What was built, beside the programs.
const STAMP: &str = "built-from";

/// The folder of the programs: that of `$OSM_CLUSTER_CACHE` where that has this
/// version, else the cache's own, where they are built now if need be.
///
/// # Errors
/// When they are not there and can't be built; what is missing is named.
pub(super) fn ensure(source: &Path, cache: &Path) -> Result<PathBuf> {
    // Another that builds the same is waited for; then it is built.
    std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("build.lock")).context("making the lock of the build")?;
    lock.lock().context("waiting for another build")?;
    if let Some(found) = found(source, cache)? {
        return Ok(found);
    }
    require()?;
    let version = version(&read(&source.join("go.mod"))?)?;
    step(&format!("building Kubernetes {version} from Go modules (once; some minutes)"), || {
        build(source, cache, &version)?;
        std::fs::write(programs(cache).join(STAMP), sources(source)?).context("noting what was built")
    })?;
    Ok(programs(cache))
}

/// The folder of the programs, if they are built.
///
/// # Errors
/// When the sources can't be read.
pub(super) fn found(source: &Path, cache: &Path) -> Result<Option<PathBuf>> {
    let version = version(&read(&source.join("go.mod"))?)?;
    let given = std::env::var_os("OSM_CLUSTER_CACHE").filter(|given| !given.is_empty());
    let given = given.map(|given| PathBuf::from(given).join("bin"));
    if let Some(given) = given.filter(|given| is_version(given, &version)) {
        return Ok(Some(given));
    }
    let built = std::fs::read_to_string(programs(cache).join(STAMP));
    let sources = sources(source)?;
    Ok(built.is_ok_and(|built| built == sources).then(|| programs(cache)))
}

/// Sees to it that there is what they are built with.
///
/// # Errors
/// When there is not.
pub(super) fn require() -> Result<()> {
    go::require("Kubernetes", "set $KUBECONFIG to a cluster of yours")
}

/// The programs that were built here.
fn programs(cache: &Path) -> PathBuf {
    cache.join("bin")
}

/// Builds beside the folder and renames, so that nobody ever sees half of it.
fn build(source: &Path, cache: &Path, version: &str) -> Result<()> {
    let (built, programs) = (cache.join("building"), programs(cache));
    std::fs::create_dir_all(&built).with_context(|| format!("making {}", built.display()))?;
    // What an interrupted build had done is kept for the next one; when it is through, gigabytes go.
    let go = cache.join("go");
    let mut command = Command::new("go");
    command
        .current_dir(source)
        .args(["build", "-trimpath", "-buildvcs=false", "-modcacherw", "-ldflags", &link_flags(version)])
        .arg("-o")
        .arg(&built)
        .args([".", "./pause"])
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("GOCACHE", go.join("build"))
        .env("GOMODCACHE", go.join("modules"))
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    succeed(&mut command)?;
    for name in NAMES {
        let link = built.join(name);
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink("node", &link).with_context(|| format!("writing {}", link.display()))?;
    }
    remove(&programs)?;
    std::fs::rename(&built, &programs).with_context(|| format!("writing {}", programs.display()))?;
    remove(&go)
}

fn link_flags(version: &str) -> String {
    let minor = version.split('.').nth(1).unwrap_or_default();
    let set = [("gitVersion", version), ("gitMajor", "1"), ("gitMinor", minor)];
    let set = set.map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"));
    format!("-s -w {}", set.join(" "))
}

/// The version of Kubernetes that a `go.mod` asks for.
fn version(module: &str) -> Result<String> {
    let lines = module.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines
        .filter(|words| words.first() == Some(&"k8s.io/kubernetes"))
        .find_map(|words| words.get(1).map(|version| (*version).to_owned()));
    found.context("go.mod names no version of k8s.io/kubernetes")
}

fn is_version(programs: &Path, version: &str) -> bool {
    let all = NAMES.iter().chain(&["pause"]).all(|name| programs.join(name).is_file());
    let said = output(Command::new(programs.join("kube-apiserver")).arg("--version"));
    all && said.is_ok_and(|said| said.trim() == format!("Kubernetes {version}"))
}

fn sources(source: &Path) -> Result<String> {
    let texts: Result<Vec<String>> = SOURCES.iter().map(|name| read(&source.join(name))).collect();
    Ok(texts?.join("\n"))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        let module = read(&crate::workspace::root().join("e2e/cluster/node/go.mod")).unwrap();
        let version = version(&module).unwrap();
        assert!(version.starts_with("v1."), "{version}");
        assert!(link_flags("v1.34.4").ends_with("version.gitMinor=34"));
    }

    #[test]
    fn programs_that_are_not_there_have_no_version() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_version(folder.path(), "v1.34.4"));
    }
}
