//! Make before break: what must have happened before something may be sent.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;

use super::core::Core;
use super::in_flight::{Has, Record, Said};
use super::kind::KindState;
use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use crate::view::View;

/// The kinds whose resources may use a cluster.
const USERS: [ResourceKind; 2] = [ResourceKind::Listener, ResourceKind::Route];

/// A bound on waiting that begins to run when it is first looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Bound {
    /// It does not run yet.
    #[default]
    Idle,
    /// It runs until then.
    Until(Instant),
    /// It has passed, and nobody needs to be woken for it again.
    Passed,
}

impl Bound {
    /// Whether it has passed.
    fn passed(&mut self, now: Instant, timeout: Duration) -> bool {
        if matches!(self, Self::Idle) {
            // An end that no clock can show is never reached.
            *self = now.checked_add(timeout).map_or(Self::Idle, Self::Until);
        }
        self.note(now);
        matches!(self, Self::Passed)
    }

    /// Notes if it has passed; does not begin it.
    fn note(&mut self, now: Instant) {
        if matches!(self, Self::Until(until) if *until <= now) {
            *self = Self::Passed;
        }
    }

    /// When it passes, if it runs.
    fn until(self) -> Option<Instant> {
        match self {
            Self::Until(until) => Some(until),
            Self::Idle | Self::Passed => None,
        }
    }
}

/// Where a cluster stands, for one who needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    /// The proxy has accepted some version of it (or never asks for clusters).
    Usable,
    /// It is to come, or on its way.
    Coming,
    /// It exists neither in the view nor at the proxy.
    Absent,
}

/// The clusters that the proxy may still be using.
#[derive(Debug)]
pub(super) enum InUse {
    /// These.
    These(FxHashSet<ResourceName>),
    /// Possibly any: what a listener or route was before this stream is not known.
    Any,
}

impl InUse {
    pub(super) fn contains(&self, name: &ResourceName) -> bool {
        match self {
            Self::These(names) => names.contains(name),
            Self::Any => true,
        }
    }

    fn add(&mut self, needs: Option<&[ResourceKey]>) {
        match (&mut *self, needs) {
            (Self::These(names), Some(needs)) => {
                let clusters = needs.iter().filter(|need| need.kind == ResourceKind::Cluster);
                names.extend(clusters.map(|need| need.name.clone()));
            }
            (Self::These(_), None) => *self = Self::Any,
            (Self::Any, _) => {}
        }
    }
}

impl Core {
    /// Whether the proxy can use this resource now.
    pub(super) fn may_use(&self, base: &View, resource: &Resource) -> bool {
        resource.needs.iter().all(|need| match need.kind {
            ResourceKind::Secret => base.get(need).is_some(),
            // None is coming, most of the time: then this one need not be looked up.
            ResourceKind::Cluster => {
                self.kind(ResourceKind::Cluster).is_as_viewed() || self.cluster(base, need) != Cluster::Coming
            }
            _ => true,
        })
    }

    /// Whether an earlier target can still be sent some time: all it needs is
    /// there or will be.
    pub(super) fn is_viable(&self, base: &View, resource: &Resource) -> bool {
        resource.needs.iter().all(|need| match need.kind {
            ResourceKind::Secret => base.get(need).is_some(),
            ResourceKind::Cluster => self.cluster(base, need) != Cluster::Absent,
            _ => true,
        })
    }

    /// Whether a cluster that this resource needs was refused.
    fn waits_in_vain(&self, resource: &Resource) -> bool {
        let clusters = self.kind(ResourceKind::Cluster);
        let mut needs = resource.needs.iter().filter(|need| need.kind == ResourceKind::Cluster);
        needs.any(|need| clusters.refused.contains_key(&need.name))
    }

    fn cluster(&self, base: &View, key: &ResourceKey) -> Cluster {
        let state = self.kind(ResourceKind::Cluster);
        if !state.interest.covers(&key.name) {
            return Cluster::Usable;
        }
        if state.has(&key.name, Some(base)).nothing() {
            return if base.get(key).is_some() { Cluster::Coming } else { Cluster::Absent };
        }
        if is_unacknowledged(state, &key.name) { Cluster::Coming } else { Cluster::Usable }
    }

    /// The clusters that must not be removed yet: those that a listener or route
    /// uses which is to change, whose change is not acknowledged, or whose last
    /// good version is in force because the newest was refused.
    pub(super) fn clusters_in_use(&self) -> InUse {
        let mut in_use = InUse::These(HashSet::default());
        for state in USERS.map(|kind| self.kind(kind)) {
            for pending in state.ready.values().chain(state.held.values()) {
                in_use.add(pending.has.needs());
                in_use.add(pending.pinned.as_ref().map_or(Some(&[]), |pinned| Some(&pinned.needs)));
            }
            for refused in state.refused.values() {
                in_use.add(refused.last_good.needs());
            }
            for item in state.in_flight.iter().filter(|record| !record.expired).flat_map(Record::items) {
                // It may have another one than it is taken to have.
                in_use.add(item.had.needs().filter(|_| !item.doubtful));
            }
        }
        in_use
    }

    /// Whether it is still open what the proxy has of the kinds that use
    /// clusters: one that connects anew asks for one kind after the other.
    pub(super) fn users_are_unknown(&self) -> bool {
        self.resumed.is_some() && !USERS.iter().all(|kind| self.kind(*kind).interest.seen)
    }

    /// Whether nothing of this kind is left to send or to wait for, so that what
    /// its resources used, and use no longer, can go.
    pub(super) fn is_settled(&self, kind: ResourceKind) -> bool {
        let state = self.kind(kind);
        let idle = state.ready.is_empty() && state.held.is_empty() && state.sweep.is_none();
        // What stays in place of something refused uses what it used.
        let stays = state.refused.values().any(|refused| !refused.last_good.nothing());
        let waits = state.in_flight.iter().any(|record| !record.expired);
        idle && !stays && !waits && !self.users_are_unknown()
    }

    /// Whether a whole response of this kind may replace what the proxy has from
    /// before this stream: it lacks nothing that is only held back, or that was
    /// waited for long enough.
    pub(super) fn may_replace(&mut self, kind: ResourceKind, base: &View, now: Instant) -> bool {
        let Some(mut bound) = self.kind(kind).earlier else { return true };
        let interest = &self.kind(kind).interest;
        let asked_for = base.iter(kind).filter(|resource| interest.covers(&resource.key.name));
        let mut examined = 0;
        let complete = asked_for
            .inspect(|_| examined += 1)
            .all(|resource| self.waits_in_vain(resource) || self.may_use(base, resource));
        self.worked(examined);
        let passed = bound.passed(now, self.options().acknowledgement_timeout);
        self.kind_mut(kind).earlier = Some(bound);
        self.count_gate_timeout(passed && !complete);
        complete || passed
    }

    /// Gives up waiting for responses that were sent too long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        let bound = self.options().acknowledgement_timeout;
        let mut expired = false;
        for kind in ResourceKind::ALL {
            let state = self.kind_mut(kind);
            // Whoever waits for it may have gone; a deadline that has passed must not
            // stay one, or the stream would look again and again.
            state.earlier.iter_mut().for_each(|bound| bound.note(now));
            for record in &mut state.in_flight {
                let due = record.sent_at.checked_add(bound).is_some_and(|due| due <= now);
                expired |= due && !record.expired;
                record.expired |= due;
            }
        }
        if expired {
            self.release_held(true);
        }
        if let Some(mut resumed) = self.resumed {
            let over = resumed.passed(now, bound) || !self.users_are_unknown();
            self.resumed = (!over).then_some(resumed);
            if over {
                self.release_held(false);
            }
        }
    }

    /// When something that waits may go on although nothing has come in.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let earlier = ResourceKind::ALL.into_iter().filter_map(|kind| self.kind(kind).earlier?.until());
        let resumed = self.resumed.and_then(Bound::until);
        earlier.chain(resumed).chain(self.next_expired_answer()).min()
    }

    fn next_expired_answer(&self) -> Option<Instant> {
        let waiting = ResourceKind::ALL.into_iter().any(|kind| {
            let state = self.kind(kind);
            !state.held.is_empty() || state.in_flight.len() >= self.options().max_outstanding
        });
        let states = ResourceKind::ALL.into_iter().map(|kind| self.kind(kind));
        let oldest = states.filter_map(|state| state.in_flight.iter().find(|record| !record.expired));
        let bound = self.options().acknowledgement_timeout;
        oldest.filter_map(|record| record.sent_at.checked_add(bound)).min().filter(|_| waiting)
    }
}

/// Whether a cluster is new to the proxy and on its way.
fn is_unacknowledged(state: &KindState, name: &ResourceName) -> bool {
    state.in_flight.iter().filter(|record| !record.expired).any(|record| {
        record
            .item(name)
            .is_some_and(|item| matches!(item.said, Said::Resource(_)) && matches!(item.had, Has::Nothing))
    })
}
