//! Real resources on streams of modelled Envoys: what they need is what Envoy
//! reads in them, and each proxy ends with what its view says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use osm_core::identity::ProxyId;
use osm_core::policy;
use osm_core::testing::{history, play, proxies};
use osm_xds::push::Engine;
use osm_xds::resource::{ResourceKey, ResourceKind, ResourceName};
use osm_xds::session::{DeltaSession, Dialect};
use osm_xds::testing::{FakeEnvoy, Request, references};
use osm_xds::view::View;
use proptest::prelude::*;

use crate::{empty, subscribe_all, subscribe_anew};

/// A proxy on a stream.
struct Proxy {
    session: DeltaSession,
    envoy: FakeEnvoy,
    requests: Vec<DeltaDiscoveryRequest>,
    seen: Option<Arc<View>>,
}

impl Proxy {
    fn new(proxy: &ProxyId) -> Self {
        let mut envoy = FakeEnvoy::new(proxy.uuid.as_str(), Dialect::Delta);
        let requests = delta(envoy.connect());
        Self { session: DeltaSession::new(proxy, Arc::default()), envoy, requests, seen: None }
    }

    fn show(&mut self, view: &Arc<View>) {
        if self.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, view)) {
            self.session.on_view(Arc::clone(view));
            self.seen = Some(Arc::clone(view));
        }
    }

    /// Lets both talk until neither has anything to say.
    fn talk(&mut self) {
        let now = Instant::now();
        loop {
            for request in std::mem::take(&mut self.requests) {
                self.session.on_request(request, now).expect("nothing that is not allowed");
            }
            while let Some(response) = self.session.next_response(now) {
                self.requests.extend(delta(self.envoy.receive(&response)));
            }
            if self.requests.is_empty() {
                return;
            }
        }
    }
}

fn delta(requests: Vec<Request>) -> Vec<DeltaDiscoveryRequest> {
    let delta = |request| match request {
        Request::Delta(request) => request,
        Request::Sotw(_) => panic!("the other dialect"),
    };
    requests.into_iter().map(delta).collect()
}

fn key(kind: ResourceKind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, ResourceName::new(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn proxies_end_with_their_views_and_nothing_breaks_on_the_way(history in history(20)) {
        let (events, _) = play(&history);
        let (mut builder, first) = empty();
        let mut engine = Engine::new(first);
        let mut watches = subscribe_all(&mut engine);
        let mut streams: Vec<Proxy> = proxies().iter().map(Proxy::new).collect();
        let half = events.len() / 2;
        for (place, event) in events.into_iter().enumerate() {
            builder.apply(event);
            let Some((snapshot, change)) = builder.build() else { continue };
            engine.on_snapshot(snapshot, &change);
            subscribe_anew(&mut engine, &mut watches);
            if place == half {
                engine.on_trust("a root");
                let identities: Vec<_> = engine.identities().cloned().collect();
                for identity in identities {
                    engine.on_certificate(&identity, "chain", "key");
                }
            }
            for (stream, (_, watch)) in streams.iter_mut().zip(&watches) {
                watch.current().iter().for_each(|view| stream.show(view));
                stream.talk();
            }
        }
        engine.on_trust("a root");
        let identities: Vec<_> = engine.identities().cloned().collect();
        for identity in identities {
            engine.on_certificate(&identity, "chain", "key");
        }
        for (proxy, (stream, (_, watch))) in proxies().iter().zip(streams.iter_mut().zip(&watches)) {
            if policy::compile(engine.snapshot(), proxy).is_err() {
                continue;
            }
            let view = watch.current().expect("a known proxy has a view");
            stream.show(&view);
            stream.talk();
            prop_assert_eq!(stream.envoy.violations(), &[], "{}", proxy);
            prop_assert!(stream.envoy.is_warm());
            for kind in ResourceKind::ALL {
                let asks_for = stream.envoy.asks_for(kind);
                let wanted = view.iter(kind).map(|r| (r.key.name.to_string(), r.body.to_vec()));
                let wanted: BTreeMap<_, _> =
                    wanted.filter(|(name, _)| kind.has_wildcard() || asks_for.contains(name)).collect();
                prop_assert_eq!(stream.envoy.has(kind), &wanted, "{}s of {}", kind, proxy);
                // Nothing is asked for that is not there.
                prop_assert!(asks_for.iter().all(|name| wanted.contains_key(name)), "{:?}", asks_for);
            }
            let status = stream.session.status();
            prop_assert_eq!(status.synced_version, status.view_version);
        }
    }

    /// What a resource is said to need is what its message refers to.
    #[test]
    fn needs_are_what_the_messages_say(history in history(20)) {
        let (_, objects) = play(&history);
        let (_, snapshot) = crate::from_scratch(objects);
        let mut engine = Engine::new(snapshot);
        engine.on_trust("a root");
        for (_, watch) in subscribe_all(&mut engine) {
            let Some(view) = watch.current() else { continue };
            for resource in ResourceKind::ALL.into_iter().flat_map(|kind| view.iter(kind)) {
                let kind = resource.key.kind;
                let found = references(kind, &resource.body).expect("a message of its kind");
                prop_assert_eq!(found.name.as_str(), resource.key.name.as_str());
                for cluster in &found.clusters {
                    let need = key(ResourceKind::Cluster, cluster);
                    prop_assert!(resource.needs.contains(&need), "{} needs {}", resource.key, need);
                    prop_assert!(view.get(&need).is_some(), "{} is there for {}", need, resource.key);
                }
                for secret in found.secrets.iter().filter(|_| kind == ResourceKind::Cluster) {
                    let need = key(ResourceKind::Secret, secret);
                    prop_assert!(resource.needs.contains(&need), "{} needs {}", resource.key, need);
                }
                let routes = found.routes.iter().map(|name| key(ResourceKind::Route, name));
                let endpoints = found.endpoints.iter().map(|name| key(ResourceKind::Endpoints, name));
                for key in routes.chain(endpoints) {
                    prop_assert!(view.get(&key).is_some(), "{} is there for {}", key, resource.key);
                }
            }
        }
    }
}
