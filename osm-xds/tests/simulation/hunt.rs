//! Many seeds, each with real parts.

use std::collections::BTreeMap;

use osm_xds::testing::simulation::{Faults, Simulation};

use crate::seeds;

/// Runs seeds under these faults, all of them, and then fails with the first that
/// broke something.
fn hunt(number: u64, faults: &Faults) {
    let mut failures = BTreeMap::new();
    for seed in seeds(number) {
        if let Err(failure) = Simulation::new(seed).faults(faults.clone()).run() {
            failures.insert(seed, failure);
        }
    }
    let Some(first) = failures.values().next() else { return };
    for failure in failures.values().take(20) {
        eprintln!("seed {}: {:?}: {}", failure.seed, failure.property, failure.message);
    }
    panic!("{} seeds break something; the first:\n{first}", failures.len());
}

#[test]
fn calm_meshes_end_as_they_should() {
    hunt(700, &Faults::none());
}

#[test]
fn meshes_with_outages_end_as_they_should() {
    hunt(900, &Faults::outages());
}

#[test]
fn meshes_with_refusals_end_as_they_should() {
    hunt(600, &Faults::refusals());
}

#[test]
fn meshes_with_everything_end_as_they_should() {
    hunt(900, &Faults::default());
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in seeds(20) {
        let run = || Simulation::new(seed).run().map_err(|failure| failure.to_string());
        assert_eq!(run(), run());
    }
}
