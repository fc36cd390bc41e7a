//! What a session costs: names looked at, and memory held.

use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;

use crate::resource::{Resource, ResourceKey, ResourceKind};
use crate::session::{DeltaSession, SessionOptions};
use crate::testing::{FakeEnvoy, Request, resources};
use crate::view::{Layer, LayerId, View};

const SERVICES: usize = 500;

/// A layer in which each service has a cluster, endpoints, a listener and routes.
fn layer() -> Layer {
    let service = |number: usize| {
        let (cluster, listener, routes) = (format!("c{number}"), format!("l{number}"), format!("r{number}"));
        [
            resources::cluster(&cluster, "1", &["certificate"]),
            resources::endpoints(&cluster, "1"),
            resources::http_listener(&listener, "1", &routes),
            resources::routes(&routes, "1", &[&cluster]),
        ]
    };
    let secret = resources::secret("certificate", "1");
    Layer::new(LayerId::unique(), (0..SERVICES).flat_map(service).chain([secret]))
}

struct Stream {
    session: DeltaSession,
    envoy: FakeEnvoy,
    layer: Layer,
    version: u64,
    now: Instant,
}

impl Stream {
    fn new() -> Self {
        let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
        let session = DeltaSession::new(&proxy, Arc::new(SessionOptions::default()));
        let envoy = FakeEnvoy::new("a", crate::session::Dialect::Delta);
        Self { session, envoy, layer: layer(), version: 0, now: Instant::now() }
    }

    /// Shows the view and lets both talk; gives the names looked at.
    fn publish(&mut self, requests: Vec<Request>) -> u64 {
        let before = self.session.status().work;
        self.version += 1;
        let view = View::new(self.version, [Arc::new(self.layer.clone())]);
        self.session.on_view(Arc::new(view));
        let mut requests = requests;
        loop {
            for request in std::mem::take(&mut requests) {
                let Request::Delta(request) = request else { panic!("the other dialect") };
                self.session.on_request(request, self.now).expect("nothing that is not allowed");
            }
            while let Some(response) = self.session.next_response(self.now) {
                requests.extend(self.envoy.receive(&response));
            }
            if requests.is_empty() {
                break;
            }
        }
        let status = self.session.status();
        assert_eq!(status.synced_version, Some(self.version));
        status.work - before
    }

    fn change(&mut self, changes: impl IntoIterator<Item = (ResourceKey, Option<Arc<Resource>>)>) -> u64 {
        self.layer = self.layer.with_changes(changes);
        self.publish(Vec::new())
    }
}

fn set(resource: Arc<Resource>) -> (ResourceKey, Option<Arc<Resource>>) {
    (resource.key.clone(), Some(resource))
}

#[test]
fn a_change_costs_what_changed_and_nothing_costs_nothing() {
    let mut stream = Stream::new();
    let requests = stream.envoy.connect();
    let first = stream.publish(requests);
    let all = 4 * SERVICES as u64;
    assert!((all..6 * all).contains(&first), "{first} names for {all} resources");
    assert_eq!(stream.publish(Vec::new()), 0, "nothing changed");
    for (what, cost) in [
        ("endpoints", stream.change([set(resources::endpoints("c7", "2"))])),
        ("a route", stream.change([set(resources::routes("r7", "2", &["c7", "c8"]))])),
        ("a cluster", stream.change([set(resources::cluster("c7", "2", &["certificate"]))])),
        ("a secret", stream.change([set(resources::secret("certificate", "2"))])),
        ("a listener", stream.change([set(resources::http_listener("l7", "2", "r7"))])),
    ] {
        assert!((1..=6).contains(&cost), "{what} costs {cost}");
    }
    let gone = [
        (ResourceKind::Listener, "l9"),
        (ResourceKind::Route, "r9"),
        (ResourceKind::Cluster, "c9"),
        (ResourceKind::Endpoints, "c9"),
    ];
    let cost = stream.change(gone.map(|(kind, name)| (resources::key(kind, name), None)));
    assert!((4..=30).contains(&cost), "a service that goes costs {cost}");
    assert_eq!(stream.envoy.has(ResourceKind::Endpoints).len(), SERVICES - 1);
}

#[test]
fn a_proxy_that_connects_anew_costs_one_look_at_each_name() {
    let mut stream = Stream::new();
    let requests = stream.envoy.connect();
    stream.publish(requests);
    let mut again = Stream { layer: stream.layer.clone(), envoy: stream.envoy, ..Stream::new() };
    let requests = again.envoy.connect();
    let received = ResourceKind::ALL.map(|kind| again.envoy.received(kind));
    let cost = again.publish(requests);
    let all = 4 * SERVICES as u64;
    assert!((all..4 * all).contains(&cost), "{cost} names for {all} resources");
    assert_eq!(received, ResourceKind::ALL.map(|kind| again.envoy.received(kind)), "nothing is sent");
}

#[test]
fn a_session_at_rest_holds_sixteen_bytes_for_each_name_and_no_copies() {
    let mut stream = Stream::new();
    let requests = stream.envoy.connect();
    stream.publish(requests);
    for kind in ResourceKind::ALL {
        let state = stream.session.core().kind(kind);
        assert_eq!((state.ready.len(), state.held.len(), state.refused.len()), (0, 0, 0), "{kind}");
        assert_eq!((state.initial.len(), state.owed.len()), (0, 0), "{kind}");
        assert_eq!(state.in_flight.capacity(), 0, "{kind}: nothing is on its way");
        let names = &state.interest.names;
        assert_eq!(names.capacity(), names.len(), "{kind}");
        for name in names.iter() {
            let shared = stream.layer.find(kind, name.as_str()).expect("it is there").key.name.as_str();
            assert!(std::ptr::eq(name.as_str(), shared), "{kind} {name} is the layer's own");
        }
    }
    assert_eq!(stream.session.core().kind(ResourceKind::Route).interest.names.len(), SERVICES);
    assert_eq!(size_of::<crate::resource::ResourceName>(), 16);
}
