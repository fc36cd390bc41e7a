//! Where the Envoy for tests is, and how it is started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// The release that tests are written for.
pub const VERSION: &str = "1.40.0";

/// The Envoy to test with: `$OSM_ENVOY`, else `envoy` on `$PATH`, else the one that
/// `cargo xtask envoy` fetched.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OSM_ENVOY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("$OSM_ENVOY is {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let on_path = std::env::var_os("PATH").and_then(|folders| {
        std::env::split_paths(&folders).map(|folder| folder.join("envoy")).find(|path| path.is_file())
    });
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let fetched =
        cache.map(|cache| cache.join(format!("osm/envoy-{VERSION}/envoy"))).filter(|path| path.is_file());
    match on_path.or(fetched) {
        Some(path) => Ok(path),
        None => bail!("Envoy {VERSION} is missing: run `cargo xtask envoy`"),
    }
}

/// An Envoy with one worker thread that begins with this bootstrap and says
/// nothing but errors.
///
/// # Errors
/// When there is no Envoy.
pub fn command(bootstrap: &Path) -> Result<Command> {
    let mut command = Command::new(find()?);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"]);
    command.arg(bootstrap).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}
