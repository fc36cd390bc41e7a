//! The whole mesh on a real Kubernetes cluster: installed, carrying the bookstore and
//! other workloads, disturbed, and removed again without a trace.
//!
//! `cargo xtask e2e` brings the cluster (or takes that of `$KUBECONFIG`) and the images,
//! and runs this. What is expected of single parts is in their own tests.

mod bookstore;
mod faults;
mod install;
mod inventory;
mod shopper;
mod workloads;

use std::time::Instant;

use anyhow::{Result, bail};
use osm_e2e::kubectl::{delete, get, told_by, until};

use install::Mesh;
use inventory::Inventory;

/// A step: its title, and what does it and tells what was seen.
type Step = (&'static str, fn() -> Result<String>);

/// Tells on standard output what was seen, and how long it took to see it.
fn step(title: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
    let began = Instant::now();
    let saw = work().map_err(|error| error.context(title.to_owned()))?;
    println!("{:6.1} s  {title}: {saw}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Does all of it. `mesh` is what is installed meanwhile.
fn walk(mesh: &mut Option<Mesh>) -> Result<()> {
    // What earlier tests left: kinds stay when a mesh goes, and namespaces go slowly.
    delete(&install::osm(&["crds"])?)?;
    until("end of namespaces that go", || {
        let going = get(&["namespaces", "--field-selector=status.phase=Terminating"])?;
        match going["items"].as_array().is_some_and(Vec::is_empty) {
            true => Ok(()),
            false => bail!("there are some: {}", going["items"]),
        }
    })?;
    let before = Inventory::take()?;
    step("the mesh is installed by the command line", || {
        let (installed, saw) = Mesh::install()?;
        *mesh = Some(installed);
        Ok(saw)
    })?;
    let steps = [bookstore::STEPS, workloads::STEPS, faults::STEPS].concat();
    steps.into_iter().try_for_each(|(title, work)| step(title, work))?;
    step("nothing is left after the mesh was uninstalled", || {
        mesh.take().map_or(Ok(()), Mesh::uninstall)?;
        before.compare()
    })
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
fn a_mesh_is_installed_used_disturbed_and_removed_on_a_real_cluster() {
    let mut mesh = None;
    if let Err(error) = walk(&mut mesh) {
        let told = told_by(&["osm-system", "bookbuyer", "bookstore", "workloads"]);
        drop(mesh);
        panic!("{error:?}\n\n{told}");
    }
}
