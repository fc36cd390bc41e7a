//! A clock that follows tokio's.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::Clock;

/// A clock that goes as tokio's time goes, which a test may pause and advance,
/// and that can be set like a machine's clock.
#[derive(Debug)]
pub struct SimulatedClock {
    began: Instant,
    /// What the clock showed when it began, as it has been set since.
    origin: Mutex<SystemTime>,
}

impl SimulatedClock {
    /// A clock that shows this time now.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { began: Instant::now(), origin: Mutex::new(now) }
    }

    /// Sets the clock forward.
    pub fn step_forward(&self, step: Duration) {
        self.set(|origin| origin + step);
    }

    /// Sets the clock back.
    pub fn step_back(&self, step: Duration) {
        self.set(|origin| origin - step);
    }

    fn set(&self, change: impl FnOnce(SystemTime) -> SystemTime) {
        let mut origin = self.origin.lock();
        *origin = change(*origin);
    }
}

impl Default for SimulatedClock {
    /// A clock that shows some whole second in 2027.
    fn default() -> Self {
        Self::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> SystemTime {
        *self.origin.lock() + self.began.elapsed()
    }
}
