//! How fast a client may make work: a bucket of credit that fills with time.
//!
//! A stream whose credit is used up is not read until there is some again. What
//! the client sends meanwhile stays with the client, since the transport takes
//! no more than its window. So one that floods slows down itself only.

use std::time::{Duration, Instant};

/// The credit of one stream.
#[derive(Debug)]
pub(super) struct Pace {
    credit: f64,
    as_of: Instant,
}

/// How much credit there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// At most, and at the start.
    pub(super) burst: u32,
    /// Each second.
    pub(super) per_second: u32,
}

impl Pace {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { credit: rate.burst.into(), as_of: now }
    }

    /// Whether anything may be done now. What costs more than there is left is
    /// done, and owed.
    pub(super) fn allows(&mut self, rate: Rate, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.as_of);
        self.as_of = now;
        let earned = since.as_secs_f64() * f64::from(rate.per_second);
        self.credit = (self.credit + earned).min(rate.burst.into());
        self.credit >= 1.0
    }

    pub(super) fn spend(&mut self, cost: usize) {
        // Exact below 2^53, and nothing that fits into memory costs more.
        self.credit -= cost as f64;
    }

    /// When it allows something again, if it does not now.
    pub(super) fn resumes(&self, rate: Rate) -> Option<Instant> {
        let missing = 1.0 - self.credit;
        if missing <= 0.0 {
            return None;
        }
        let wait = Duration::try_from_secs_f64(missing / f64::from(rate.per_second));
        // A little later than exact, so that rounding makes no second look.
        Some(self.as_of + wait.unwrap_or(LONG).min(LONG) + Duration::from_micros(1))
    }
}

/// Long enough for a rate of nothing.
const LONG: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 10, per_second: 2 };

    #[test]
    fn credit_is_used_up_and_comes_again_with_time() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        let mut done = 0;
        while pace.allows(RATE, start) {
            pace.spend(1);
            done += 1;
        }
        assert_eq!(done, 10);
        let resumes = pace.resumes(RATE).expect("it has to wait");
        assert!((499..=501).contains(&(resumes - start).as_millis()), "{:?}", resumes - start);
        assert!(pace.allows(RATE, resumes) && pace.resumes(RATE).is_none());
        pace.spend(1);
        assert!(!pace.allows(RATE, resumes));
        let much_later = start + Duration::from_secs(1000);
        assert!(pace.allows(RATE, much_later));
        pace.spend(10);
        assert!(!pace.allows(RATE, much_later), "no more than the burst is saved up");
    }

    #[test]
    fn what_costs_more_than_there_is_is_owed() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        pace.spend(109);
        let resumes = pace.resumes(RATE).expect("it has to wait");
        assert_eq!((resumes - start).as_secs(), 50);
    }

    #[test]
    fn without_any_rate_there_is_still_an_end_to_a_wait() {
        let rate = Rate { burst: 0, per_second: 0 };
        let start = Instant::now();
        assert!(!Pace::new(rate, start).allows(rate, start));
        assert!(Pace::new(rate, start).resumes(rate).is_some());
    }
}
