//! The roots that answers have led to. Pure.
//!
//! An authority may be replaced at any time. The new root is known with the first certificate that needs it, and the
//! old one is kept until the last certificate has ended that was issued under it. Of more than are kept those go whose last
//! certificates end first, and never one that the newest answer needs.

use std::time::Duration;

use osm_certs::certificate::TrustBundle;
use osm_certs::verify::CLOCK_DIFFERENCE;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

/// How long roots are said again without asking for them anew.
const FRESH: Duration = Duration::from_secs(60);
/// How many roots are kept: an issuer with another authority every day has seven in a week.
const MOST: usize = 16;

/// The roots of one issuer, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Those of the newest answer last.
    known: Vec<Known>,
    learnt: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    root: CertificateDer<'static>,
    /// Until when there may be certificates that lead to it.
    until: Instant,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// Whether there is a root among others that was not there before.
    pub(super) has_new: bool,
    /// How many are trusted no more although there may be certificates that lead to them.
    pub(super) forgotten: usize,
}

impl Roots {
    /// Takes in the roots of an answer that was checked, for a certificate that lives for so long.
    pub(super) fn learn(&mut self, roots: &TrustBundle, validity: Duration, now: Instant) -> News {
        let until = now + validity + CLOCK_DIFFERENCE;
        let (had_any, mut has_new, mut forgotten) = (!self.known.is_empty(), false, 0);
        for root in roots.der() {
            match self.known.iter_mut().find(|known| known.root == *root) {
                Some(known) => known.until = known.until.max(until),
                None => {
                    has_new = true;
                    self.known.push(Known { root: root.clone(), until });
                }
            }
        }
        self.known.retain(|known| known.until > now);
        while self.known.len() > MOST.max(roots.der().len()) {
            let others =
                self.known.iter().enumerate().filter(|(_, known)| !roots.der().contains(&known.root));
            let Some((first, _)) = others.min_by_key(|(_, known)| known.until) else { break };
            self.known.remove(first);
            forgotten += 1;
        }
        self.learnt = Some(now);
        News { has_new: had_any && has_new, forgotten }
    }

    /// All that are needed, if any is known.
    pub(super) fn bundle(&self) -> Option<TrustBundle> {
        TrustBundle::from_der(self.known.iter().map(|known| known.root.clone())).ok()
    }

    /// The same, if that is not long ago.
    pub(super) fn fresh(&self, now: Instant) -> Option<TrustBundle> {
        self.learnt.filter(|learnt| now < *learnt + FRESH)?;
        self.bundle()
    }
}

#[cfg(test)]
mod tests {
    use osm_certs::in_process::InProcessCa;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn root() -> TrustBundle {
        InProcessCa::ephemeral().expect("an authority").root().clone()
    }

    fn count(roots: &Roots) -> usize {
        roots.bundle().map_or(0, |bundle| bundle.der().len())
    }

    #[test]
    fn a_root_is_kept_until_the_last_certificate_under_it_has_ended() {
        let (old, new, begun, mut roots) = (root(), root(), Instant::now(), Roots::default());
        assert!(!roots.learn(&old, 24 * HOUR, begun).has_new, "the first is no news");
        assert!(roots.learn(&new, HOUR, begun + HOUR).has_new);
        assert_eq!(
            count(&roots),
            2,
            "the new one is there with the first certificate, and the old one stays"
        );
        roots.learn(&new, HOUR, begun + 24 * HOUR);
        assert_eq!(count(&roots), 2);
        roots.learn(&new, HOUR, begun + 26 * HOUR);
        assert_eq!(roots.bundle(), Some(new));
    }

    #[test]
    fn roots_are_fresh_for_a_minute() {
        let (one, begun, mut roots) = (root(), Instant::now(), Roots::default());
        assert_eq!(roots.fresh(begun), None);
        roots.learn(&one, HOUR, begun);
        assert_eq!(roots.fresh(begun + FRESH / 2), Some(one.clone()));
        assert_eq!(roots.fresh(begun + FRESH), None);
        assert_eq!(roots.bundle(), Some(one), "what is not fresh is known still");
    }

    #[test]
    fn of_too_many_roots_that_goes_whose_certificates_end_first_unless_it_is_the_newest() {
        let (begun, mut roots, brief) = (Instant::now(), Roots::default(), root());
        let long: Vec<_> = (0..MOST).map(|_| root()).collect();
        for (lives, one) in (24..).zip(&long) {
            assert_eq!(roots.learn(one, lives * HOUR, begun).forgotten, 0);
        }
        // Its certificates end before all others; it serves now.
        assert_eq!(roots.learn(&brief, HOUR, begun), News { has_new: true, forgotten: 1 });
        let has =
            |roots: &Roots, one: &TrustBundle| roots.bundle().expect("roots").der().contains(&one.der()[0]);
        assert!(has(&roots, &brief) && !has(&roots, &long[0]) && has(&roots, &long[1]));
        assert_eq!(roots.learn(&long[0], HOUR, begun).forgotten, 1);
        assert!(!has(&roots, &brief) && has(&roots, &long[0]) && has(&roots, &long[1]));
    }

    #[test]
    fn an_issuer_with_ever_new_roots_is_remembered_in_part_and_the_newest_is_among_them() {
        let (begun, mut roots) = (Instant::now(), Roots::default());
        for number in 0..20 {
            roots.learn(&root(), HOUR, begun + Duration::from_secs(number));
        }
        let last = root();
        roots.learn(&last, HOUR, begun + Duration::from_secs(20));
        assert_eq!(count(&roots), MOST);
        assert!(roots.bundle().expect("roots").der().contains(&last.der()[0]));
    }
}
