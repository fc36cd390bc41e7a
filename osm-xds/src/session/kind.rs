//! The state of one kind of resource in a session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::in_flight::{Has, Nonce, Record};
use super::order::Bound;
use super::status::Nack;
use super::subscription::Interest;
use crate::resource::{Resource, ResourceKind, ResourceName, Version};
use crate::view::View;

/// A name under which the proxy is to be told something.
#[derive(Debug)]
pub(super) struct Pending {
    /// What the proxy has, or will have when it has read what is on its way.
    pub(super) has: Has,
    /// An earlier target that was held: it may be sent where the newest can't
    /// be yet, so that steady change does not starve a proxy.
    pub(super) pinned: Option<Arc<Resource>>,
    /// Whether the proxy waits for an answer, even if it has it.
    pub(super) forced: bool,
    /// Whether `has` is in doubt: the proxy may have applied parts of what it refused.
    pub(super) doubtful: bool,
    /// Whether it may share no response: one of several that were refused together.
    pub(super) alone: bool,
}

impl Pending {
    pub(super) fn new(has: Has) -> Self {
        Self { has, pinned: None, forced: false, doubtful: false, alone: false }
    }

    pub(super) fn forced(has: Has) -> Self {
        Self { forced: true, ..Self::new(has) }
    }

    /// Something that was refused together with others: it is said again in any
    /// case, since the proxy may or may not have it, and by itself.
    pub(super) fn again(has: Has) -> Self {
        Self { doubtful: true, alone: true, ..Self::new(has) }
    }

    /// Whether there is nothing to say: the proxy has the target, or neither is there.
    pub(super) fn is_moot(&self, target: Option<Version>) -> bool {
        let same = target.map_or(self.has.nothing(), |_| self.has.version() == target);
        same && !self.must_be_said()
    }

    /// Whether to say it even if the proxy seems to have it.
    pub(super) fn must_be_said(&self) -> bool {
        self.forced || self.doubtful
    }
}

/// A resource that the proxy refused, and that is not sent again.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) resource: Arc<Resource>,
    /// What the proxy still has.
    pub(super) last_good: Has,
    /// Whether that is in doubt.
    pub(super) doubtful: bool,
    pub(super) nack: Arc<Nack>,
}

/// How what the proxy has of one kind differs from the view. A name that is in
/// none of the maps, and not behind the sweep, is as the view says.
#[derive(Debug)]
pub(super) struct KindState {
    pub(super) kind: ResourceKind,
    pub(super) interest: Interest,
    /// What the proxy said at the start of the stream that it has; until there is a view.
    pub(super) initial: BTreeMap<ResourceName, Option<Version>>,
    /// The version of its state that the proxy said at the start of the stream
    /// that it has (state of the world); until there is a view.
    pub(super) reported: Option<Box<str>>,
    /// Set while the proxy has a state from before this stream of which only is
    /// known that it is not that of the view. The first whole response replaces
    /// it, and must lack nothing: what is not in it is taken from the proxy.
    pub(super) earlier: Option<Bound>,
    /// Names to tell as soon as they are asked for, even if the proxy has them.
    pub(super) owed: BTreeSet<ResourceName>,
    /// While a wildcard is told for the first time: the name up to which it has
    /// been (`None`: from the start).
    pub(super) sweep: Option<Option<ResourceName>>,
    /// What may be sendable.
    pub(super) ready: BTreeMap<ResourceName, Pending>,
    /// Listeners among those that go (`false`) or change, which is said before any new one
    /// is told: Envoy refuses one that comes to an address before another one has left it.
    pub(super) leaving: BTreeSet<(bool, ResourceName)>,
    /// What waits for something else to happen first.
    pub(super) held: BTreeMap<ResourceName, Pending>,
    pub(super) refused: BTreeMap<ResourceName, Refused>,
    /// Names of which the proxy may have something that is not known: what became of a response was not told, or
    /// is told of one that came when it had let go of the name. Each until something that was said after this
    /// response is accepted. Secrets only: of these it is asked what a proxy may have.
    pub(super) uncertain: BTreeMap<ResourceName, Nonce>,
    /// The newest response of which something under a name is in doubt that the proxy has let go of. It may have asked for
    /// that anew before it read the response, in a request that is on its way. Secrets only.
    pub(super) let_go: Option<Nonce>,
    /// Oldest first.
    pub(super) in_flight: VecDeque<Record>,
    /// Whether a response is due even if it is empty.
    pub(super) owes_answer: bool,
    /// The last nonce of this kind.
    pub(super) last_nonce: Option<Nonce>,
    /// A hash over names and versions of what the proxy has: the version of its
    /// state, whatever the order in which it came to be.
    pub(super) digest: u64,
    /// How many resources the proxy has.
    pub(super) delivered: usize,
}

impl KindState {
    pub(super) fn new(kind: ResourceKind) -> Self {
        Self {
            kind,
            interest: Interest::default(),
            initial: BTreeMap::new(),
            reported: None,
            earlier: None,
            owed: BTreeSet::new(),
            sweep: None,
            ready: BTreeMap::new(),
            leaving: BTreeSet::new(),
            held: BTreeMap::new(),
            refused: BTreeMap::new(),
            uncertain: BTreeMap::new(),
            let_go: None,
            in_flight: VecDeque::new(),
            owes_answer: false,
            last_nonce: None,
            digest: 0,
            delivered: 0,
        }
    }

    /// What a view has under a name.
    pub(super) fn target<'a>(&self, name: &ResourceName, base: &'a View) -> Option<&'a Arc<Resource>> {
        base.find(self.kind, name.as_str())
    }

    pub(super) fn pending(&self, name: &ResourceName) -> Option<&Pending> {
        self.ready.get(name).or_else(|| self.held.get(name))
    }

    /// Whether the proxy has, and has acknowledged, just what the view says, of
    /// what it asked for.
    pub(super) fn is_as_viewed(&self) -> bool {
        let nothing_differs = self.ready.is_empty() && self.held.is_empty() && self.refused.is_empty();
        nothing_differs && self.sweep.is_none() && self.in_flight.is_empty()
    }

    /// Makes names pending that the proxy waits for, in order of their names,
    /// whatever was known of them.
    pub(super) fn force(&mut self, names: Vec<(ResourceName, Has)>) {
        names.iter().for_each(|(name, has)| self.doubt_asked(name, has));
        if !(self.held.is_empty() && self.refused.is_empty() && self.owed.is_empty()) {
            for (name, _) in &names {
                self.held.remove(name);
                self.refused.remove(name);
                self.owed.remove(name);
            }
        }
        let forced = names.into_iter().map(|(name, has)| (name, Pending::forced(has)));
        if self.ready.is_empty() {
            self.ready = forced.collect();
        } else {
            self.ready.extend(forced);
        }
    }

    /// Makes a name pending of which the view has another target than before, or none.
    pub(super) fn make_ready(&mut self, name: ResourceName, pending: Pending, stays: bool) {
        if self.kind == ResourceKind::Listener && !pending.has.nothing() {
            self.leaving.remove(&(!stays, name.clone()));
            self.leaving.insert((stays, name.clone()));
        }
        self.ready.insert(name, pending);
    }

    /// Takes a name out of what is pending.
    pub(super) fn take_pending(&mut self, name: &ResourceName) -> Option<Pending> {
        self.ready.remove(name).or_else(|| self.held.remove(name))
    }

    /// Whether the first telling has not come to this name yet.
    pub(super) fn is_unswept(&self, name: &ResourceName) -> bool {
        self.sweep.as_ref().is_some_and(|after| after.as_ref().is_none_or(|after| name > after))
    }

    /// What the proxy has under a name, when it has read what is on its way.
    pub(super) fn has(&self, name: &ResourceName, base: Option<&View>) -> Has {
        if !self.interest.covers(name) {
            return Has::Nothing;
        }
        if let Some(pending) = self.pending(name) {
            return pending.has.clone();
        }
        if let Some(refused) = self.refused.get(name) {
            return refused.last_good.clone();
        }
        if self.is_unswept(name) {
            return Has::Nothing;
        }
        Has::of(base.and_then(|base| self.target(name, base)))
    }

    /// Moves what is held back to be looked at again.
    pub(super) fn release_held(&mut self) {
        if self.ready.is_empty() {
            std::mem::swap(&mut self.ready, &mut self.held);
        } else {
            self.ready.append(&mut self.held);
        }
    }

    /// Counts that the proxy has `now` instead of `had`.
    pub(super) fn account(&mut self, name: &ResourceName, had: &Has, now: &Has) {
        self.digest ^= state_hash(name, had) ^ state_hash(name, now);
        self.delivered += usize::from(!now.nothing());
        self.delivered = self.delivered.saturating_sub(usize::from(!had.nothing()));
    }

    /// Forgets a name that is no longer asked for.
    pub(super) fn forget(&mut self, name: &ResourceName, had: &Has) {
        self.account(name, had, &Has::Nothing);
        self.initial.remove(name);
        self.ready.remove(name);
        self.held.remove(name);
        self.refused.remove(name);
        self.let_go = self.let_go.max(self.uncertain.remove(name));
    }

    /// Whether nothing is left to say or to wait for, if it is so of all kinds.
    /// What is held then waits for something that was refused, or is a secret
    /// that is never taken from a proxy: nothing can be done about that. But what
    /// waits for a secret that is being made is still to come.
    pub(super) fn is_quiet(&self, base: &View) -> bool {
        let idle = self.sweep.is_none() && !self.owes_answer && self.in_flight.is_empty();
        idle && self.ready.is_empty() && !self.held.keys().any(|name| self.waits_for_secret(name, base))
    }

    fn waits_for_secret(&self, name: &ResourceName, base: &View) -> bool {
        let target = self.target(name, base);
        let mut secrets = target.iter().flat_map(|target| &target.needs[..]);
        secrets.any(|need| need.kind == ResourceKind::Secret && base.get(need).is_none())
    }

    /// Notes a response.
    pub(super) fn sent(&mut self, record: Record) {
        for item in record.items() {
            self.account(item.name(), &item.had, &item.now());
        }
        self.last_nonce = Some(record.nonce);
        self.in_flight.push_back(record);
    }
}

/// The share of one resource in the digest of a proxy's state. The same in every
/// process.
fn state_hash(name: &ResourceName, has: &Has) -> u64 {
    has.version().map_or(0, |version| {
        let mut seed = FxHasher::default();
        version.hash(&mut seed);
        xxh3_64_with_seed(name.as_str().as_bytes(), seed.finish())
    })
}

/// The text of a digest.
pub(super) fn version_text(digest: u64) -> String {
    format!("{digest:016x}")
}

/// The digest of all that a proxy with this interest would have.
pub(super) fn digest_of(view: &View, kind: ResourceKind, interest: &Interest) -> (u64, usize) {
    let add = |(digest, count): (u64, usize), resource: &Arc<Resource>| {
        let has = Has::Resource(Arc::clone(resource));
        (digest ^ state_hash(&resource.key.name, &has), count + 1)
    };
    if interest.wildcard {
        return view.iter(kind).fold((0, 0), add);
    }
    let named = interest.names.iter().filter_map(|name| view.find(kind, name.as_str()));
    named.fold((0, 0), add)
}
