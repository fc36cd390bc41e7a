//! Which subjects are to be signed for, and when. Pure: the time is passed in,
//! and what comes out is what to do.
//!
//! The driver asks [`Schedule::start`] until it says no more, waits until
//! [`Schedule::wake_at`], and tells how each signing ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::backoff::{Backoff, seed};
use super::rotation::{Due, Hope, Phase, Rotation};
use crate::subject::Subject;

/// The bounds of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many subjects are signed for at a time, at most.
    pub parallel: usize,
    /// The waits after failures that waiting may cure.
    pub soon: Backoff,
    /// The waits after failures that a person has to cure.
    pub rarely: Backoff,
}

impl Default for Pace {
    /// 8 at a time; from 1 s to 1 min, and from 10 s to 5 min.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            parallel: 8,
            soon: Backoff { first: seconds(1), most: seconds(60) },
            rarely: Backoff { first: seconds(10), most: seconds(300) },
        }
    }
}

/// The schedule of all subjects.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    subjects: BTreeMap<Subject, Rotation>,
    /// All that are not being signed for, the next first.
    queue: BTreeSet<(Due, Subject)>,
    signing: usize,
    /// The latest time seen since the clock was last set back.
    latest: SystemTime,
}

impl Schedule {
    /// A schedule of nobody.
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            subjects: BTreeMap::new(),
            queue: BTreeSet::new(),
            signing: 0,
            latest: SystemTime::UNIX_EPOCH,
        }
    }

    /// A subject needs a certificate, from now on until it is forgotten.
    pub(super) fn want(&mut self, subject: &Subject) {
        if !self.subjects.contains_key(subject) {
            self.subjects.insert(subject.clone(), Rotation::new(seed(&subject.to_string())));
            self.enqueue(subject);
        }
    }

    /// A subject needs none any more. Says no while it is being signed for: then
    /// that has to end first.
    pub(super) fn forget(&mut self, subject: &Subject) -> bool {
        if self.subjects.get(subject).is_some_and(|rotation| rotation.phase == Phase::Signing) {
            return false;
        }
        self.dequeue(subject);
        self.subjects.remove(subject);
        true
    }

    /// A subject is to be signed for anew at once. One that is being signed for is
    /// left at that.
    pub(super) fn renew_now(&mut self, subject: &Subject) -> bool {
        self.change(subject, Rotation::renew_now)
    }

    /// The next subject to sign for, if one is due and there is room. From here on
    /// it counts as being signed for, until [`issued`](Self::issued) or
    /// [`failed`](Self::failed).
    pub(super) fn start(&mut self, now: SystemTime) -> Option<Subject> {
        self.observe(now);
        if self.signing >= self.pace.parallel.max(1) {
            return None;
        }
        let (due, subject) = self.queue.first()?.clone();
        if due > Due::At(now) {
            return None;
        }
        self.signing += 1;
        self.change(&subject, |rotation| rotation.phase = Phase::Signing);
        Some(subject)
    }

    /// A signing ended with a certificate that is valid until some time.
    pub(super) fn issued(&mut self, subject: &Subject, now: SystemTime, not_after: SystemTime, serial: &str) {
        self.signing = self.signing.saturating_sub(1);
        self.change(subject, |rotation| rotation.issued(now, not_after, seed(serial)));
    }

    /// A signing ended without a certificate.
    pub(super) fn failed(&mut self, subject: &Subject, now: SystemTime, hope: Hope) {
        self.signing = self.signing.saturating_sub(1);
        let backoff = match hope {
            Hope::Soon => self.pace.soon,
            Hope::Rarely => self.pace.rarely,
        };
        self.change(subject, |rotation| rotation.failed(now, backoff));
    }

    /// When [`start`](Self::start) may have a subject again without anything having
    /// ended before; `None` if never, or there is no room.
    pub(super) fn wake_at(&self) -> Option<SystemTime> {
        let room = self.signing < self.pace.parallel.max(1);
        self.queue.first().filter(|_| room).map(|(due, _)| match due {
            Due::AtOnce | Due::Now => SystemTime::UNIX_EPOCH,
            Due::At(time) => *time,
        })
    }

    /// When a subject is planned to be signed for; `None` if that is at hand, or it is not known.
    pub(super) fn planned(&self, subject: &Subject) -> Option<SystemTime> {
        self.subjects.get(subject)?.planned()
    }

    /// How often in a row a subject has failed.
    pub(super) fn failures(&self, subject: &Subject) -> u32 {
        self.subjects.get(subject).map_or(0, |rotation| rotation.failures)
    }

    /// Notices that the clock was set back. Costs nothing otherwise.
    fn observe(&mut self, now: SystemTime) {
        let Ok(step) = self.latest.duration_since(now) else {
            self.latest = now;
            return;
        };
        // Readings of different processors may differ by a little.
        if step < Duration::from_secs(1) {
            return;
        }
        self.latest = now;
        for subject in self.subjects.keys().cloned().collect::<Vec<_>>() {
            self.change(&subject, |rotation| rotation.clock_stepped_back(now, step));
        }
    }

    /// Changes a subject's state and keeps the queue in step.
    fn change(&mut self, subject: &Subject, change: impl FnOnce(&mut Rotation)) -> bool {
        self.dequeue(subject);
        let known = self.subjects.get_mut(subject).map(change).is_some();
        self.enqueue(subject);
        known
    }

    fn due(&self, subject: &Subject) -> Option<Due> {
        self.subjects.get(subject)?.due()
    }

    fn dequeue(&mut self, subject: &Subject) {
        if let Some(due) = self.due(subject) {
            self.queue.remove(&(due, subject.clone()));
        }
    }

    fn enqueue(&mut self, subject: &Subject) {
        if let Some(due) = self.due(subject) {
            self.queue.insert((due, subject.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
