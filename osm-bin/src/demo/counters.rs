//! What the bookstore's applications counted.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The counters of a shopper, or what they grew by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Requests that ended.
    pub requests: u64,
    /// Those with a 2xx status.
    pub successes: u64,
    /// All others.
    pub failures: u64,
    /// Responses by status code.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without a response, by kind of failure.
    pub by_error: BTreeMap<String, u64>,
    /// Successful requests, by the store that served them.
    pub by_identity: BTreeMap<String, u64>,
}

impl Counters {
    /// What was counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            successes: self.successes.saturating_sub(earlier.successes),
            failures: self.failures.saturating_sub(earlier.failures),
            by_status: difference(&self.by_status, &earlier.by_status),
            by_error: difference(&self.by_error, &earlier.by_error),
            by_identity: difference(&self.by_identity, &earlier.by_identity),
        }
    }

    /// The share of successful requests that a store served, in percent; `None`
    /// when there was none.
    #[must_use]
    pub fn share(&self, identity: &str) -> Option<f64> {
        let all: u64 = self.by_identity.values().sum();
        let served = self.by_identity.get(identity).copied().unwrap_or(0);
        // Counts of a demo are far below the 53 bits of a float's precision.
        (all > 0).then(|| served as f64 * 100.0 / all as f64)
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} succeeded", self.successes, self.requests)?;
        for (status, count) in self.by_status.iter().filter(|(status, _)| !(200..300).contains(*status)) {
            write!(f, ", {count} × {status}")?;
        }
        for (error, count) in &self.by_error {
            write!(f, ", {count} × {error}")?;
        }
        Ok(())
    }
}

fn difference<K: Ord + Clone>(now: &BTreeMap<K, u64>, earlier: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let grown = now
        .iter()
        .map(|(key, count)| (key.clone(), count.saturating_sub(earlier.get(key).copied().unwrap_or(0))));
    grown.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(text: &str) -> Counters {
        serde_json::from_str(text).expect("counters")
    }

    #[test]
    fn what_an_application_says_is_read_and_subtracted() {
        let earlier =
            counters(r#"{"requests": 10, "successes": 10, "byStatus": {"200": 10}, "booksBought": 5}"#);
        let now = counters(
            r#"{"requests": 15, "successes": 12, "failures": 3, "byStatus": {"200": 12, "403": 2},
                "byError": {"closed": 1}, "byIdentity": {"bookstore-v1": 2}}"#,
        );
        let grown = now.since(&earlier);
        assert_eq!((grown.requests, grown.successes, grown.failures), (5, 2, 3));
        assert_eq!(grown.to_string(), "2 of 5 succeeded, 2 × 403, 1 × closed");
        assert_eq!((grown.share("bookstore-v1"), Counters::default().share("x")), (Some(100.0), None));
    }
}
