//! What proxies of one class do for the workload beside them.

use std::collections::BTreeSet;
use std::sync::Arc;

use osm_core::identity::ServiceIdentity;
use osm_core::interception::IpFamilies;
use osm_core::ir::{InboundService, ProxyClass};
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;

use super::outbound::ViewpointId;
use super::part::reuse;
use super::subscriber::SubscriptionId;
use super::work::Work;
use crate::client::ClientKind;
use crate::generate;
use crate::resource::{Resource, ResourceKind};
use crate::view::{Layer, LayerId};

/// A number for a class, since comparing classes is dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId(pub(super) u64);

/// What clients of one class have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey {
    pub(super) class: ProxyClass,
    pub(super) client: ClientKind,
}

impl ClassKey {
    /// The class of a client of this kind. A gRPC library is told nothing about
    /// what its workload serves, and has no listener.
    pub(super) fn new(mut class: ProxyClass, client: ClientKind) -> Self {
        match client {
            ClientKind::Envoy => {}
            ClientKind::Grpc => {
                class.serves.clear();
                class.hostnames.clear();
                class.families = IpFamilies::default();
            }
        }
        Self { class, client }
    }
}

/// A class of connected proxies.
#[derive(Debug)]
pub(super) struct ClassState {
    pub(super) key: ClassKey,
    pub(super) subscribers: BTreeSet<SubscriptionId>,
    /// Upper first.
    pub(super) viewpoints: [ViewpointId; 2],
    pub(super) layer: Arc<Layer>,
    inbound: Vec<(Arc<InboundService>, Vec<Arc<Resource>>)>,
    listener: Option<Arc<Resource>>,
    /// The listener of outgoing connections, where it is not the one that all have.
    outbound: Option<Arc<Resource>>,
    secrets: Vec<Arc<Resource>>,
}

impl ClassState {
    pub(super) fn new(key: ClassKey, viewpoints: [ViewpointId; 2]) -> Self {
        Self {
            key,
            subscribers: BTreeSet::new(),
            viewpoints,
            layer: Arc::new(Layer::new(LayerId::unique(), [])),
            inbound: Vec::new(),
            listener: None,
            outbound: None,
            secrets: Vec::new(),
        }
    }

    /// Whom the clients speak for.
    pub(super) fn identity(&self) -> &ServiceIdentity {
        &self.key.class.identity
    }

    /// Decides anew what is served, and says whether that changed the layer.
    pub(super) fn refresh(&mut self, snapshot: &MeshSnapshot, trust: Option<&str>, work: &mut Work) -> bool {
        let decided = policy::inbound(snapshot, &self.key.class);
        let families = self.key.class.families;
        work.compiled += decided.len() as u64;
        let decided: Vec<Arc<InboundService>> = decided.into_iter().map(Arc::new).collect();
        let same = decided.iter().eq(self.inbound.iter().map(|(service, _)| service));
        if !same || self.listener.is_none() {
            self.listener = generate::inbound_listener(&decided, families).map(Arc::new);
            work.generated += u64::from(self.listener.is_some());
        }
        let inbound = reuse(decided, Some(&self.inbound), work, |service, work| {
            let resources: Vec<_> =
                generate::inbound_service(service, families).into_iter().map(Arc::new).collect();
            work.generated += resources.len() as u64;
            resources
        });
        self.inbound = inbound;
        self.outbound = match families {
            IpFamilies::V4 => None,
            IpFamilies::V6 | IpFamilies::Both => self.own_outbound(snapshot, work),
        };
        self.refresh_secrets(trust, work)
    }

    /// Writes the secrets that hold trust anew, and says whether the layer changed.
    pub(super) fn refresh_secrets(&mut self, trust: Option<&str>, work: &mut Work) -> bool {
        let services = self.inbound.iter().map(|(service, _)| service);
        let secrets = trust.map(|trust| {
            services.filter_map(|service| generate::validation_secret(service, trust)).map(Arc::new).collect()
        });
        self.secrets = secrets.unwrap_or_default();
        work.generated += self.secrets.len() as u64;
        self.relayer()
    }

    /// The listener of outgoing connections as pods of these versions of IP have it. It hides the
    /// one that all have.
    fn own_outbound(&self, snapshot: &MeshSnapshot, work: &mut Work) -> Option<Arc<Resource>> {
        let all = generate::outbound_listener(&policy::egress(snapshot), self.key.class.families);
        work.generated += all.len() as u64;
        all.into_iter().find(|resource| resource.key.kind == ResourceKind::Listener).map(Arc::new)
    }

    fn relayer(&mut self) -> bool {
        let now: Vec<&Arc<Resource>> = self
            .inbound
            .iter()
            .flat_map(|(_, resources)| resources)
            .chain(&self.listener)
            .chain(&self.outbound)
            .chain(&self.secrets)
            .collect();
        let kept: BTreeSet<_> = now.iter().map(|resource| &resource.key).collect();
        let gone = self.layer.iter().map(|resource| resource.key.clone()).filter(|key| !kept.contains(key));
        let changes: Vec<_> = gone
            .map(|key| (key, None))
            .chain(now.iter().map(|resource| (resource.key.clone(), Some(Arc::clone(resource)))))
            .collect();
        let layer = self.layer.with_changes(changes);
        let changed = layer.generation() != self.layer.generation();
        self.layer = Arc::new(layer);
        changed
    }
}
