//! A mesh in a real cluster, for tests of it: installed, with the bookstore and other
//! workloads in it, and clients whose requests are counted.
//!
//! What a test does with it, and what has to come of that, is the test's own.

pub mod bookstore;
pub mod calls;
pub mod client;
pub mod inventory;
pub mod members;
pub mod mesh;
pub mod parts;
pub mod proxies;
pub mod replicas;
pub mod seen;
pub mod server;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::kubectl::{delete, get, until};

/// A step: its title, and what does it and tells what was seen.
pub type Step = (&'static str, fn() -> Result<String>);

/// Does a step, and tells on standard output what was seen, and how long it took to see it.
///
/// # Errors
/// As the work, with the title.
pub fn step(title: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
    let began = Instant::now();
    let saw = work().map_err(|error| error.context(title.to_owned()))?;
    println!("{:6.1} s  {title}: {saw}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Takes away what earlier tests may have left: kinds stay when a mesh goes, and namespaces go slowly.
///
/// # Errors
/// When it does not go.
pub fn tidy_up() -> Result<()> {
    delete(&mesh::osm(&["crds"])?)?;
    until("end of namespaces that go", || {
        let going = get(&["namespaces", "--field-selector=status.phase=Terminating"])?;
        match going["items"].as_array().is_some_and(Vec::is_empty) {
            true => Ok(()),
            false => bail!("there are some: {}", going["items"]),
        }
    })
}
