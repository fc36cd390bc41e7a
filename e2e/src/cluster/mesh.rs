//! Installing, upgrading and removing the mesh, with its own command line.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::kubectl::{get, rolled_out, run};

/// Values for the images of the test, and for a mesh that lets nothing out.
pub const VALUES: [&str; 3] =
    ["osm.image.tag=dev", "osm.sidecarImage=osm-sidecar:dev", "osm.enableEgress=false"];

/// An installed mesh. It is uninstalled when it goes, however the test ends.
#[derive(Debug)]
pub struct Mesh(());

impl Mesh {
    /// Installs it, and waits until the control plane is ready.
    ///
    /// # Errors
    /// When there is a mesh already, or it does not become ready.
    pub fn install() -> Result<(Self, String)> {
        let began = Instant::now();
        if osm(&["mesh", "list", "--output=json"])?.trim() != "[]" {
            bail!("the cluster has a mesh, which this test would take away: use another cluster");
        }
        let mesh = Self(());
        osm(&[&["install", "--timeout=120s"], set(&[]).as_slice()].concat())?;
        rolled_out("osm-system", &["deployment/osm-controller"])?;
        let pods = get(&["pods", "--namespace=osm-system"])?;
        let pods = pods["items"].as_array().context("a list of pods")?.len();
        if pods == 0 {
            bail!("there is no control plane");
        }
        Ok((mesh, format!("{pods} pod ready after {:.1} s", began.elapsed().as_secs_f64())))
    }

    /// Removes it.
    ///
    /// # Errors
    /// With what does not go.
    pub fn uninstall(self) -> Result<()> {
        std::mem::forget(self);
        remove()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Err(error) = remove() {
            eprintln!("the mesh could not be uninstalled: {error:#}");
        }
    }
}

fn remove() -> Result<()> {
    let uninstall =
        || osm(&["uninstall", "mesh", "--force", "--delete-cluster-wide-resources", "--delete-namespace"]);
    // All of it, whatever fails.
    let removed = [super::members::remove(), super::bookstore::remove(), uninstall().map(drop)];
    removed.into_iter().collect()
}

/// Upgrades it to other values, and waits until the control plane is ready.
///
/// # Errors
/// When it does not become ready.
pub fn upgrade(values: &[&str]) -> Result<String> {
    osm(&[&["upgrade", "--timeout=120s"], set(values).as_slice()].concat())
}

fn set<'a>(more: &[&'a str]) -> Vec<&'a str> {
    VALUES.iter().chain(more).flat_map(|value| ["--set", value]).collect()
}

/// Runs the command line of the mesh.
///
/// # Errors
/// With what it said, when it does not succeed.
pub fn osm(words: &[&str]) -> Result<String> {
    run(&std::env::var("OSM_CLI").unwrap_or_else(|_| "osm".to_owned()), words, None)
}
