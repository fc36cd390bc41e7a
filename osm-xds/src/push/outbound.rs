//! What clients see of the services that they may reach, shared among all
//! clients that may reach the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::identity::ServiceIdentity;
use osm_core::name::{NamespaceName, ServiceName};
use osm_core::policy::{self, OutboundKey, Reach};
use osm_core::snapshot::{Grant, MeshSnapshot};

use super::class::ClassId;
use super::differences::Differences;
use super::part::Part;
use super::work::Work;
use crate::client::ClientKind;
use crate::view::{Layer, LayerId};

/// Who looks: everyone who may reach the same, and for the services of their
/// own namespace, whose short names they can use, those in that namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Viewpoint {
    reach: ReachKey,
    namespace: Option<NamespaceName>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ReachKey {
    Everyone,
    These(Arc<BTreeMap<ServiceIdentity, Grant>>),
}

/// A number for a viewpoint, since comparing reaches is dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ViewpointId(u64);

#[derive(Debug)]
struct ViewpointState {
    viewpoint: Viewpoint,
    reach: Reach,
    layer: Arc<Layer>,
    parts: BTreeMap<ServiceName, Arc<Part>>,
    users: BTreeSet<ClassId>,
}

/// All viewpoints of connected clients of one kind.
#[derive(Debug)]
pub(super) struct Outbound {
    client: ClientKind,
    ids: BTreeMap<Viewpoint, ViewpointId>,
    viewpoints: BTreeMap<ViewpointId, ViewpointState>,
    next: u64,
    /// Who sees a service now.
    seeing: BTreeMap<ServiceName, BTreeSet<ViewpointId>>,
    /// Who would see whatever an identity serves.
    reaching: BTreeMap<ServiceIdentity, BTreeSet<ViewpointId>>,
    everyone: BTreeSet<ViewpointId>,
    /// Parts that are up to date, shared by viewpoints with equal keys.
    parts: BTreeMap<OutboundKey, Arc<Part>>,
    /// How parts differ that took the place of others in the refresh at hand.
    differences: Differences,
}

impl Outbound {
    /// No viewpoints yet of this kind of client.
    pub(super) fn new(client: ClientKind) -> Self {
        Self {
            client,
            ids: BTreeMap::new(),
            viewpoints: BTreeMap::new(),
            next: 0,
            seeing: BTreeMap::new(),
            reaching: BTreeMap::new(),
            everyone: BTreeSet::new(),
            parts: BTreeMap::new(),
            differences: Differences::default(),
        }
    }

    /// Enters a class at the viewpoints of its identity, upper layer first.
    pub(super) fn enter(
        &mut self,
        snapshot: &MeshSnapshot,
        identity: &ServiceIdentity,
        class: ClassId,
        work: &mut Work,
    ) -> [ViewpointId; 2] {
        let reach = match policy::reach(snapshot, identity) {
            Reach::Everyone => ReachKey::Everyone,
            Reach::These(reached) => ReachKey::These(Arc::new(reached)),
        };
        [Some(identity.namespace.clone()), None].map(|namespace| {
            let viewpoint = Viewpoint { reach: reach.clone(), namespace };
            let id = match self.ids.get(&viewpoint) {
                Some(id) => *id,
                None => self.open(snapshot, viewpoint, work),
            };
            if let Some(state) = self.viewpoints.get_mut(&id) {
                state.users.insert(class);
            }
            id
        })
    }

    /// Takes a class away from a viewpoint, which is closed when it was the last.
    pub(super) fn leave(&mut self, id: ViewpointId, class: ClassId) {
        let Some(state) = self.viewpoints.get_mut(&id) else { return };
        state.users.remove(&class);
        if !state.users.is_empty() {
            return;
        }
        let Some(state) = self.viewpoints.remove(&id) else { return };
        self.ids.remove(&state.viewpoint);
        self.everyone.remove(&id);
        if let ReachKey::These(reached) = &state.viewpoint.reach {
            for identity in reached.keys() {
                forget(&mut self.reaching, identity, id);
            }
        }
        for (service, part) in state.parts {
            forget(&mut self.seeing, &service, id);
            self.release(part);
        }
    }

    /// Whether there is no viewpoint and nothing is kept for one.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.viewpoints.is_empty()
            && self.seeing.is_empty()
            && self.reaching.is_empty()
            && self.everyone.is_empty()
            && self.parts.is_empty()
    }

    /// The layer that a viewpoint shows.
    pub(super) fn layer(&self, id: ViewpointId) -> Option<Arc<Layer>> {
        self.viewpoints.get(&id).map(|state| Arc::clone(&state.layer))
    }

    /// Redoes what changed services, or everything (`None`), mean to each
    /// viewpoint. Gives the classes that see something else now.
    pub(super) fn refresh(
        &mut self,
        snapshot: &MeshSnapshot,
        services: Option<&BTreeSet<ServiceName>>,
        work: &mut Work,
    ) -> BTreeSet<ClassId> {
        let mut concerned: BTreeMap<ViewpointId, BTreeSet<ServiceName>> = BTreeMap::new();
        // Parts that are out of date stay at hand: most of them did not change in full.
        let mut old = BTreeMap::new();
        match services {
            Some(services) => {
                for service in services {
                    for id in self.concerned_by(snapshot, service) {
                        concerned.entry(id).or_default().insert(service.clone());
                    }
                    let keys: Vec<OutboundKey> = self.keys_of(service).cloned().collect();
                    old.extend(keys.into_iter().filter_map(|key| self.parts.remove_entry(&key)));
                }
            }
            None => {
                for (id, state) in &self.viewpoints {
                    let mut all = policy::reachable_services(snapshot, &state.reach);
                    all.extend(state.parts.keys().cloned());
                    concerned.insert(*id, all);
                }
                old = std::mem::take(&mut self.parts);
            }
        }
        let mut touched = BTreeSet::new();
        for (id, services) in concerned {
            if self.refresh_one(snapshot, id, &services, &old, work)
                && let Some(state) = self.viewpoints.get(&id)
            {
                touched.extend(state.users.iter().copied());
            }
        }
        self.differences.forget();
        touched
    }

    fn open(&mut self, snapshot: &MeshSnapshot, viewpoint: Viewpoint, work: &mut Work) -> ViewpointId {
        self.next += 1;
        let id = ViewpointId(self.next);
        let reach = match &viewpoint.reach {
            ReachKey::Everyone => {
                self.everyone.insert(id);
                Reach::Everyone
            }
            ReachKey::These(reached) => {
                for identity in reached.keys() {
                    self.reaching.entry(identity.clone()).or_default().insert(id);
                }
                Reach::These(BTreeMap::clone(reached))
            }
        };
        let mut services = policy::reachable_services(snapshot, &reach);
        if let Some(namespace) = &viewpoint.namespace {
            services.retain(|service| service.namespace == *namespace);
        }
        let layer = Arc::new(Layer::new(LayerId::unique(), []));
        self.ids.insert(viewpoint.clone(), id);
        let state =
            ViewpointState { viewpoint, reach, layer, parts: BTreeMap::new(), users: BTreeSet::new() };
        self.viewpoints.insert(id, state);
        self.refresh_one(snapshot, id, &services, &BTreeMap::new(), work);
        self.differences.forget();
        id
    }

    /// Who sees a service, or should.
    fn concerned_by(&self, snapshot: &MeshSnapshot, service: &ServiceName) -> BTreeSet<ViewpointId> {
        let mut ids = self.seeing.get(service).cloned().unwrap_or_default();
        ids.extend(&self.everyone);
        let backends = snapshot.splits_of(service).iter().flat_map(|split| split.backends.keys());
        for linked in backends.chain([service]).filter_map(|name| snapshot.service(name)) {
            for identity in &linked.identities {
                ids.extend(self.reaching.get(identity).into_iter().flatten());
            }
        }
        ids
    }

    fn keys_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a OutboundKey> {
        let lowest = OutboundKey {
            service: service.clone(),
            allowed: policy::Allowed::All,
            same_namespace: false,
            backends: BTreeSet::new(),
        };
        self.parts.range(lowest..).map(|(key, _)| key).take_while(move |key| key.service == *service)
    }

    /// Redoes services at one viewpoint; says whether its layer changed.
    fn refresh_one(
        &mut self,
        snapshot: &MeshSnapshot,
        id: ViewpointId,
        services: &BTreeSet<ServiceName>,
        old: &BTreeMap<OutboundKey, Arc<Part>>,
        work: &mut Work,
    ) -> bool {
        let Some(mut state) = self.viewpoints.remove(&id) else { return false };
        let mut changes = Vec::new();
        for service in services {
            let key = state.viewpoint.key(snapshot, &state.reach, service);
            let before = state.parts.remove(service);
            let after = key.map(|key| self.part(snapshot, key, before.as_deref(), old, work));
            self.differences.between(before.as_ref(), after.as_ref(), &mut changes, work);
            match after {
                Some(part) => {
                    if before.is_none() {
                        self.seeing.entry(service.clone()).or_default().insert(id);
                    }
                    state.parts.insert(service.clone(), part);
                }
                None if before.is_some() => forget(&mut self.seeing, service, id),
                None => {}
            }
            if let Some(before) = before {
                self.release(before);
            }
        }
        let mut changed = false;
        if !changes.is_empty() {
            let layer = state.layer.with_changes(changes);
            changed = layer.generation() != state.layer.generation();
            state.layer = Arc::new(layer);
        }
        self.viewpoints.insert(id, state);
        changed
    }

    /// The part for a key: an up to date one, or one made from what `before` and
    /// `old` have of it.
    fn part(
        &mut self,
        snapshot: &MeshSnapshot,
        key: OutboundKey,
        before: Option<&Part>,
        old: &BTreeMap<OutboundKey, Arc<Part>>,
        work: &mut Work,
    ) -> Arc<Part> {
        if let Some(part) = self.parts.get(&key) {
            return Arc::clone(part);
        }
        let similar = old.get(&key).map(Arc::as_ref).or(before);
        let part = Arc::new(Part::build(snapshot, key.clone(), self.client, similar, work));
        self.parts.insert(key, Arc::clone(&part));
        part
    }

    /// Forgets a part that nobody holds any more but the table of parts.
    fn release(&mut self, part: Arc<Part>) {
        let shared = self.parts.get(&part.key).is_some_and(|kept| Arc::ptr_eq(kept, &part));
        if shared && Arc::strong_count(&part) <= 2 {
            self.parts.remove(&part.key);
        }
    }
}

impl Viewpoint {
    /// How a service is reached from here; `None` when it is not.
    fn key(&self, snapshot: &MeshSnapshot, reach: &Reach, service: &ServiceName) -> Option<OutboundKey> {
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != service.namespace) {
            return None;
        }
        let mut key = policy::outbound_key(snapshot, service, reach, &service.namespace)?;
        key.same_namespace = self.namespace.is_some();
        Some(key)
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ViewpointId>>, key: &K, id: ViewpointId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
