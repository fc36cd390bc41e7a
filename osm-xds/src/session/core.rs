//! The core of a session, whatever its dialect: subscriptions and views in.

use std::sync::Arc;

use osm_core::identity::ProxyId;

use super::in_flight::Has;
use super::kind::{KindState, Pending, Refused};
use super::order::Bound;
use super::subscription::{NameSet, unshared};
use super::{Dialect, ProtocolError, SessionOptions, SessionStatus};
use crate::resource::{ResourceKey, ResourceKind, ResourceName};
use crate::view::View;

/// One proxy's state on one stream.
#[derive(Debug)]
pub(super) struct Core {
    dialect: Dialect,
    options: Arc<SessionOptions>,
    node: Arc<str>,
    node_seen: bool,
    /// The newest view. What the proxy has is this, but for what the kinds say.
    base: Option<Arc<View>>,
    kinds: [KindState; 5],
    /// Set while a proxy that connects anew has not said yet what it has of the
    /// kinds that use clusters.
    pub(super) resumed: Option<Bound>,
    /// Whether something that was pending turned out to be nothing, since what
    /// is held was last looked at.
    pub(super) dropped: bool,
    last_nonce: u64,
    synced_version: Option<u64>,
    gate_timeouts: u64,
    work: u64,
}

impl Core {
    pub(super) fn new(dialect: Dialect, proxy: &ProxyId, options: Arc<SessionOptions>) -> Self {
        Self {
            dialect,
            options,
            node: proxy.uuid.as_str().into(),
            node_seen: false,
            base: None,
            kinds: ResourceKind::ALL.map(KindState::new),
            resumed: None,
            dropped: false,
            last_nonce: 0,
            synced_version: None,
            gate_timeouts: 0,
            work: 0,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn options(&self) -> &SessionOptions {
        &self.options
    }

    pub(super) fn base(&self) -> Option<&Arc<View>> {
        self.base.as_ref()
    }

    pub(super) fn kind(&self, kind: ResourceKind) -> &KindState {
        &self.kinds[kind as usize]
    }

    pub(super) fn kind_mut(&mut self, kind: ResourceKind) -> &mut KindState {
        &mut self.kinds[kind as usize]
    }

    pub(super) fn next_nonce(&mut self) -> u64 {
        self.last_nonce += 1;
        self.last_nonce
    }

    pub(super) fn view_version(&self) -> Option<u64> {
        self.base.as_ref().map(|view| view.version())
    }

    pub(super) fn synced_version(&self) -> Option<u64> {
        self.synced_version
    }

    pub(super) fn gate_timeouts(&self) -> u64 {
        self.gate_timeouts
    }

    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// Notes that so many names were looked at.
    pub(super) fn worked(&mut self, names: usize) {
        self.work += names as u64;
    }

    pub(super) fn status(&self) -> SessionStatus {
        SessionStatus::of(self)
    }

    /// Binds the stream to its node: the first request names it, and no later
    /// one may name another.
    pub(super) fn check_node(&mut self, claimed: Option<&str>) -> Result<(), ProtocolError> {
        match claimed {
            None | Some("") if self.node_seen => Ok(()),
            None | Some("") => Err(ProtocolError::MissingNode),
            Some(claimed) if claimed == &*self.node => {
                self.node_seen = true;
                Ok(())
            }
            Some(claimed) => Err(ProtocolError::WrongNode {
                claimed: claimed.chars().take(128).collect(),
                proved: self.node.to_string(),
            }),
        }
    }

    /// Checks names that are asked for before any of them has an effect.
    pub(super) fn check_names<'a>(
        &self,
        kind: ResourceKind,
        names: impl IntoIterator<Item = &'a String>,
        total: usize,
    ) -> Result<(), ProtocolError> {
        self.check_lengths(kind, names)?;
        let limit = self.options.max_names;
        if total > limit {
            return Err(ProtocolError::TooManyNames { kind, names: total, limit });
        }
        Ok(())
    }

    /// Checks what an incremental proxy says that it has before any of it has an effect.
    pub(super) fn check_known<'a>(
        &self,
        kind: ResourceKind,
        names: impl ExactSizeIterator<Item = &'a String>,
    ) -> Result<(), ProtocolError> {
        let (known, limit) = (names.len(), self.options.max_known);
        if known > limit {
            return Err(ProtocolError::TooManyKnown { kind, known, limit });
        }
        self.check_lengths(kind, names)
    }

    fn check_lengths<'a>(
        &self,
        kind: ResourceKind,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), ProtocolError> {
        let limit = self.options.max_name_length;
        match names.into_iter().find(|name| name.is_empty() || name.len() > limit) {
            Some(name) => Err(ProtocolError::InvalidName { kind, length: name.len(), limit }),
            None => Ok(()),
        }
    }

    /// The name, shared with its resource where there is one.
    pub(super) fn shared_name(&self, kind: ResourceKind, name: &str) -> ResourceName {
        let resource = self.base.as_ref().and_then(|base| base.find(kind, name));
        resource.map_or_else(|| unshared(name), |resource| resource.key.name.clone())
    }

    /// Adds names, each of which is owed an answer, except those that the proxy
    /// said at the start of the stream that it has.
    pub(super) fn subscribe(&mut self, kind: ResourceKind, names: &[String]) {
        if names.is_empty() {
            return;
        }
        self.worked(names.len());
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let base = self.base.clone();
        let mut view = base.as_deref().map(|base| base.in_order(kind));
        let mut shared = |name| match view.as_mut().and_then(|view| view.find(name)) {
            Some(resource) => resource.key.name.clone(),
            None => unshared(name),
        };
        let names: Vec<_> = names.into_iter().map(&mut shared).collect();
        let state = self.kind_mut(kind);
        let unknown = names.iter().filter(|name| !state.initial.contains_key(*name));
        let asked = unknown.map(|name| (name.clone(), state.has(name, base.as_deref()))).collect();
        state.force(asked);
        state.interest.names.insert_all(names);
    }

    /// Takes names out; what the proxy had of them it has no longer.
    pub(super) fn unsubscribe(&mut self, kind: ResourceKind, names: &[String]) {
        let names: NameSet = names.iter().map(|name| unshared(name)).collect();
        self.worked(names.len());
        let base = self.base.clone();
        let state = self.kind_mut(kind);
        for name in names.iter() {
            let has = state.has(name, base.as_deref());
            if state.interest.wildcard {
                // It may have dropped what the wildcard still covers: say it again.
                if state.interest.names.contains(name.as_str()) && !state.is_unswept(name) {
                    state.ready.insert(name.clone(), Pending::forced(has));
                }
            } else {
                state.forget(name, &has);
            }
        }
        state.interest.names.remove_all(&names);
    }

    /// Starts a wildcard subscription: everything is to be told.
    pub(super) fn subscribe_all(&mut self, kind: ResourceKind) {
        let base = self.base.clone();
        let state = self.kind_mut(kind);
        if state.interest.wildcard {
            return;
        }
        let names: Vec<_> = state.interest.names.iter().cloned().collect();
        let has: Vec<_> = names.iter().map(|name| state.has(name, base.as_deref())).collect();
        state.interest.wildcard = true;
        state.owes_answer = true;
        if state.initial.is_empty() {
            state.sweep = Some(None);
        }
        // What was asked for by name is not part of the sweep.
        for (name, has) in names.into_iter().zip(has) {
            if state.pending(&name).is_none() && !state.refused.contains_key(&name) {
                state.ready.insert(name, Pending::new(has));
            }
        }
    }

    /// Ends a wildcard subscription; the explicit names stay.
    pub(super) fn unsubscribe_all(&mut self, kind: ResourceKind) {
        let Some(base) = self.base.clone() else {
            let KindState { interest, sweep, ready, .. } = self.kind_mut(kind);
            interest.wildcard = false;
            *sweep = None;
            // What went in the same request was to be said again under the wildcard.
            ready.retain(|name, _| interest.names.contains(name.as_str()));
            return;
        };
        let state = self.kind_mut(kind);
        if !state.interest.wildcard {
            return;
        }
        let mut names: Vec<_> = base.iter(kind).map(|resource| resource.key.name.clone()).collect();
        names.extend(state.ready.keys().chain(state.held.keys()).chain(state.refused.keys()).cloned());
        names.retain(|name| !state.interest.names.contains(name.as_str()));
        names.sort_unstable();
        names.dedup();
        for name in &names {
            let has = state.has(name, Some(&base));
            state.forget(name, &has);
        }
        let unswept: Vec<_> =
            state.interest.names.iter().filter(|name| state.is_unswept(name)).cloned().collect();
        state.sweep = None;
        state.interest.wildcard = false;
        for name in unswept {
            state.ready.entry(name).or_insert_with(|| Pending::new(Has::Nothing));
        }
        self.worked(names.len());
    }

    /// Delivers this view from now on. Costs what changed.
    pub(super) fn on_view(&mut self, view: Arc<View>) {
        let Some(old) = self.base.replace(Arc::clone(&view)) else {
            for kind in ResourceKind::ALL {
                self.settle_initial(kind);
                self.settle_version(kind);
            }
            self.note_sync();
            return;
        };
        let changed = view.changed_since(&old);
        self.worked(changed.len());
        let mut may_release = false;
        for key in changed {
            may_release |= key.kind != ResourceKind::Endpoints;
            self.dropped |= self.kind_mut(key.kind).target_changed(&key, &old, &view);
        }
        if may_release {
            self.release_held(false);
        }
        self.note_sync();
    }

    pub(super) fn count_gate_timeout(&mut self, timed_out: bool) {
        self.gate_timeouts += u64::from(timed_out);
    }

    /// Looks at everything again that is held back.
    pub(super) fn release_held(&mut self, timed_out: bool) {
        let held = self.kinds.iter().map(|state| state.held.len()).sum::<usize>();
        self.count_gate_timeout(timed_out && held > 0);
        self.kinds.iter_mut().for_each(KindState::release_held);
    }

    /// Whether anything waits for something else to happen first.
    pub(super) fn holds_anything(&self) -> bool {
        self.kinds.iter().any(|state| !state.held.is_empty())
    }

    /// Whether the proxy has asked for everything that the view has for it but secrets. Which routes it has from before this
    /// stream is not known until it asks for them, which it does when it has listeners.
    pub(super) fn has_asked(&self) -> bool {
        let is_without_routes = |base: &Arc<View>| base.iter(ResourceKind::Route).next().is_none();
        let has_asked = |kind| self.kind(kind).interest.seen;
        let of_routes = has_asked(ResourceKind::Route) || self.base().is_some_and(is_without_routes);
        of_routes && has_asked(ResourceKind::Cluster)
    }

    /// Notes if nothing is left to send or to wait for.
    pub(super) fn note_sync(&mut self) {
        let Some(base) = &self.base else { return };
        let begun = self.kind(ResourceKind::Listener).interest.seen;
        let resuming = self.users_are_unknown() && self.holds_anything();
        if begun && !resuming && self.kinds.iter().all(|state| state.is_quiet(base)) {
            self.synced_version = Some(base.version());
        }
    }
}

impl KindState {
    /// Notes that something else is to be under a key than before. Says whether
    /// what was pending turned out to be nothing: a stream that is never read
    /// keeps no more than what it has still to say.
    fn target_changed(&mut self, key: &ResourceKey, old: &View, new: &View) -> bool {
        let name = &key.name;
        if !self.interest.covers(name) {
            return false;
        }
        let target = new.get(key).map(|resource| resource.version);
        let stays = target.is_some();
        if let Some(pending) = self.held.remove(name).or_else(|| self.ready.remove(name)) {
            self.make_ready(name.clone(), pending, stays);
        } else if let Some(refused) = self.refused.remove(name) {
            if target == Some(refused.resource.version) {
                self.refused.insert(name.clone(), refused);
            } else {
                let Refused { last_good, doubtful, .. } = refused;
                // It may have applied parts of it: then even what it had is told again.
                let doubtful = doubtful || self.kind == ResourceKind::Secret;
                self.make_ready(name.clone(), Pending { doubtful, ..Pending::new(last_good) }, stays);
            }
        } else if !self.is_unswept(name) {
            self.make_ready(name.clone(), Pending::new(Has::of(old.get(key))), stays);
        }
        let is_moot = self.ready.get(name).is_some_and(|pending| pending.is_moot(target));
        is_moot && self.ready.remove(name).is_some()
    }
}
