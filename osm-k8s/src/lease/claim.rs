//! What one replica knows of a lease, and what it may do. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a lease is good that nobody renews.
pub const DURATION: Duration = Duration::from_secs(15);
/// For how long a replica that can't renew believes that it still holds it: less than
/// any other waits.
pub const GRACE: Duration = Duration::from_secs(10);
/// How often a lease is renewed, or looked at by those who do not hold it.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// A lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who holds it; empty for nobody.
    pub(super) holder: String,
    /// What changes with each renewal.
    pub(super) version: String,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: make it.
    Create,
    /// Nobody holds it, or the holder is gone: take it.
    Take,
    /// It is held by this replica: renew it.
    Renew,
    /// Another holds it.
    Wait,
}

/// One replica's claim.
#[derive(Debug)]
pub(super) struct Claim {
    me: String,
    /// The lease as it was seen last, and since when it has been so.
    seen: Option<(Seen, Instant)>,
    /// When this replica renewed it last.
    renewed: Option<Instant>,
}

impl Claim {
    pub(super) fn new(me: &str) -> Self {
        Self { me: me.to_owned(), seen: None, renewed: None }
    }

    /// Takes in how the lease looks.
    pub(super) fn on_seen(&mut self, lease: Option<Seen>, now: Instant) -> Step {
        let Some(lease) = lease else {
            self.seen = None;
            return Step::Create;
        };
        let since = match &self.seen {
            Some((before, since)) if *before == lease => *since,
            _ => now,
        };
        let step = match lease.holder.as_str() {
            "" => Step::Take,
            holder if holder == self.me => Step::Renew,
            _ if now.duration_since(since) >= DURATION => Step::Take,
            _ => {
                self.renewed = None;
                Step::Wait
            }
        };
        self.seen = Some((lease, since));
        step
    }

    /// Takes in that the lease was written by this replica, which began at `begun`.
    pub(super) fn on_written(&mut self, lease: Seen, begun: Instant) {
        self.seen = Some((lease, begun));
        self.renewed = Some(begun);
    }

    /// Whether this replica holds the lease and no other can.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Option<Seen> {
        Some(Seen { holder: holder.to_owned(), version: version.to_owned() })
    }

    #[test]
    fn a_lease_is_made_renewed_and_held() {
        let (mut claim, start) = (Claim::new("a"), Instant::now());
        assert_eq!(claim.on_seen(None, start), Step::Create);
        assert!(!claim.is_held(start));
        claim.on_written(lease("a", "1").expect("a lease"), start);
        assert!(claim.is_held(start + RENEWAL));
        assert_eq!(claim.on_seen(lease("a", "1"), start + RENEWAL), Step::Renew);
        assert!(!claim.is_held(start + GRACE), "who can't renew gives up before another takes it");
    }

    #[test]
    fn anothers_lease_is_taken_when_it_has_not_changed_for_long_enough() {
        let (mut claim, start) = (Claim::new("b"), Instant::now());
        assert_eq!(claim.on_seen(lease("a", "1"), start), Step::Wait);
        assert_eq!(claim.on_seen(lease("a", "2"), start + DURATION), Step::Wait, "it was renewed");
        let late = start + DURATION * 2;
        assert_eq!(claim.on_seen(lease("a", "2"), late - RENEWAL), Step::Wait);
        assert_eq!(claim.on_seen(lease("a", "2"), late), Step::Take);
    }

    #[test]
    fn a_lease_that_was_given_up_is_taken_at_once() {
        let mut claim = Claim::new("b");
        assert_eq!(claim.on_seen(lease("", "3"), Instant::now()), Step::Take);
    }

    #[test]
    fn a_lease_that_another_took_is_not_held() {
        let (mut claim, start) = (Claim::new("a"), Instant::now());
        claim.on_written(lease("a", "1").expect("a lease"), start);
        assert_eq!(claim.on_seen(lease("b", "2"), start), Step::Wait);
        assert!(!claim.is_held(start));
    }

    #[test]
    fn a_holder_gives_up_before_any_other_may_take_over() {
        assert!(GRACE + RENEWAL < DURATION);
    }
}
