//! The cert-manager for tests of the issuer on it: built once from Go modules, which Go checks, and kept in the
//! user's cache with the definitions of its kinds. What is built, `e2e/cert-manager` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{envoy, go, workspace};

/// Where its sources are, relative to the root of the workspace.
const SOURCE: &str = "e2e/cert-manager";
/// The sources, relative to that.
const FILES: [&str; 4] = ["go.mod", "go.sum", "main.go", "webhook.go"];
/// The module that its code and the definitions of its kinds come from.
const MODULE: &str = "github.com/cert-manager/cert-manager";
/// The program, in its folder.
const PROGRAM: &str = "cert-manager";
/// The definitions of its kinds, in that folder.
const DEFINITIONS: &str = "crds";
/// What was built, beside the program.
const STAMP: &str = "built-from";

/// The folder of the program and the definitions of its kinds: `$OSM_CERT_MANAGER` when that is set, else one in the
/// user's cache, which is filled now if it has not been built from these sources.
///
/// # Errors
/// When `$OSM_CERT_MANAGER` has no program, or there is no Go that can build it.
pub fn ensure(root: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("OSM_CERT_MANAGER").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        if !given.join(PROGRAM).is_file() || !given.join(DEFINITIONS).is_dir() {
            bail!("$OSM_CERT_MANAGER is {}, which has no {PROGRAM} and {DEFINITIONS}", given.display());
        }
        return Ok(given);
    }
    let source = root.join(SOURCE);
    let texts: Result<Vec<String>> = FILES.iter().map(|name| read(&source.join(name))).collect();
    let texts = texts?;
    let version =
        version(&texts[0]).with_context(|| format!("{SOURCE}/go.mod names no version of {MODULE}"))?;
    let home = envoy::cache()?;
    let (folder, stamp) = (home.join(format!("cert-manager-{version}")), texts.join("\n"));
    if std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|built| built == stamp) {
        return Ok(folder);
    }
    let title = format!("building cert-manager {version} into {} (once; some minutes)", folder.display());
    workspace::step(&title, || build(&source, &home, &folder, &stamp))?;
    Ok(folder)
}

/// Builds beside the folder and renames, so that nobody ever sees half of it.
fn build(source: &Path, home: &Path, folder: &Path, stamp: &str) -> Result<()> {
    go::require("cert-manager", "set $OSM_CERT_MANAGER to a folder that has it")?;
    let workshop = envoy::Workshop::make(home)?;
    let built = workshop.path().join("cert-manager");
    let definitions = built.join(DEFINITIONS);
    std::fs::create_dir_all(&definitions).with_context(|| format!("making {}", definitions.display()))?;
    workspace::succeed(&mut go_build(source, &built.join(PROGRAM)))?;
    let module = workspace::output(go_command(source).args(["list", "-m", "-f", "{{.Dir}}", MODULE]))?;
    copy_definitions(&Path::new(module.trim()).join("deploy/crds"), &definitions)?;
    std::fs::write(built.join(STAMP), stamp).context("noting what was built")?;
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", folder.display()));
        }
        _ => {}
    }
    std::fs::rename(&built, folder).with_context(|| format!("writing {}", folder.display()))
}

fn copy_definitions(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", from.display()))?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|end| end == "yaml")) {
            std::fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}

fn go_build(source: &Path, program: &Path) -> Command {
    let mut go = go_command(source);
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"]).arg(program).arg(".");
    // What Go says goes beside the results of tests, not among them.
    go.stdout(std::io::stderr());
    go
}

fn go_command(source: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .stdin(Stdio::null());
    go
}

/// The version of cert-manager that a `go.mod` asks for.
fn version(module: &str) -> Option<&str> {
    let mut lines = module.lines().map(|line| line.trim_start().trim_start_matches("require "));
    lines.find_map(|line| line.strip_prefix(MODULE)?.strip_prefix(" v"))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        let module = read(&workspace::root().join(SOURCE).join("go.mod")).unwrap();
        assert!(version(&module).is_some_and(|version| version.starts_with("1.")), "{module}");
        assert_eq!(version("require github.com/cert-manager/cert-manager v1.2.3\n"), Some("1.2.3"));
        assert_eq!(version("module github.com/cert-manager/cert-manager/other\n"), None);
    }

    #[test]
    fn only_definitions_are_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a.yaml", "README.md"] {
            std::fs::write(from.path().join(name), name).unwrap();
        }
        copy_definitions(from.path(), to.path()).unwrap();
        let copied: Vec<_> =
            std::fs::read_dir(to.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(copied, ["a.yaml"]);
    }
}
