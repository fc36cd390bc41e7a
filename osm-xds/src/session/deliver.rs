//! The core of a session: responses out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;

use super::batch::{Batch, ROOM};
use super::core::Core;
use super::in_flight::{Has, Item, Nonce, Record, Said};
use super::kind::{Pending, Refused, version_text};
use super::{Dialect, Response};
use crate::encode::encode;
use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use crate::view::View;

/// What is to become of a pending name.
enum Decision {
    /// The proxy gets its target.
    Send(Arc<Resource>),
    /// The proxy gets an earlier target; the newest, or the removal, waits on.
    SendPinned(Arc<Resource>, Option<Arc<Resource>>),
    /// The proxy is told that it is gone.
    Remove,
    /// It waits, remembering this target.
    Hold(Option<Arc<Resource>>),
    /// There is nothing to say.
    Drop,
}

impl Core {
    /// The next response, if there is anything to say. To be called again until
    /// there is not, whenever the transport can take one.
    pub(super) fn next_response(&mut self, now: Instant) -> Option<Response> {
        let base = Arc::clone(self.base()?);
        self.expire(now);
        loop {
            for kind in ResourceKind::ALL {
                if let Some(response) = self.respond(kind, &base, now) {
                    return Some(response);
                }
            }
            // What was waited for may have turned out to be nothing.
            if !std::mem::take(&mut self.dropped) || !self.holds_anything() {
                self.note_sync();
                return None;
            }
            self.release_held(false);
        }
    }

    fn respond(&mut self, kind: ResourceKind, base: &View, now: Instant) -> Option<Response> {
        let (max_outstanding, response_bytes) =
            (self.options().max_outstanding, self.options().response_bytes);
        let whole = self.is_whole(kind);
        let state = self.kind_mut(kind);
        if state.ready.is_empty() && state.sweep.is_none() && !state.owes_answer {
            return None;
        }
        while state.in_flight.len() >= max_outstanding && state.in_flight.front().is_some_and(|r| r.expired) {
            state.give_up_oldest();
        }
        if state.in_flight.len() >= max_outstanding || (whole && !self.may_replace(kind, base, now)) {
            return None;
        }
        let busy = whole && self.kind(kind).in_flight.iter().any(|record| !record.expired);
        let state = self.kind(kind);
        let names = state.ready.len() + if state.sweep.is_some() { ROOM } else { 0 };
        let mut batch = Batch::new(if whole { usize::MAX } else { response_bytes }, busy, names);
        if self.collect_leaving(kind, base, &mut batch) && self.collect_ready(kind, base, &mut batch) {
            self.collect_sweep(kind, base, &mut batch);
        }
        let state = self.kind_mut(kind);
        let settled = state.ready.is_empty() && state.held.is_empty() && state.sweep.is_none();
        if batch.items.is_empty() && !(state.owes_answer && settled) {
            return None;
        }
        Some(self.close(kind, base, batch, now))
    }

    /// Takes what is ready and leaves room for others; returns whether all of it was looked at.
    fn collect_leaving(&mut self, kind: ResourceKind, base: &View, batch: &mut Batch) -> bool {
        let mut examined = 0;
        while let Some((stays, name)) = self.kind_mut(kind).leaving.pop_first() {
            // It may have been told or forgotten since.
            let Some(pending) = self.kind_mut(kind).ready.remove(&name) else { continue };
            examined += 1;
            let target = base.find(kind, name.as_str());
            if let Err(pending) = self.place(kind, base, &name, target, pending, batch) {
                self.kind_mut(kind).ready.insert(name.clone(), pending);
                self.kind_mut(kind).leaving.insert((stays, name));
                break;
            }
        }
        self.worked(examined);
        self.kind(kind).leaving.is_empty()
    }

    /// Takes what is ready; returns whether all of it was looked at.
    fn collect_ready(&mut self, kind: ResourceKind, base: &View, batch: &mut Batch) -> bool {
        let mut unswept = BTreeMap::new();
        let mut targets = base.in_order(kind);
        let mut done = true;
        let mut examined = 0;
        while let Some((name, pending)) = self.kind_mut(kind).ready.pop_first() {
            examined += 1;
            let state = self.kind(kind);
            let target = targets.find(name.as_str());
            if state.is_unswept(&name) && target.is_some() {
                unswept.insert(name, pending);
            } else if let Err(pending) = self.place(kind, base, &name, target, pending, batch) {
                self.kind_mut(kind).ready.insert(name, pending);
                done = false;
                break;
            }
        }
        self.worked(examined);
        let ready = &mut self.kind_mut(kind).ready;
        if ready.is_empty() {
            // A map that was emptied keeps room, one that never held anything has none.
            *ready = unswept;
        } else {
            ready.append(&mut unswept);
        }
        done
    }

    /// Goes on with the first telling of a wildcard.
    fn collect_sweep(&mut self, kind: ResourceKind, base: &View, batch: &mut Batch) {
        let Some(after) = self.kind_mut(kind).sweep.take() else { return };
        let mut last = after.as_ref();
        let mut done = true;
        let mut examined = 0;
        for resource in base.iter_after(kind, after.as_ref()) {
            let name = &resource.key.name;
            examined += 1;
            let state = self.kind_mut(kind);
            if !state.held.contains_key(name) && !state.refused.contains_key(name) {
                let known = state.ready.remove(name);
                let fresh = known.is_none();
                let pending = known.unwrap_or_else(|| Pending::new(Has::Nothing));
                if let Err(pending) = self.place(kind, base, name, Some(resource), pending, batch) {
                    if !fresh {
                        self.kind_mut(kind).ready.insert(name.clone(), pending);
                    }
                    done = false;
                    break;
                }
            }
            last = Some(name);
        }
        self.worked(examined);
        self.kind_mut(kind).sweep = (!done).then(|| last.cloned());
    }

    /// Puts a pending name and what the view has under it where they belong: into
    /// the batch, among the held, or nowhere. Gives it back when the batch is full.
    fn place(
        &mut self,
        kind: ResourceKind,
        base: &View,
        name: &ResourceName,
        target: Option<&Arc<Resource>>,
        mut pending: Pending,
        batch: &mut Batch,
    ) -> Result<(), Pending> {
        match self.decide(kind, base, name, target, &pending, batch) {
            Decision::Send(resource) => {
                if !batch.fits(resource.body.len(), pending.alone) {
                    return Err(pending);
                }
                batch.add(Said::Resource(resource), &pending);
            }
            Decision::SendPinned(resource, target) => {
                if !batch.fits(resource.body.len(), pending.alone) {
                    return Err(pending);
                }
                batch.add(Said::Resource(Arc::clone(&resource)), &pending);
                let rest = Pending { pinned: target, ..Pending::new(Has::Resource(resource)) };
                self.kind_mut(kind).held.insert(name.clone(), rest);
            }
            Decision::Remove if self.dialect() == Dialect::Sotw && !self.is_whole(kind) => {
                // The dialect has no words for it; the proxy stops asking by itself.
                self.dropped = true;
                self.kind_mut(kind).account(name, &pending.has, &Has::Nothing);
            }
            Decision::Remove => {
                if !batch.fits(name.as_str().len(), pending.alone) {
                    return Err(pending);
                }
                batch.add(Said::Gone(name.clone()), &pending);
            }
            Decision::Hold(pinned) => {
                pending.pinned = pinned;
                self.kind_mut(kind).held.insert(name.clone(), pending);
            }
            Decision::Drop => self.dropped = true,
        }
        Ok(())
    }

    fn decide(
        &self,
        kind: ResourceKind,
        base: &View,
        name: &ResourceName,
        target: Option<&Arc<Resource>>,
        pending: &Pending,
        batch: &mut Batch,
    ) -> Decision {
        let Some(target) = target else {
            return self.decide_removal(kind, name, pending, batch);
        };
        if !pending.must_be_said() && pending.has.version() == Some(target.version) {
            return Decision::Drop;
        }
        if self.may_use(base, target) || self.kind(kind).earlier.is_some() {
            return Decision::Send(Arc::clone(target));
        }
        let earlier = pending.pinned.as_ref().filter(|pinned| pending.has.version() != Some(pinned.version));
        match earlier {
            Some(earlier) if self.may_use(base, earlier) && self.is_viable(base, earlier) => {
                Decision::SendPinned(Arc::clone(earlier), Some(Arc::clone(target)))
            }
            Some(earlier) if self.is_viable(base, earlier) => Decision::Hold(Some(Arc::clone(earlier))),
            _ => Decision::Hold(Some(Arc::clone(target))),
        }
    }

    fn decide_removal(
        &self,
        kind: ResourceKind,
        name: &ResourceName,
        pending: &Pending,
        batch: &mut Batch,
    ) -> Decision {
        if self.dialect() == Dialect::Sotw && kind == ResourceKind::Endpoints && pending.must_be_said() {
            // The dialect can't say that there are none, and Envoy would wait for them.
            let last = pending.has.resource().cloned();
            return Decision::SendPinned(last.unwrap_or_else(|| no_endpoints(name)), None);
        }
        if pending.has.nothing() {
            // An explicit question is answered, a doubt is settled; but a secret that does not exist
            // is one that is being made, and Envoy waits for it.
            let answer = pending.must_be_said() && kind != ResourceKind::Secret;
            return if answer { Decision::Remove } else { Decision::Drop };
        }
        let in_use = match kind {
            ResourceKind::Listener => false,
            ResourceKind::Cluster if self.users_are_unknown() => true,
            ResourceKind::Cluster => {
                batch.in_use.get_or_insert_with(|| self.clusters_in_use()).contains(name)
            }
            ResourceKind::Endpoints => !self.is_settled(ResourceKind::Cluster),
            ResourceKind::Route => !self.is_settled(ResourceKind::Listener),
            // Whoever asks for a secret uses it: the last good one is kept.
            ResourceKind::Secret => true,
        };
        match pending.has.resource() {
            _ if !in_use => Decision::Remove,
            // A cluster is warming, and its acknowledgement waits for an answer.
            Some(last) if kind == ResourceKind::Endpoints && pending.must_be_said() => {
                Decision::SendPinned(Arc::clone(last), None)
            }
            None if kind == ResourceKind::Endpoints && pending.must_be_said() => Decision::Remove,
            _ => Decision::Hold(None),
        }
    }

    /// Turns a batch into a response, and notes what is on its way.
    fn close(&mut self, kind: ResourceKind, base: &View, mut batch: Batch, now: Instant) -> Response {
        let nonce = Nonce(self.next_nonce());
        if self.kind(kind).earlier.is_some() {
            // If this is refused, what the proxy has from before is still there.
            batch.items.iter_mut().for_each(|item| item.doubtful = true);
        }
        let whole = self.is_whole(kind);
        if kind == ResourceKind::Cluster {
            self.repeat_endpoints(base, &batch.items, whole);
        }
        let dialect = self.dialect();
        let mut resources = Vec::with_capacity(batch.items.len());
        resources.extend(batch.items.iter().filter_map(|item| item.resource().cloned()));
        let removed = batch.items.iter().filter(|item| item.resource().is_none());
        let removed = match dialect {
            Dialect::Delta => removed.map(|item| item.name().clone()).collect(),
            Dialect::Sotw => Vec::new(),
        };
        let state = self.kind_mut(kind);
        state.owes_answer = false;
        state.earlier = None;
        state.sent(Record::new(nonce, now, batch.items));
        let version_info = match dialect {
            Dialect::Delta => base.version().to_string(),
            Dialect::Sotw => version_text(state.digest),
        };
        let resources = if whole { self.everything(kind, base) } else { resources };
        Response { dialect, kind, nonce, version_info, resources, removed }
    }

    /// A cluster that Envoy has and that changes is warmed anew, and becomes
    /// active only when its endpoints are told again: changed or not, gone, or
    /// refused before. Whoever asks for a cluster's endpoints has the cluster,
    /// even if it did not tell so: it may have applied it from a refused
    /// response. A whole response may also take that back again.
    fn repeat_endpoints(&mut self, base: &View, items: &[Item], whole: bool) {
        let told = items.iter().filter_map(|item| item.resource());
        let mut names: Vec<_> = told.map(|resource| resource.key.name.clone()).collect();
        let clusters = self.kind(ResourceKind::Cluster);
        if whole {
            let pending = clusters.ready.iter().chain(&clusters.held);
            names.extend(pending.filter(|(_, pending)| pending.doubtful).map(|(name, _)| name.clone()));
            let refused = clusters.refused.iter();
            names.extend(refused.filter(|(_, refused)| refused.doubtful).map(|(name, _)| name.clone()));
        }
        // It may have clusters of which it tells nothing: its last stream ended before it acknowledged them.
        let tells = self.dialect() == Dialect::Delta;
        let state = self.kind_mut(ResourceKind::Endpoints);
        for name in names {
            if !state.interest.covers(&name) {
                if tells && !state.interest.seen {
                    // It may say that it has them.
                    state.owed.insert(name);
                }
            } else if let Some(refused) = state.refused.remove(&name) {
                let Refused { last_good, doubtful, .. } = refused;
                state.ready.insert(name, Pending { doubtful, ..Pending::forced(last_good) });
            } else {
                let has = state.has(&name, Some(base));
                let pending = state.take_pending(&name).unwrap_or_else(|| Pending::new(has));
                state.ready.insert(name, Pending { forced: true, ..pending });
            }
        }
    }

    /// All that the proxy is to have of a kind after this response: what it has
    /// already, where the target is still held back or was refused.
    fn everything(&mut self, kind: ResourceKind, base: &View) -> Vec<Arc<Resource>> {
        let state = self.kind(kind);
        let mut names: Vec<_> = if state.interest.wildcard {
            base.iter(kind).map(|resource| &resource.key.name).collect()
        } else {
            state.interest.names.iter().collect()
        };
        let exceptions = state.ready.keys().chain(state.held.keys()).chain(state.refused.keys());
        names.extend(exceptions.filter(|name| state.interest.covers(name)));
        names.sort_unstable();
        names.dedup();
        let has = |name: &ResourceName| match state.pending(name) {
            // It may have applied this, and would lose it.
            Some(pending) if pending.has.nothing() && pending.doubtful && !pending.alone => {
                pending.pinned.clone()
            }
            _ => state.has(name, Some(base)).repeated().cloned(),
        };
        let resources: Vec<_> = names.iter().filter_map(|name| has(name)).collect();
        let examined = names.len();
        self.worked(examined);
        resources
    }
}

/// The endpoints of a cluster that has none.
fn no_endpoints(cluster: &ResourceName) -> Arc<Resource> {
    let message = ClusterLoadAssignment { cluster_name: cluster.to_string(), ..Default::default() };
    let key = ResourceKey::new(ResourceKind::Endpoints, cluster.clone());
    Arc::new(Resource::new(key, encode(&message), vec![], vec![]))
}
