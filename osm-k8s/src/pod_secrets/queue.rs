//! Which Secrets are to be looked at, and when one may be written again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::claim::Key;
use crate::pace::Pace;

/// The Secrets that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// At once.
    now: BTreeSet<Key>,
    /// At that time.
    later: BTreeSet<(Instant, Key)>,
    /// Being written: they are looked at afterwards.
    busy: BTreeSet<Key>,
    /// How often those are written that were lately.
    paces: BTreeMap<Key, Pace>,
}

impl Queue {
    /// Has these looked at.
    pub(super) fn look_at(&mut self, keys: impl IntoIterator<Item = Key>) {
        let busy = &self.busy;
        self.now.extend(keys.into_iter().filter(|key| !busy.contains(key)));
    }

    /// The next one to look at.
    pub(super) fn next(&mut self, now: Instant) -> Option<Key> {
        while self.later.first().is_some_and(|(time, _)| *time <= now) {
            self.now.extend(self.later.pop_first().map(|(_, key)| key));
        }
        loop {
            let key = self.now.pop_first()?;
            if !self.busy.contains(&key) {
                return Some(key);
            }
        }
    }

    /// When something waits to be looked at, if anything does.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.later.first().map(|(time, _)| *time)
    }

    /// Whether one may be written now, which is then to be done. Otherwise it is looked at again later.
    pub(super) fn begin(&mut self, key: &Key, now: Instant) -> bool {
        match self.paces.get(key).and_then(|pace| pace.wait(now)) {
            Some(later) => {
                self.later.insert((later, key.clone()));
                false
            }
            None => self.busy.insert(key.clone()),
        }
    }

    /// One was written, or could not be. It is looked at again; if `slows`, ever later where that
    /// happens again and again.
    pub(super) fn end(&mut self, key: Key, slows: bool, now: Instant) {
        // Those of long ago say nothing more.
        if self.paces.len() > 2 * (self.now.len() + self.later.len() + self.busy.len()) + 64 {
            self.paces.retain(|_, pace| pace.wait(now).is_some());
        }
        let pace = self.paces.entry(key.clone()).or_default();
        if slows {
            pace.on_written(now);
        } else {
            pace.on_failed(false, now);
        }
        self.busy.remove(&key);
        self.now.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pace::LEAST;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn each_is_looked_at_once_and_not_while_it_is_written() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.look_at([key("b"), key("a"), key("a")]);
        assert_eq!(queue.next(now), Some(key("a")));
        assert!(queue.begin(&key("a"), now));
        queue.look_at([key("a")]);
        assert_eq!((queue.next(now), queue.next(now)), (Some(key("b")), None));
        queue.end(key("a"), true, now);
        assert_eq!((queue.next(now), queue.next(now)), (Some(key("a")), None));
    }

    #[test]
    fn what_was_just_written_waits_before_it_is_written_again() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert!(queue.begin(&key("a"), now));
        queue.end(key("a"), false, now);
        assert_eq!(queue.next(now), Some(key("a")));
        assert!(!queue.begin(&key("a"), now));
        assert_eq!((queue.next(now), queue.wakes()), (None, Some(now + LEAST)));
        assert_eq!(queue.next(now + LEAST), Some(key("a")));
        assert!(queue.begin(&key("a"), now + LEAST));
    }

    #[test]
    fn nothing_is_kept_of_those_that_were_written_long_ago() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for number in 0..1_000 {
            let key = key(&number.to_string());
            assert!(queue.begin(&key, now));
            queue.end(key, true, now);
            while queue.next(now).is_some() {}
            now += Duration::from_secs(1);
        }
        assert!(queue.paces.len() < 200, "{}", queue.paces.len());
    }
}
