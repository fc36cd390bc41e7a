//! Counters of the shoppers, by outcome and by the store that served.
//!
//! They only grow until they are reset. What a response says about itself is bounded before it becomes a key.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

use crate::http_client::{Failure, Reply};

/// Distinct serving identities that are counted by name; further ones count as `other`.
const IDENTITIES: usize = 16;
/// Longest serving identity, in bytes, that is counted by name.
const IDENTITY_LENGTH: usize = 64;

/// What kind of request an outcome belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `GET /books-bought`: a question.
    Look,
    /// `GET /buy-a-book/new`: a book changes hands when it succeeds.
    Buy,
}

/// Counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Requests answered with a 2xx status.
    pub successes: u64,
    /// Requests that ended in another way.
    pub failures: u64,
    /// Successful purchases.
    pub books: u64,
    /// Successful purchases that an identity ending in `-v1` served.
    pub books_v1: u64,
    /// Successful purchases that an identity ending in `-v2` served.
    pub books_v2: u64,
    /// Responses by status code.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without a response, by kind of failure.
    pub by_error: BTreeMap<Failure, u64>,
    /// Successful requests by serving identity.
    pub by_identity: BTreeMap<String, u64>,
}

/// Counters shared by the connections of one shopper.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<Counts>,
}

impl Tally {
    /// Counts one outcome and returns how many requests ended so far.
    pub fn record(&self, purpose: Purpose, outcome: &Result<Reply, Failure>) -> u64 {
        let mut counts = self.counts.lock();
        counts.requests += 1;
        match outcome {
            Ok(reply) => {
                *counts.by_status.entry(reply.status.as_u16()).or_default() += 1;
                if reply.status.is_success() {
                    counts.served(purpose, reply.header("identity"));
                } else {
                    counts.failures += 1;
                }
            }
            Err(failure) => {
                *counts.by_error.entry(*failure).or_default() += 1;
                counts.failures += 1;
            }
        }
        counts.requests
    }

    /// Returns a copy of all counts, taken at one moment.
    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// Sets all counts to zero.
    pub fn reset(&self) {
        *self.counts.lock() = Counts::default();
    }
}

impl Counts {
    fn served(&mut self, purpose: Purpose, identity: Option<&str>) {
        self.successes += 1;
        let identity = identity.filter(|text| text.len() <= IDENTITY_LENGTH).unwrap_or("other");
        if purpose == Purpose::Buy {
            self.books += 1;
            self.books_v1 += u64::from(identity.ends_with("-v1"));
            self.books_v2 += u64::from(identity.ends_with("-v2"));
        }
        let known = self.by_identity.contains_key(identity) || self.by_identity.len() < IDENTITIES;
        let key = if known { identity } else { "other" };
        *self.by_identity.entry(key.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, identity: &str) -> Result<Reply, Failure> {
        Ok(Reply::for_test(status, &[("identity", identity)]))
    }

    #[test]
    fn only_a_successful_purchase_is_a_book() {
        let tally = Tally::default();
        tally.record(Purpose::Look, &reply(200, "bookstore-v1"));
        tally.record(Purpose::Buy, &reply(200, "bookstore-v1"));
        tally.record(Purpose::Buy, &reply(200, "bookstore-v2"));
        tally.record(Purpose::Buy, &reply(403, "bookstore-v2"));
        assert_eq!(tally.record(Purpose::Buy, &Err(Failure::Closed)), 5);
        let counts = tally.counts();
        assert_eq!((counts.books, counts.books_v1, counts.books_v2), (2, 1, 1));
        assert_eq!((counts.requests, counts.successes, counts.failures), (5, 3, 2));
        assert_eq!(counts.by_status, BTreeMap::from([(200, 3), (403, 1)]));
        assert_eq!(counts.by_error, BTreeMap::from([(Failure::Closed, 1)]));
        assert_eq!(
            counts.by_identity,
            BTreeMap::from([("bookstore-v1".into(), 2), ("bookstore-v2".into(), 1)])
        );
    }

    #[test]
    fn identities_that_never_end_are_bounded() {
        let tally = Tally::default();
        for number in 0..100 {
            tally.record(Purpose::Look, &reply(200, &format!("store-{number}")));
        }
        tally.record(Purpose::Look, &reply(200, &"x".repeat(10_000)));
        let counts = tally.counts();
        assert_eq!(counts.by_identity.len(), IDENTITIES + 1);
        assert_eq!(counts.by_identity.values().sum::<u64>(), 101);
        assert_eq!(counts.by_identity["other"], 101 - IDENTITIES as u64);
    }

    #[test]
    fn a_reset_starts_from_zero() {
        let tally = Tally::default();
        tally.record(Purpose::Buy, &reply(200, "bookstore-v1"));
        tally.reset();
        assert_eq!(tally.counts(), Counts::default());
    }
}
