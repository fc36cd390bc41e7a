//! One subject's place in the life of its certificate. Pure: the time is passed in.

use std::time::{Duration, SystemTime};

use super::backoff::{Backoff, fraction};

/// How much of a certificate's life is left to renew it in, at least.
const RESERVE: f64 = 1.0 / 3.0;
/// How much earlier than that it may be renewed, by chance.
const JITTER: f64 = 0.1;
/// No subject is signed for again sooner than this after a success, however
/// short the lives that an issuer gives.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// A certificate that was issued later than now by more than this is from a time
/// when the clock was wrong.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// When a subject is to be signed for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// It has nothing yet: somebody waits for it.
    AtOnce,
    /// It is to have another certificate.
    Now,
    /// At that time.
    At(SystemTime),
}

/// Whether waiting may help after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Hope {
    /// Waiting may help: try again soon.
    Soon,
    /// A person has to act: try again rarely.
    Rarely,
}

/// Where a subject is in the life of its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has nothing yet: to be signed for as soon as there is room.
    Waiting,
    /// To be signed for anew as soon as there is room.
    Due,
    /// Being signed for.
    Signing,
    /// Has a certificate, to be renewed at this time.
    Serving {
        /// When it is to be renewed.
        renewal: SystemTime,
        /// When it was issued.
        issued: SystemTime,
    },
    /// Has failed, to be tried again at this time.
    Failing {
        /// When it is tried again.
        retry: SystemTime,
    },
}

/// One subject's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) phase: Phase,
    /// Failures in a row.
    pub(super) failures: u32,
    seed: u64,
}

/// When a certificate that was issued at one time and ends at another is to be
/// renewed: at two thirds of its life, or up to a tenth of its life earlier, as the
/// seed decides.
pub(super) fn renewal(issued: SystemTime, not_after: SystemTime, seed: u64) -> SystemTime {
    let life = not_after.duration_since(issued).unwrap_or_default();
    let age = life.mul_f64(1.0 - RESERVE - JITTER * fraction(seed));
    issued + age.max(LEAST_INTERVAL)
}

impl Rotation {
    /// A subject that has nothing yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { phase: Phase::Waiting, failures: 0, seed }
    }

    /// When it is to be signed for; `None` while it is.
    pub(super) fn due(&self) -> Option<Due> {
        match self.phase {
            Phase::Waiting => Some(Due::AtOnce),
            Phase::Due => Some(Due::Now),
            Phase::Signing => None,
            Phase::Serving { renewal, .. } => Some(Due::At(renewal)),
            Phase::Failing { retry } => Some(Due::At(retry)),
        }
    }

    /// Has it signed for anew at once, unless that is being done.
    pub(super) fn renew_now(&mut self) {
        match self.phase {
            Phase::Waiting | Phase::Signing => {}
            Phase::Due | Phase::Serving { .. } | Phase::Failing { .. } => self.phase = Phase::Due,
        }
    }

    /// When it is planned to be signed for; `None` if that is at hand.
    pub(super) fn planned(&self) -> Option<SystemTime> {
        match self.due()? {
            Due::AtOnce | Due::Now => None,
            Due::At(time) => Some(time),
        }
    }

    /// A certificate was issued.
    pub(super) fn issued(&mut self, now: SystemTime, not_after: SystemTime, serial: u64) {
        self.failures = 0;
        self.phase = Phase::Serving { renewal: renewal(now, not_after, self.seed ^ serial), issued: now };
    }

    /// None was issued.
    pub(super) fn failed(&mut self, now: SystemTime, backoff: Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Failing { retry: now + backoff.delay(self.failures, self.seed) };
    }

    /// The clock was set back by so much. A wait must not grow by it, and a
    /// certificate from the future is good for nobody.
    pub(super) fn clock_stepped_back(&mut self, now: SystemTime, step: Duration) {
        match &mut self.phase {
            Phase::Failing { retry } => *retry -= step,
            Phase::Serving { issued, .. } if *issued > now + CLOCK_TOLERANCE => self.phase = Phase::Due,
            _ => {}
        }
    }
}
