//! Whether the control plane can serve: a guard for each subsystem.
//!
//! A subsystem that is not ready yet has a [`Pending`]; when it has done what
//! others wait for, it marks it. The whole is ready when each is, and not any
//! more once it drains.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The readiness of a program. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    subsystems: BTreeMap<&'static str, bool>,
    draining: bool,
}

/// What is not ready, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// The subsystems that are waited for, by name.
    pub waiting_for: Vec<&'static str>,
    /// Whether the program is about to end.
    pub draining: bool,
}

/// A subsystem that is not ready yet.
#[derive(Debug)]
#[must_use = "a subsystem whose guard is dropped unmarked is never ready"]
pub struct Pending {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Registers a subsystem that has to become ready.
    pub fn expect(&self, name: &'static str) -> Pending {
        self.0.lock().subsystems.insert(name, false);
        Pending { readiness: self.clone(), name }
    }

    /// Says that the program is about to end: it is not ready any more.
    pub fn drain(&self) {
        self.0.lock().draining = true;
    }

    /// Whether everything is ready.
    ///
    /// # Errors
    /// With what is waited for.
    pub fn check(&self) -> Result<(), NotReady> {
        let state = self.0.lock();
        let waiting_for: Vec<_> =
            state.subsystems.iter().filter(|(_, ready)| !**ready).map(|(name, _)| *name).collect();
        if waiting_for.is_empty() && !state.draining {
            return Ok(());
        }
        Err(NotReady { waiting_for, draining: state.draining })
    }
}

impl Pending {
    /// Says that the subsystem is ready.
    pub fn ready(self) {
        self.readiness.0.lock().subsystems.insert(self.name, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_when_each_subsystem_is_and_until_it_drains() {
        let readiness = Readiness::default();
        let (source, certificates) = (readiness.expect("source"), readiness.expect("certificates"));
        source.ready();
        let waiting = readiness.check().expect_err("one is missing");
        assert_eq!(waiting, NotReady { waiting_for: vec!["certificates"], draining: false });
        certificates.ready();
        assert_eq!(readiness.check(), Ok(()));
        readiness.drain();
        assert!(readiness.check().expect_err("it ends").draining);
    }

    #[test]
    fn a_guard_that_is_dropped_is_never_ready() {
        let readiness = Readiness::default();
        drop(readiness.expect("source"));
        assert!(readiness.check().is_err());
    }
}
