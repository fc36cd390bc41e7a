//! Simulated meshes under faults: nothing breaks, and what is broken on purpose
//! is seen.
//!
//! `OSM_SIM_SEED=n` runs one seed of each test, `OSM_SIM_SEEDS=n` that many.

mod certainty;
mod hunt;
mod places;
mod planted;

use std::ops::Range;

#[expect(clippy::disallowed_methods, reason = "a test may be told which seeds to try; no library reads this")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The seeds to try: so many, unless the environment says otherwise.
fn seeds(number: u64) -> Range<u64> {
    match variable("OSM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("OSM_SIM_SEEDS").unwrap_or(number),
    }
}
