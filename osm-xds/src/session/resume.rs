//! The core of a session: what a proxy has from before this stream.
//!
//! An incremental proxy tells the version of each resource that it has, and is
//! sent what differs. One that speaks state of the world tells one version for
//! all clusters and one for all listeners: either it has everything, or it is
//! sent everything.

use std::collections::BTreeMap;

use super::Dialect;
use super::core::Core;
use super::in_flight::Has;
use super::kind::{KindState, Pending, digest_of, version_text};
use super::order::Bound;
use crate::resource::{ResourceKey, ResourceKind, ResourceName, Version};

impl Core {
    /// Takes note of what an incremental proxy has. Called in the first request
    /// of a kind, before its names are added.
    pub(super) fn remember_initial(
        &mut self,
        kind: ResourceKind,
        versions: impl IntoIterator<Item = (String, String)>,
    ) {
        let versions: BTreeMap<_, _> = versions
            .into_iter()
            .map(|(name, version)| (self.shared_name(kind, &name), Version::parse(&version)))
            .collect();
        if !versions.is_empty() {
            self.resumed.get_or_insert_default();
            self.kind_mut(kind).initial = versions;
        }
    }

    /// Takes note of the version that a state-of-the-world proxy reports in the
    /// first request of a kind. Where it asks for names the version does not say what
    /// it has: Envoy keeps it when it lets go of the resources themselves.
    pub(super) fn remember_version(&mut self, kind: ResourceKind, version: &str) {
        // One that accepted something of another kind may have parts of what it refused.
        if version.is_empty() && self.resumed.is_none() {
            return;
        }
        self.resumed.get_or_insert_default();
        if kind.has_wildcard() {
            self.kind_mut(kind).reported = Some(version.into());
        } else if !version.is_empty() {
            self.kind_mut(kind).doubt_all();
        }
    }

    /// Takes note that a state-of-the-world proxy asks for names of a kind for the
    /// first time. Before it was told of any cluster in this stream it can ask for
    /// endpoints only because it has clusters, though it reports no version of them:
    /// the good parts of a response that it refused. So it is with routes and listeners.
    pub(super) fn remember_users(&mut self, kind: ResourceKind) {
        let user = match kind {
            ResourceKind::Endpoints => ResourceKind::Cluster,
            ResourceKind::Route => ResourceKind::Listener,
            ResourceKind::Cluster | ResourceKind::Listener | ResourceKind::Secret => return,
        };
        let state = self.kind(user);
        if state.last_nonce.is_none() && state.delivered > 0 && self.asks_for_others(user) {
            self.unsettle(user);
            return;
        }
        let was_told = state.last_nonce.is_some() || state.delivered > 0;
        let is_noted = state.reported.is_some() || state.earlier.is_some();
        if was_told || is_noted || !state.interest.seen {
            return;
        }
        self.resumed.get_or_insert_default();
        self.kind_mut(user).reported = Some("".into());
        self.settle_version(user);
    }

    /// Compares what an incremental proxy has with the view. Does nothing until
    /// there is a view.
    pub(super) fn settle_initial(&mut self, kind: ResourceKind) {
        let Some(base) = self.base().cloned() else { return };
        let state = self.kind_mut(kind);
        let mut initial = std::mem::take(&mut state.initial);
        if initial.is_empty() {
            state.owed.clear();
            return;
        }
        state.owes_answer = false;
        let names: Vec<_> = if state.interest.wildcard {
            base.iter(kind).map(|resource| resource.key.name.clone()).collect()
        } else {
            state.interest.names.iter().cloned().collect()
        };
        let examined = names.len() + initial.len();
        for name in names {
            let resource = state.target(&name, &base);
            let had = match initial.remove(&name) {
                None if state.pending(&name).is_some() => continue,
                None => Has::Nothing,
                Some(version) => version.map_or(Has::Unknown, Has::Version),
            };
            let forced = state.owed.remove(&name);
            if !forced && resource.is_some_and(|resource| had.version() == Some(resource.version)) {
                state.account(&name, &Has::Nothing, &Has::of(resource));
            } else {
                state.account(&name, &Has::Nothing, &had);
                let stays = resource.is_some();
                state.make_ready(name, Pending { forced, ..Pending::new(had) }, stays);
            }
        }
        if state.interest.wildcard {
            for (name, version) in initial {
                let had = version.map_or(Has::Unknown, Has::Version);
                state.account(&name, &Has::Nothing, &had);
                state.make_ready(name, Pending::new(had), false);
            }
        }
        state.owed.clear();
        self.worked(examined);
    }

    /// Takes a state-of-the-world proxy to have everything, if the version that
    /// it reports is that of everything. Does nothing until there is a view.
    pub(super) fn settle_version(&mut self, kind: ResourceKind) {
        let Some(base) = self.base().cloned() else { return };
        let state = self.kind_mut(kind);
        let Some(reported) = state.reported.take() else { return };
        let (digest, delivered) = digest_of(&base, kind, &state.interest);
        if *reported != version_text(digest) || self.asks_for_others(kind) {
            self.kind_mut(kind).earlier = Some(Bound::default());
            return;
        }
        let state = self.kind_mut(kind);
        state.ready.clear();
        state.held.clear();
        state.sweep = None;
        state.owes_answer = false;
        state.digest = digest;
        state.delivered = delivered;
        self.worked(delivered);
    }

    /// Whether the proxy asks for endpoints of clusters that are not in the view. So it has more than it reports: good
    /// parts of a response that it refused, or did not live to acknowledge.
    fn asks_for_others(&self, kind: ResourceKind) -> bool {
        let Some(base) = self.base().filter(|_| kind == ResourceKind::Cluster) else { return false };
        let is_other = |name: &ResourceName| base.get(&ResourceKey::new(kind, name.clone())).is_none();
        self.kind(ResourceKind::Endpoints).interest.names.iter().any(is_other)
    }

    /// Takes back that the proxy has everything: it is told all of it.
    fn unsettle(&mut self, kind: ResourceKind) {
        let state = self.kind_mut(kind);
        (state.digest, state.delivered) = (0, 0);
        state.sweep = Some(None);
        state.owes_answer = true;
        state.earlier = Some(Bound::default());
    }

    /// Whether a response of this kind has to hold all resources, as in the state
    /// of the world.
    pub(super) fn is_whole(&self, kind: ResourceKind) -> bool {
        self.dialect() == Dialect::Sotw && kind.has_wildcard()
    }
}

impl KindState {
    /// Takes the proxy to have something under each name that is to be told, of which
    /// nothing is known.
    fn doubt_all(&mut self) {
        let unknown = self.ready.iter().filter(|(_, pending)| pending.has.nothing());
        for name in unknown.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.account(&name, &Has::Nothing, &Has::Unknown);
            if let Some(pending) = self.ready.get_mut(&name) {
                pending.has = Has::Unknown;
            }
        }
    }
}
