//! The incremental engine: a state machine without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::identity::{ProxyId, ProxyUuid, ServiceIdentity};
use osm_core::name::ServiceName;
use osm_core::policy::{self, Unknown};
use osm_core::snapshot::{ChangeSet, MeshSnapshot};

use super::class::{ClassId, ClassKey, ClassState};
use super::common::Common;
use super::outbounds::Outbounds;
use super::refusals::Refusals;
use super::subscriber::{Subscriber, SubscriptionId};
use super::work::Work;
use crate::client::ClientKind;
use crate::generate;
use crate::view::{Layer, LayerId, View, ViewSender};

/// Keeps the views of all subscribed proxies up to date.
///
/// Each `on_…` takes in one kind of news and sends new views to exactly the
/// proxies for which something is different.
pub struct Engine {
    pub(super) snapshot: Arc<MeshSnapshot>,
    pub(super) trust: Option<Arc<str>>,
    pub(super) subscribers: BTreeMap<SubscriptionId, Subscriber>,
    by_uuid: BTreeMap<ProxyUuid, BTreeSet<SubscriptionId>>,
    class_ids: BTreeMap<ClassKey, ClassId>,
    classes: BTreeMap<ClassId, ClassState>,
    next_class: u64,
    by_identity: BTreeMap<ServiceIdentity, BTreeSet<ClassId>>,
    by_service: BTreeMap<ServiceName, BTreeSet<ClassId>>,
    pub(super) certificates: BTreeMap<ServiceIdentity, Arc<Layer>>,
    /// The identities that have gained their first class or lost their last one
    /// since somebody asked.
    turned: BTreeSet<ServiceIdentity>,
    outbounds: Outbounds,
    refusals: Refusals,
    common: Common,
    version: u64,
    work: Work,
    /// The subscriber that was audited last.
    pub(super) audited: SubscriptionId,
}

impl Engine {
    /// An engine that knows this snapshot and serves nobody yet.
    #[must_use]
    pub fn new(snapshot: Arc<MeshSnapshot>) -> Self {
        let mut engine = Self {
            snapshot,
            trust: None,
            subscribers: BTreeMap::new(),
            by_uuid: BTreeMap::new(),
            class_ids: BTreeMap::new(),
            classes: BTreeMap::new(),
            next_class: 0,
            by_identity: BTreeMap::new(),
            by_service: BTreeMap::new(),
            certificates: BTreeMap::new(),
            turned: BTreeSet::new(),
            outbounds: Outbounds::new(),
            refusals: Refusals::default(),
            common: Common::default(),
            version: 0,
            work: Work::default(),
            audited: SubscriptionId(0),
        };
        engine.common.refresh(&engine.snapshot, None, &mut engine.work);
        engine.refusals.refresh(&engine.snapshot, None, &mut engine.work);
        engine
    }

    /// All work done so far.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The version of the views sent last.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The snapshot that the views are made from.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<MeshSnapshot> {
        &self.snapshot
    }

    /// The identities whose proxies are subscribed, and so need a certificate.
    pub fn identities(&self) -> impl Iterator<Item = &ServiceIdentity> {
        self.by_identity.keys()
    }

    /// Whether proxies of this identity are subscribed.
    #[must_use]
    pub fn serves(&self, identity: &ServiceIdentity) -> bool {
        self.by_identity.contains_key(identity)
    }

    /// The identities for which [`serves`](Self::serves) may have turned since
    /// this was last called.
    pub fn take_turned(&mut self) -> BTreeSet<ServiceIdentity> {
        std::mem::take(&mut self.turned)
    }

    /// Whether nothing is kept for any proxy.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty()
            && self.by_uuid.is_empty()
            && self.classes.is_empty()
            && self.class_ids.is_empty()
            && self.by_identity.is_empty()
            && self.by_service.is_empty()
            && self.certificates.is_empty()
            && self.outbounds.is_empty()
    }

    /// Begins to send views to a proxy. One that is not known yet is sent its
    /// first view when its workload is.
    pub fn subscribe(&mut self, id: SubscriptionId, proxy: ProxyId, sender: ViewSender) {
        self.subscribe_client(id, proxy, ClientKind::Envoy, sender);
    }

    /// Begins to send views to a client of this kind, as [`subscribe`](Self::subscribe)
    /// does to Envoys.
    pub fn subscribe_client(
        &mut self,
        id: SubscriptionId,
        proxy: ProxyId,
        client: ClientKind,
        sender: ViewSender,
    ) {
        self.by_uuid.entry(proxy.uuid.clone()).or_default().insert(id);
        self.subscribers.insert(id, Subscriber { proxy, client, sender, class: None });
        if self.reclassify(id) == Ok(true) {
            self.publish(&BTreeSet::new(), [id]);
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.remove(&id) else { return };
        if let Some(ids) = self.by_uuid.get_mut(&subscriber.proxy.uuid) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_uuid.remove(&subscriber.proxy.uuid);
            }
        }
        if let Some(class) = subscriber.class {
            self.leave_class(class, id);
        }
    }

    /// Takes in a new snapshot; `change` says how it differs from the last one
    /// taken in. Gives how many proxies were sent a new view.
    pub fn on_snapshot(&mut self, snapshot: Arc<MeshSnapshot>, change: &ChangeSet) -> usize {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        if change.is_empty() {
            return 0;
        }
        self.version += 1;
        let mut touched = BTreeSet::new();
        let mut moved = Vec::new();
        if !before.trust_domains().name_alike(self.snapshot.trust_domains()) {
            // Also a proxy for which nothing else is new has to say that it has a view of these.
            touched.extend(self.classes.keys().copied());
        }
        let services = (!change.settings).then_some(&change.services);
        if change.settings && self.common.refresh(&self.snapshot, self.trust.as_deref(), &mut self.work) {
            touched.extend(self.classes.keys().copied());
        }
        if self.refusals.refresh(&self.snapshot, services, &mut self.work) {
            touched.extend(self.classes.keys().copied());
        }
        touched.extend(self.move_viewpoints(change));
        touched.extend(self.outbounds.refresh(&self.snapshot, services, &mut self.work));
        for id in self.concerned_subscribers(change) {
            // One whose pod is somebody else now is told so when it comes again.
            match self.reclassify(id) {
                Ok(true) => moved.push(id),
                Err(Unknown::OtherIdentity { .. }) => self.unsubscribe(id),
                Ok(false) | Err(Unknown::NoWorkload { .. }) => {} // Its pod is ending: it keeps what it has.
            }
        }
        for id in self.concerned_classes(change) {
            let Some(class) = self.classes.get_mut(&id) else { continue };
            if class.refresh(&self.snapshot, self.trust.as_deref(), &mut self.work) {
                touched.insert(id);
            }
        }
        self.publish(&touched, moved)
    }

    /// Takes in the roots that proxies are to trust, as PEM text.
    pub fn on_trust(&mut self, pem: &str) -> usize {
        if self.trust.as_deref() == Some(pem) {
            return 0;
        }
        self.trust = Some(pem.into());
        self.version += 1;
        self.common.refresh(&self.snapshot, Some(pem), &mut self.work);
        for class in self.classes.values_mut() {
            class.refresh_secrets(Some(pem), &mut self.work);
        }
        let all = self.classes.keys().copied().collect();
        self.publish(&all, [])
    }

    /// Takes in the certificate chain and key of an identity, as PEM text. One
    /// whose proxies have all gone is not kept.
    pub fn on_certificate(&mut self, identity: &ServiceIdentity, chain: &str, key: &str) -> usize {
        let Some(touched) = self.by_identity.get(identity).cloned() else { return 0 };
        self.work.generated += 1;
        let secret = Arc::new(generate::certificate_secret(chain, key));
        let before = self.certificates.get(identity);
        let layer = match before {
            Some(layer) => layer.with_changes([(secret.key.clone(), Some(secret))]),
            None => Layer::new(LayerId::unique(), [secret]),
        };
        if before.is_some_and(|before| before.generation() == layer.generation()) {
            return 0;
        }
        self.version += 1;
        self.certificates.insert(identity.clone(), Arc::new(layer));
        self.publish(&touched, [])
    }

    /// Moves classes whose identity may reach others than before.
    fn move_viewpoints(&mut self, change: &ChangeSet) -> BTreeSet<ClassId> {
        let concerned: Vec<ClassId> = if change.settings {
            self.classes.keys().copied().collect()
        } else {
            change
                .reach_of
                .iter()
                .filter_map(|identity| self.by_identity.get(identity))
                .flatten()
                .copied()
                .collect()
        };
        let mut moved = BTreeSet::new();
        for id in concerned {
            let Some(class) = self.classes.get_mut(&id) else { continue };
            let old = class.viewpoints;
            let outbound = self.outbounds.of_mut(class.key.client);
            class.viewpoints = outbound.enter(&self.snapshot, class.identity(), id, &mut self.work);
            for gone in old.into_iter().filter(|old| !class.viewpoints.contains(old)) {
                outbound.leave(gone, id);
                moved.insert(id);
            }
        }
        moved
    }

    fn concerned_subscribers(&self, change: &ChangeSet) -> Vec<SubscriptionId> {
        if change.settings {
            return self.subscribers.keys().copied().collect();
        }
        change.proxies.iter().filter_map(|proxy| self.by_uuid.get(proxy)).flatten().copied().collect()
    }

    fn concerned_classes(&self, change: &ChangeSet) -> BTreeSet<ClassId> {
        if change.settings {
            return self.classes.keys().copied().collect();
        }
        let by_access = change.access_to.iter().filter_map(|identity| self.by_identity.get(identity));
        let by_service = change.served.iter().filter_map(|service| self.by_service.get(service));
        by_access.chain(by_service).flatten().copied().collect()
    }

    /// Puts a subscriber into the class that it belongs to now. Says whether
    /// that is another one than before, so that it is to be sent a view of it.
    fn reclassify(&mut self, id: SubscriptionId) -> Result<bool, Unknown> {
        let Some(subscriber) = self.subscribers.get(&id) else { return Ok(false) };
        let class = policy::classify(&self.snapshot, &subscriber.proxy)?;
        let class = ClassKey::new(class, subscriber.client);
        let before = subscriber.class;
        let class_id = match self.class_ids.get(&class) {
            Some(known) => *known,
            None => self.open_class(class),
        };
        if before == Some(class_id) {
            return Ok(false);
        }
        if let Some(state) = self.classes.get_mut(&class_id) {
            state.subscribers.insert(id);
        }
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.class = Some(class_id);
        }
        if let Some(before) = before {
            self.leave_class(before, id);
        }
        Ok(true)
    }

    fn open_class(&mut self, key: ClassKey) -> ClassId {
        self.next_class += 1;
        let id = ClassId(self.next_class);
        self.class_ids.insert(key.clone(), id);
        let class = &key.class;
        let of_identity = self.by_identity.entry(class.identity.clone()).or_default();
        if of_identity.is_empty() {
            self.turned.insert(class.identity.clone());
        }
        of_identity.insert(id);
        for port in class.serves.keys() {
            self.by_service.entry(port.service.clone()).or_default().insert(id);
        }
        let outbound = self.outbounds.of_mut(key.client);
        let viewpoints = outbound.enter(&self.snapshot, &class.identity, id, &mut self.work);
        let mut state = ClassState::new(key, viewpoints);
        state.refresh(&self.snapshot, self.trust.as_deref(), &mut self.work);
        self.classes.insert(id, state);
        id
    }

    /// Takes a subscriber out of its class, which is closed when it was the last.
    fn leave_class(&mut self, class: ClassId, subscriber: SubscriptionId) {
        let Some(state) = self.classes.get_mut(&class) else { return };
        state.subscribers.remove(&subscriber);
        if !state.subscribers.is_empty() {
            return;
        }
        let Some(state) = self.classes.remove(&class) else { return };
        self.class_ids.remove(&state.key);
        for viewpoint in state.viewpoints {
            self.outbounds.of_mut(state.key.client).leave(viewpoint, class);
        }
        let identity = state.identity();
        if let Some(classes) = self.by_identity.get_mut(identity) {
            classes.remove(&class);
            if classes.is_empty() {
                self.by_identity.remove(identity);
                self.certificates.remove(identity);
                self.turned.insert(identity.clone());
            }
        }
        for port in state.key.class.serves.keys() {
            if let Some(classes) = self.by_service.get_mut(&port.service) {
                classes.remove(&class);
                if classes.is_empty() {
                    self.by_service.remove(&port.service);
                }
            }
        }
    }

    /// Sends a new view to every subscriber of these classes, and to these
    /// subscribers.
    fn publish(
        &mut self,
        touched: &BTreeSet<ClassId>,
        moved: impl IntoIterator<Item = SubscriptionId>,
    ) -> usize {
        let mut sent = 0;
        for class in touched.iter().filter_map(|id| self.classes.get(id)) {
            let view = Arc::new(self.view(class));
            for subscriber in class.subscribers.iter().filter_map(|id| self.subscribers.get(id)) {
                subscriber.sender.send(Arc::clone(&view));
                sent += 1;
            }
        }
        for subscriber in moved.into_iter().filter_map(|id| self.subscribers.get(&id)) {
            let Some(class) = subscriber.class.filter(|class| !touched.contains(class)) else { continue };
            let Some(class) = self.classes.get(&class) else { continue };
            subscriber.sender.send(Arc::new(self.view(class)));
            sent += 1;
        }
        self.work.views += sent as u64;
        sent
    }

    fn view(&self, class: &ClassState) -> View {
        let outbound = self.outbounds.of(class.key.client);
        let reached = class.viewpoints.iter().filter_map(|id| outbound.layer(*id));
        let mut layers = vec![Arc::clone(&class.layer)];
        match class.key.client {
            ClientKind::Envoy => {
                layers.extend(self.certificates.get(class.identity()).cloned());
                layers.extend(reached);
                layers.extend([self.refusals.layer(), self.common.layer()]);
            }
            ClientKind::Grpc => layers.extend(reached),
        }
        View::new(self.version, layers).in_domains(Arc::clone(self.snapshot.trust_domains()))
    }
}
