//! Answers that hold for a while, found by a token that is not kept.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The most answers that are kept; what comes when it is full is not.
const MAX_ANSWERS: usize = 32 * 1024;

/// Two keyed hashes, so that nobody can make two tokens of the same key.
type Key = (u64, u64);

#[derive(Debug)]
pub(super) struct Cache<T> {
    hashers: (RandomState, RandomState),
    answers: Mutex<HashMap<Key, (T, Instant)>>,
    limit: usize,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self::new(MAX_ANSWERS)
    }
}

impl<T> Cache<T> {
    fn new(limit: usize) -> Self {
        let hashers = (RandomState::new(), RandomState::new());
        Self { hashers, answers: Mutex::new(HashMap::new()), limit }
    }

    fn key(&self, token: &str) -> Key {
        (self.hashers.0.hash_one(token), self.hashers.1.hash_one(token))
    }
}

impl<T: Clone> Cache<T> {
    /// The answer for this token, if there is one that holds still.
    pub(super) fn find(&self, token: &str, now: Instant) -> Option<T> {
        let answers = self.answers.lock();
        let (answer, until) = answers.get(&self.key(token))?;
        (*until > now).then(|| answer.clone())
    }

    /// Keeps an answer until then.
    pub(super) fn keep(&self, token: &str, answer: T, until: Instant, now: Instant) {
        let mut answers = self.answers.lock();
        if answers.len() >= self.limit {
            answers.retain(|_, (_, until)| *until > now);
        }
        if answers.len() < self.limit {
            answers.insert(self.key(token), (answer, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_holds_until_its_end_and_only_so_many_are_kept() {
        let cache = Cache::new(2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        cache.keep("a", 1, at(10), at(0));
        cache.keep("b", 2, at(20), at(0));
        cache.keep("c", 3, at(20), at(0));
        assert_eq!(
            [("a", 9), ("a", 10), ("b", 10), ("c", 0)].map(|(t, s)| cache.find(t, at(s))),
            [Some(1), None, Some(2), None]
        );
        cache.keep("c", 3, at(30), at(15));
        assert_eq!(cache.find("c", at(15)), Some(3), "what has ended makes room");
    }
}
