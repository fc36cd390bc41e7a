//! What a simulation tells in the end.

use std::fmt;
use std::time::Duration;

use super::faults::Faults;

/// What a run that broke nothing was like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many proxies there were.
    pub proxies: usize,
    /// How many things happened.
    pub events: u64,
    /// How much virtual time passed.
    pub time: Duration,
    /// How often the mesh changed.
    pub changes: usize,
    /// How many streams began.
    pub streams: u64,
    /// How many responses were sent.
    pub responses: u64,
    /// How many resources were in them.
    pub resources: u64,
    /// How many responses were refused.
    pub refusals: u64,
    /// How often a proxy waited in vain for what a warming cluster lacks.
    pub vain_waits: u64,
}

/// What has to hold in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Property {
    /// Each proxy ends with exactly the resources that a fresh start would give
    /// it; in place of one that it refuses it has what it accepted last.
    Content,
    /// Make before break: nothing is used before it is there, nothing goes while
    /// it is used, no cluster comes before its secrets exist.
    Order,
    /// What a proxy accepted is never taken from it while it is in its view.
    FailStatic,
    /// A session keeps no more than a few words for each name, and nothing is
    /// left when the proxies are gone.
    Memory,
    /// All comes to rest, within bounded time and messages, and waits for
    /// nothing but what a fault keeps away.
    Progress,
    /// Nobody is sent what does not concern it, or what it has already.
    Economy,
    /// What a proxy has of its secrets is among what its session says that it may have, and
    /// that is certain when everything is at rest.
    Certainty,
    /// A stream is ended only for a reason.
    Protocol,
}

/// A property that did not hold, and how to see it again.
///
/// A run follows from the seed, the mesh, the faults and the parts: the same
/// ones fail in the same way.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was allowed to go wrong.
    pub faults: Box<Faults>,
    /// What did not hold.
    pub property: Property,
    /// What was seen instead.
    pub message: String,
    /// The virtual time at which it was seen.
    pub at: Duration,
    /// The last things that happened, oldest first.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, faults, property, message, at, trace } = self;
        writeln!(f, "{property:?} is broken at {at:?} with seed {seed}: {message}")?;
        writeln!(f, "the last {} events:", trace.len())?;
        trace.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "to see it again: Simulation::new({seed}).faults({faults:?}), and the same mesh and parts")
    }
}
