//! Audits: what a proxy is shown, compared with what a fresh engine would show.
//!
//! An audit is taken from the engine in no time and run elsewhere, since it costs
//! as much as a first view in a mesh of this size.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_core::snapshot::MeshSnapshot;

use super::engine::Engine;
use super::subscriber::SubscriptionId;
use crate::client::ClientKind;
use crate::resource::ResourceKey;
use crate::view::{Layer, View, ViewSender};

/// All that one proxy's view follows from, and the view.
pub(super) struct Audit {
    pub(super) proxy: ProxyId,
    client: ClientKind,
    snapshot: Arc<MeshSnapshot>,
    trust: Option<Arc<str>>,
    certificate: Option<Arc<Layer>>,
    shown: Arc<View>,
}

impl Engine {
    /// Compares what a subscriber sees with what a fresh engine would show it.
    /// Gives the keys that differ: none, unless the engine has a fault.
    #[must_use]
    pub fn audit(&self, id: SubscriptionId) -> BTreeSet<ResourceKey> {
        self.audit_of(id).map(Audit::run).unwrap_or_default()
    }

    /// What is to be compared for the next subscriber that has a view: one after
    /// the other, one with each call.
    pub(super) fn next_audit(&mut self) -> Option<Audit> {
        let after = (Bound::Excluded(self.audited), Bound::Unbounded);
        let next = self.subscribers.range(after).next().or_else(|| self.subscribers.first_key_value());
        self.audited = *next?.0;
        self.audit_of(self.audited)
    }

    fn audit_of(&self, id: SubscriptionId) -> Option<Audit> {
        let subscriber = self.subscribers.get(&id)?;
        Some(Audit {
            proxy: subscriber.proxy.clone(),
            client: subscriber.client,
            snapshot: Arc::clone(&self.snapshot),
            trust: self.trust.clone(),
            certificate: self.certificates.get(&subscriber.proxy.identity).cloned(),
            shown: subscriber.sender.current()?,
        })
    }
}

impl Audit {
    /// The keys that differ.
    pub(super) fn run(self) -> BTreeSet<ResourceKey> {
        let Self { proxy, client, snapshot, trust, certificate, shown } = self;
        let mut fresh = Engine::new(snapshot);
        if let Some(trust) = &trust {
            fresh.on_trust(trust);
        }
        if let Some(certificate) = certificate {
            fresh.certificates.insert(proxy.identity.clone(), certificate);
        }
        let sender = ViewSender::new(None);
        let watch = sender.watch();
        fresh.subscribe_client(SubscriptionId(0), proxy, client, sender);
        // A proxy whose workload is gone keeps its last view.
        watch.current().map(|view| shown.changed_since(&view)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use osm_core::testing::{Fleet, from_scratch};

    use super::*;

    #[test]
    fn i15_an_audit_names_what_is_not_as_it_should_be() {
        let fleet = Fleet { services: 3, endpoints: 1, clients: 2, reach: 2, permissive: true };
        let mut engine = Engine::new(from_scratch(fleet.objects()));
        assert!(engine.next_audit().is_none(), "nobody is there");
        for client in 0..2 {
            let id = SubscriptionId::new(client as u64 + 1);
            engine.subscribe(id, fleet.client_proxy(client), ViewSender::new(None));
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            let mut audit = engine.next_audit().expect("both have a view");
            seen.push(audit.proxy.uuid.to_string());
            let planted = audit.shown.layers().iter().map(|layer| match layer.iter().last() {
                Some(resource) => Arc::new(layer.with_changes([(resource.key.clone(), None)])),
                None => Arc::clone(layer),
            });
            audit.shown = Arc::new(View::new(audit.shown.version(), planted.collect::<Vec<_>>()));
            assert!(!audit.run().is_empty(), "something is missing");
        }
        assert_eq!(seen, ["client-0", "client-1", "client-0", "client-1"]);
        assert!(engine.audit(SubscriptionId::new(1)).is_empty());
    }
}
