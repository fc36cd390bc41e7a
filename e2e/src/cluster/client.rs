//! What clients counted, and waiting for what it has to be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubectl::{PATIENCE, exec, kubectl};

/// How long the counters are left alone between looks.
const LOOK: Duration = Duration::from_millis(500);

/// Somebody who makes requests all the time, and counts what comes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The bookstore's buyer, who keeps connections.
    Buyer,
    /// The bookstore's thief, likewise.
    Thief,
    /// Who calls the members ([`super::members`]), each time on a new connection.
    Caller,
}

/// What a client counted since some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Those that succeeded.
    pub successes: u64,
    by_server: BTreeMap<String, u64>,
    detail: String,
}

impl Client {
    /// What it has counted since it started.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn counts(self) -> Result<Counts> {
        let (namespace, container) = match self {
            Self::Buyer => ("bookbuyer", "buyer"),
            Self::Thief => ("bookthief", "thief"),
            Self::Caller => return calls(),
        };
        let fetch = ["bookstore-app", "fetch", "http://127.0.0.1:14001/raw"];
        let said = exec(namespace, &format!("deployment/{namespace}"), container, &fetch)?;
        let json = said.split_once("\n\n").context("a head and a body")?.1;
        let raw: Value = serde_json::from_str(json).context("counters")?;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let servers = raw["byIdentity"].as_object().into_iter().flatten();
        Ok(Counts {
            requests: number(&raw["requests"]),
            successes: number(&raw["successes"]),
            by_server: servers.map(|(name, count)| (name.clone(), number(count))).collect(),
            detail: format!("{} {}", raw["byStatus"], raw["byError"]),
        })
    }

    /// Waits for so many more requests, and returns what came of them.
    ///
    /// # Errors
    /// When it does not make so many.
    pub fn next(self, requests: u64) -> Result<Counts> {
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
    ///
    /// # Errors
    /// When they do not.
    pub fn until(self, requests: u64, expected: impl Fn(&Counts) -> bool) -> Result<Counts> {
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

/// What the caller printed last. Its first line comes a second after its start.
fn calls() -> Result<Counts> {
    let told =
        kubectl(&["logs", "--namespace=workloads", "deployment/caller", "--container=calls", "--tail=1"])?;
    let told = if told.trim().is_empty() { "{}" } else { told.trim() };
    let outcomes: BTreeMap<String, u64> = serde_json::from_str(told).context("counters")?;
    let mut by_server = BTreeMap::new();
    for (outcome, count) in &outcomes {
        let words = outcome.strip_prefix("200 ").unwrap_or(outcome).split(' ');
        for server in words.filter(|word| word.starts_with("members-")) {
            *by_server.entry(server.to_owned()).or_default() += count;
        }
    }
    let requests = outcomes.values().sum();
    Ok(Counts { requests, successes: by_server.values().sum(), by_server, detail: told.to_owned() })
}

impl Counts {
    /// What came since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let now_by = |server: &str| self.by(server).saturating_sub(earlier.by(server));
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            successes: self.successes.saturating_sub(earlier.successes),
            by_server: self.by_server.keys().map(|server| (server.clone(), now_by(server))).collect(),
            detail: format!("before {}, now {}", earlier.detail, self.detail),
        }
    }

    /// Those that did not succeed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.requests - self.successes
    }

    /// The successes that this server brought.
    #[must_use]
    pub fn by(&self, server: &str) -> u64 {
        self.by_server.get(server).copied().unwrap_or_default()
    }

    /// The percentage of successes that version 1 served.
    #[must_use]
    pub fn share_of_v1(&self) -> f64 {
        // Counts of minutes are far below the 53 bits of a float's precision.
        self.by("bookstore-v1") as f64 * 100.0 / self.successes as f64
    }

    /// The same, when none failed.
    ///
    /// # Errors
    /// When there is none, or one failed.
    pub fn without_failure(self) -> Result<Self> {
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
