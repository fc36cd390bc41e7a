//! What buyer and thief counted, and waiting for what it has to be.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use osm_e2e::kubectl::{PATIENCE, exec};

/// How long the counters are left alone between looks.
const LOOK: Duration = Duration::from_millis(500);

/// A shopper of the bookstore, by its application's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shopper {
    Buyer,
    Thief,
}

/// What a shopper counted since some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) successes: u64,
    by_v1: u64,
    detail: String,
}

impl Shopper {
    /// What it has counted since it started.
    pub(crate) fn counts(self) -> Result<Counts> {
        let (namespace, container) = match self {
            Self::Buyer => ("bookbuyer", "buyer"),
            Self::Thief => ("bookthief", "thief"),
        };
        let fetch = ["bookstore-app", "fetch", "http://127.0.0.1:14001/raw"];
        let said = exec(namespace, &format!("deployment/{namespace}"), container, &fetch)?;
        let json = said.split_once("\n\n").context("a head and a body")?.1;
        let raw: Value = serde_json::from_str(json).context("counters")?;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        Ok(Counts {
            requests: number(&raw["requests"]),
            successes: number(&raw["successes"]),
            by_v1: number(&raw["byIdentity"]["bookstore-v1"]),
            detail: format!("{} {}", raw["byStatus"], raw["byError"]),
        })
    }

    /// Waits for so many more requests, and returns what came of them.
    pub(crate) fn next(self, requests: u64) -> Result<Counts> {
        let before = self.counts()?;
        let began = Instant::now();
        loop {
            let seen = self.counts()?.since(&before);
            if seen.requests >= requests {
                return Ok(seen);
            }
            if began.elapsed() > PATIENCE {
                bail!(
                    "{self:?} made {} requests of {requests} within {} s",
                    seen.requests,
                    PATIENCE.as_secs()
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until so many requests in a row came out as they should, and returns them.
    pub(crate) fn until(self, requests: u64, expected: impl Fn(&Counts) -> bool) -> Result<Counts> {
        let began = Instant::now();
        loop {
            let seen = self.next(requests)?;
            if expected(&seen) {
                return Ok(seen);
            }
            if began.elapsed() > PATIENCE {
                bail!("{self:?} still sees {seen}");
            }
        }
    }
}

impl Counts {
    /// What came since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            successes: self.successes.saturating_sub(earlier.successes),
            by_v1: self.by_v1.saturating_sub(earlier.by_v1),
            detail: format!("before {}, now {}", earlier.detail, self.detail),
        }
    }

    /// Those that did not succeed.
    pub(crate) fn failures(&self) -> u64 {
        self.requests - self.successes
    }

    /// The percentage of successes that version 1 served.
    pub(crate) fn share_of_v1(&self) -> f64 {
        // Counts of minutes are far below the 53 bits of a float's precision.
        self.by_v1 as f64 * 100.0 / self.successes as f64
    }

    /// The same, when none failed.
    pub(crate) fn without_failure(self) -> Result<Self> {
        if self.failures() > 0 || self.requests == 0 {
            bail!("{self} ({})", self.detail);
        }
        Ok(self)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} requests failed", self.failures(), self.requests)
    }
}
