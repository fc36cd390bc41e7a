//! Virtual time: what is to happen, in order.

use std::collections::BTreeMap;
use std::time::Duration;

/// Events ordered by their time, and among those of one time by when they were added.
#[derive(Debug)]
pub(super) struct Queue<E> {
    events: BTreeMap<(Duration, u64), E>,
    added: u64,
    now: Duration,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { events: BTreeMap::new(), added: 0, now: Duration::ZERO }
    }

    /// The time of the event that was taken last, since the start.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Adds an event; one of the past happens now.
    pub(super) fn add(&mut self, at: Duration, event: E) {
        self.added += 1;
        self.events.insert((at.max(self.now), self.added), event);
    }

    pub(super) fn add_after(&mut self, delay: Duration, event: E) {
        self.add(self.now + delay, event);
    }

    /// Takes the next event, and moves time on to it.
    pub(super) fn next(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }
}
