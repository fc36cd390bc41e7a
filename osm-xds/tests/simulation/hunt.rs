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
            // At once, so that a long hunt with `--nocapture` shows what it has found.
            eprintln!("seed {seed}: {:?}: {}", failure.property, failure.message);
            failures.insert(seed, failure);
        }
    }
    let Some(first) = failures.values().next() else { return };
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

/// Runs seeds that broke something once, beyond those that are tried anyway.
fn again(seeds: &[u64], faults: &Faults) {
    for seed in seeds {
        let run = Simulation::new(*seed).faults(faults.clone()).run();
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn seeds_that_broke_something_once_end_as_they_should() {
    // A service whose protocol changes, and a route that is asked for anew meanwhile.
    again(&[6493], &Faults::none());
    // Endpoints that were refused and gone were said again for ever.
    again(&[3262], &Faults::refusals());
    // What was refused was gone by then; removals within a refused response.
    again(&[1832, 8129, 8617, 9163], &Faults::default());
    // Proxies that connect anew, with clusters of which they told no version, with
    // none and the version of none, and with listeners of which they do not tell.
    again(&[1170, 4186, 4658, 7488, 8728, 9904], &Faults::default());
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in seeds(20) {
        let run = || Simulation::new(seed).run().map_err(|failure| failure.to_string());
        assert_eq!(run(), run());
    }
}
