//! Proxies that answer nothing, refuse everything or ask without end: what is kept
//! for them and done for them is bounded.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc::Status;
use osm_core::identity::ProxyId;

use crate::resource::{Resource, ResourceKind};
use crate::session::{DeltaSession, Response, SessionOptions, Subscription};
use crate::testing::resources;
use crate::view::{Layer, LayerId, View};

/// A proxy on a stream, and what it may see.
struct World {
    session: DeltaSession,
    layer: Layer,
    version: u64,
    now: Instant,
}

impl World {
    /// A proxy that has asked for all clusters, of which there are so many.
    fn new(clusters: usize) -> Self {
        let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
        let session = DeltaSession::new(&proxy, Arc::default());
        let layer = Layer::new(LayerId::unique(), (0..clusters).map(|n| cluster(n, 0)));
        let mut world = Self { session, layer, version: 0, now: Instant::now() };
        world.show();
        world.ask(request(ResourceKind::Cluster));
        world
    }

    fn show(&mut self) {
        self.version += 1;
        self.session.on_view(Arc::new(View::new(self.version, [Arc::new(self.layer.clone())])));
    }

    /// Changes a cluster; gives the resource that it is now.
    fn change(&mut self, number: usize) -> Weak<Resource> {
        let changed = cluster(number, self.version);
        let weak = Arc::downgrade(&changed);
        self.layer = self.layer.with_changes([(changed.key.clone(), Some(changed))]);
        self.show();
        weak
    }

    fn ask(&mut self, request: DeltaDiscoveryRequest) {
        self.session.on_request(request, self.now).expect("nothing that is not allowed");
    }

    fn responses(&mut self) -> Vec<Response> {
        std::iter::from_fn(|| self.session.next_response(self.now)).collect()
    }

    fn in_flight(&self) -> usize {
        self.session.status().kinds.iter().map(|kind| kind.in_flight).sum()
    }
}

fn cluster(number: usize, version: u64) -> Arc<Resource> {
    let key = resources::key(ResourceKind::Cluster, &format!("c-{number}"));
    Arc::new(Resource::new(key, format!("{version}").into(), vec![], vec![]))
}

fn request(kind: ResourceKind) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "a".to_owned(), ..Node::default() }),
        type_url: kind.type_url().to_owned(),
        ..Default::default()
    }
}

fn refusal(response: &Response) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        response_nonce: response.nonce.to_string(),
        error_detail: Some(Status { message: "never".to_owned(), ..Status::default() }),
        ..request(response.kind)
    }
}

#[test]
fn what_is_kept_for_a_proxy_that_never_acknowledges_is_bounded() {
    let bound = SessionOptions::default().max_outstanding;
    let mut world = World::new(10);
    let mut made = Vec::new();
    let mut sent = world.responses().len();
    for second in 0..1000 {
        made.push(world.change(second % 10));
        world.now += Duration::from_secs(1);
        sent += world.responses().len();
        assert!(world.in_flight() <= bound, "{} in flight", world.in_flight());
    }
    let kept = made.iter().filter(|resource| resource.strong_count() > 0).count();
    // Each response keeps what it says and what the proxy had before.
    assert!(kept <= 2 * bound + 10, "{kept} of {} old resources are kept", made.len());
    // It is still told what is newest, as fast as it is given up waiting for answers.
    assert!(sent > 900, "{sent} responses");
}

#[test]
fn a_proxy_that_refuses_everything_is_sent_everything_once_more_and_then_what_changes() {
    const CLUSTERS: usize = 300;
    let mut world = World::new(CLUSTERS);
    let mut sent = 0;
    let mut round = world.responses();
    while !round.is_empty() {
        sent += round.iter().map(|response| response.resources.len()).sum::<usize>();
        for response in &round {
            world.ask(refusal(response));
        }
        round = world.responses();
    }
    assert_eq!(sent, 2 * CLUSTERS, "together, and each by itself");
    assert_eq!(world.session.status().refused.len(), CLUSTERS);
    assert_eq!(world.in_flight(), 0);

    world.change(7);
    let again = world.responses();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].resources[0].key.name.as_str(), "c-7");
    world.ask(refusal(&again[0]));
    assert!(world.responses().is_empty());
    assert_eq!(world.session.status().refused.len(), CLUSTERS);
}

#[test]
fn a_proxy_that_subscribes_and_unsubscribes_for_ever_leaves_nothing() {
    let mut world = World::new(3);
    world.responses();
    let mut costs = Vec::new();
    for round in 0..5000 {
        let before = world.session.status().work;
        let names: Vec<_> = (0..4).map(|n| format!("ns/{}", round * 4 + n)).collect();
        let kind = ResourceKind::Endpoints;
        world.ask(DeltaDiscoveryRequest { resource_names_subscribe: names.clone(), ..request(kind) });
        // Now and then it does not wait for the answer.
        if round % 3 > 0 {
            world.responses();
        }
        world.ask(DeltaDiscoveryRequest { resource_names_unsubscribe: names, ..request(kind) });
        costs.push(world.session.status().work - before);
        world.now += Duration::from_secs(1);
    }
    world.responses();
    let status = world.session.status();
    let endpoints = status.kinds[ResourceKind::Endpoints as usize];
    assert_eq!(endpoints.subscription, Subscription::None);
    assert_eq!((endpoints.ready, endpoints.held, endpoints.delivered), (0, 0, 0), "{endpoints:?}");
    assert!(endpoints.in_flight <= SessionOptions::default().max_outstanding);
    assert_eq!(costs[10], costs[4999], "a round costs what it costs at the start");
}

#[test]
fn thousands_of_names_that_do_not_exist_are_answered_once_and_cost_nothing_later() {
    const NAMES: usize = 5000;
    let mut world = World::new(10);
    world.responses();
    let names = (0..NAMES).map(|n| format!("nowhere/{n}")).collect();
    world.ask(DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(ResourceKind::Endpoints) });
    let answers = world.responses();
    assert_eq!(answers.iter().map(|answer| answer.removed.len()).sum::<usize>(), NAMES);
    for answer in &answers {
        let nonce = answer.nonce.to_string();
        world.ask(DeltaDiscoveryRequest { response_nonce: nonce, ..request(answer.kind) });
    }
    assert!(world.responses().is_empty());
    for change in 0..100 {
        let before = world.session.status().work;
        world.change(change % 10);
        let told: Vec<_> = world.responses();
        assert!(
            told.iter().all(|response| response.kind == ResourceKind::Cluster && response.removed.is_empty())
        );
        let done = world.session.status().work - before;
        assert!(done <= 4, "{done} names were looked at for one change");
    }
}
