//! The next step, if it may be taken.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use osm_core::identity::ProxyUuid;
use osm_core::model::MAX_TRUSTED_ROOTS;
use osm_core::name::ObjectName;

use super::fleet::{Fleet, Holding, Report};
use super::holdup::{Holdup, Missing, Step, Waiting};
use super::stage::{GivenUp, Stage};
use super::wish::Wish;

/// For how long proxies are waited for, and what comes then, as a MeshRootCertificate says.
pub use osm_core::model::{RootPatience as Patience, WhenLate as Then};

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the mesh is as it is wished.
    Settled,
    /// Nothing: people have asked for a pause.
    Paused,
    /// Nothing yet.
    Wait(Waiting),
    /// This stage is to be in force.
    Go(Stage),
}

/// Finds the next step from where a mesh is to what is wished for. Called whenever one of the arguments has changed, and once
/// in a while.
///
/// Clocks: certificates of a root that end before `now` are no longer waited for, so `now` is what a slow clock of a proxy
/// might show, some minutes before the caller's own.
#[must_use]
pub fn decide(
    stage: &Stage,
    wish: &Wish,
    fleet: &Fleet,
    patience: Option<Patience>,
    now: SystemTime,
) -> Decision {
    if stage.revision != wish.revision() || stage.is_paused != wish.is_paused() {
        return Decision::Go(begun(stage, wish, now));
    }
    // One that an older version wrote says of no root which trust domain it is for.
    if let Some(next) = stage.completed(|root| wish.domain(root)) {
        return Decision::Go(next);
    }
    if wish.is_paused() {
        return Decision::Paused;
    }
    Look { stage, wish, fleet, patience, now, lasted: now.duration_since(stage.since).unwrap_or_default() }
        .decide()
}

/// The same stage for another wish, or after a pause: whoever is waited for is waited for from now on.
fn begun(stage: &Stage, wish: &Wish, now: SystemTime) -> Stage {
    let next = Stage { is_paused: wish.is_paused(), ..stage.next(now) };
    match stage.revision == wish.revision() {
        true => next,
        false => Stage { revision: wish.revision(), previous: None, given_up: None, ..next },
    }
}

struct Look<'a> {
    stage: &'a Stage,
    wish: &'a Wish,
    fleet: &'a Fleet,
    patience: Option<Patience>,
    now: SystemTime,
    lasted: Duration,
}

impl Look<'_> {
    fn decide(&self) -> Decision {
        let Self { stage, wish, .. } = self;
        let target = self.target();
        let wanted: Vec<_> = wish.trusted().chain([target]).collect();
        if let Some(root) = stage.leaving.iter().find(|root| wanted.contains(root)) {
            // It is to stay: to demand one name more is safe at any time.
            let mut next = stage.next(self.now);
            next.leaving.remove(root);
            return Decision::Go(next);
        }
        if let Some(root) = wanted.into_iter().find(|root| !stage.trusted.contains(*root)) {
            if stage.trusted.len() >= MAX_TRUSTED_ROOTS {
                let holdups = vec![Holdup::Full(stage.trusted.len())];
                return Decision::Wait(Waiting {
                    step: Step::Learn(root.clone()),
                    lasted: self.lasted,
                    holdups,
                });
            }
            // To trust one root more is safe at any time.
            return self.take(Step::Learn(root.clone()), self.ignorant(root), |next| {
                next.trusted.insert(root.clone());
                next.domains.extend(wish.domain(root).map(|domain| (root.clone(), domain.clone())));
            });
        }
        if stage.issuing != *target {
            return self.take(Step::Trust(target.clone()), self.unable(target), |next| {
                next.previous = Some(std::mem::replace(&mut next.issuing, target.clone()));
            });
        }
        if stage.serving != *target {
            let step = Step::Believe(target.clone());
            return self.take(step, self.unbelieving(target), |next| next.serving = target.clone());
        }
        let is_surplus =
            |root: &&ObjectName| *root != target && !wish.trusted().any(|wished| wished == *root);
        let surplus = stage.trusted.iter().filter(is_surplus).map(|root| (root, self.presenting(root)));
        // One that is held up does not hold up others.
        let Some((root, holdups)) = surplus.min_by_key(|(_, holdups)| !holdups.is_empty()) else {
            return Decision::Settled;
        };
        self.take(Step::Replace(root.clone()), holdups, |next| {
            if stage.takes_names_along(root) {
                next.leaving.insert(root.clone());
                return;
            }
            next.leaving.remove(root);
            next.trusted.remove(root);
            next.domains.remove(root);
            next.previous.take_if(|previous| previous == root);
        })
    }

    /// The root that is to sign: what is wished for, but for what was given up.
    fn target(&self) -> &ObjectName {
        let target = self.wish.target(&self.stage.issuing);
        match &self.stage.given_up {
            Some(given_up) if given_up.root == *target => &given_up.instead,
            _ => target,
        }
    }

    /// Takes a step when nobody holds it up, or waits.
    fn take(&self, step: Step, mut holdups: Vec<Holdup>, change: impl FnOnce(&mut Stage)) -> Decision {
        let over =
            self.patience.filter(|patience| self.lasted >= patience.bound).map(|patience| patience.then);
        if over == Some(Then::GoOn) {
            holdups.retain(|holdup| !holdup.may_be_skipped());
        }
        if holdups.is_empty() {
            let mut next = self.stage.next(self.now);
            change(&mut next);
            return Decision::Go(next);
        }
        if over == Some(Then::GoBack)
            && let Some(back) = self.back(&step)
        {
            return Decision::Go(back);
        }
        Decision::Wait(Waiting { step, lasted: self.lasted, holdups })
    }

    /// The stage that leads back to the root that signed when this wish came, if it can sign. Whether everybody trusts it
    /// is seen to like any other step.
    fn back(&self, step: &Step) -> Option<Stage> {
        let Self { stage, wish, .. } = self;
        let instead = match step {
            Step::Learn(_) => return None,
            Step::Trust(_) => &stage.issuing,
            Step::Believe(_) | Step::Replace(_) => stage.previous.as_ref()?,
        };
        let root = wish.target(&stage.issuing);
        let is_new = stage.given_up.is_none() && instead != root && stage.trusted.contains(instead);
        let can_sign = self.unable(instead).iter().all(Holdup::may_be_skipped);
        (is_new && can_sign).then(|| Stage {
            given_up: Some(GivenUp { root: root.clone(), instead: instead.clone() }),
            ..stage.next(self.now)
        })
    }

    /// Who could not tell others to trust a root.
    fn ignorant(&self, root: &ObjectName) -> Vec<Holdup> {
        self.replicas(|report| (!report.knows.contains(root)).then_some(Trouble::Unknown))
    }

    /// Who is not ready for certificates of a root.
    fn unable(&self, root: &ObjectName) -> Vec<Holdup> {
        let mut holdups = self.replicas(|report| match report.signs.get(root) {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(Trouble::Issuer(why.clone())),
            None => Some(Trouble::Issuer("it was not tried yet".to_owned())),
        });
        self.proxies(&mut holdups, |holding| (!holding.trusts.contains(root)).then_some(Missing::Trust));
        holdups
    }

    /// Who would not believe a server by its certificate of a root.
    fn unbelieving(&self, root: &ObjectName) -> Vec<Holdup> {
        let mut holdups = self.replicas(|_| None);
        self.proxies(&mut holdups, |holding| (!holding.believes.contains(root)).then_some(Missing::Belief));
        holdups
    }

    /// Who may present a certificate of a root.
    fn presenting(&self, root: &ObjectName) -> Vec<Holdup> {
        let mut holdups = self.replicas(|report| report.keeps.contains(root).then_some(Trouble::Keeps));
        self.proxies(&mut holdups, |holding| match &holding.presents {
            None => Some(Missing::Renewal(None)),
            Some(presents) => {
                let end = presents.get(root).filter(|end| **end > self.now)?;
                Some(Missing::Renewal(end.duration_since(self.now).ok()))
            }
        });
        holdups
    }

    /// The replicas that are not at this stage, or have trouble.
    fn replicas(&self, trouble: impl Fn(&Report) -> Option<Trouble>) -> Vec<Holdup> {
        let look = |(replica, report): (&super::Replica, &Option<Report>)| {
            let replica = replica.clone();
            let Some(report) = report else { return Some(Holdup::Silent(replica)) };
            if report.stage != self.stage.number {
                return Some(Holdup::Behind(replica, report.stage));
            }
            trouble(report).map(|trouble| match trouble {
                Trouble::Unknown => Holdup::Unknown(replica),
                Trouble::Issuer(why) => Holdup::Issuer(replica, why),
                Trouble::Keeps => Holdup::Keeps(replica),
            })
        };
        self.fleet.replicas.iter().filter_map(look).collect()
    }

    /// Adds the proxies in which something is missing, by what one replica or another one says of them.
    fn proxies(&self, holdups: &mut Vec<Holdup>, missing: impl Fn(&Holding) -> Option<Missing>) {
        let holdings: BTreeMap<&ProxyUuid, Vec<&Holding>> = self.fleet.holdings();
        for (proxy, heard) in holdings {
            let missing = match heard.as_slice() {
                [] => Some(Missing::Connection),
                heard => heard.iter().find_map(|holding| missing(holding)),
            };
            holdups.extend(missing.map(|missing| Holdup::Proxy(proxy.clone(), missing)));
        }
    }
}

/// What is wrong with a replica.
enum Trouble {
    Unknown,
    Issuer(String),
    Keeps,
}
