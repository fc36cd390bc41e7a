//! What a change costs follows the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_core::model::{
    EndpointPort, HttpRouteGroup, MeshObject, RouteRule, ServicePort, TcpRoute, TrafficTarget,
};
use osm_core::snapshot::SnapshotBuilder;
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_xds::generate::names;
use osm_xds::push::{Engine, SubscriptionId, Work};
use osm_xds::resource::{ResourceKey, ResourceKind, ResourceName};
use osm_xds::view::{View, ViewSender, ViewWatch};

use crate::from_scratch;

/// The service that changes.
pub(crate) const SERVICE: usize = 3;

/// A fleet whose clients are connected, and the servers of the service that changes.
pub(crate) struct Mesh {
    fleet: Fleet,
    pub(crate) builder: SnapshotBuilder,
    engine: Engine,
    watches: BTreeMap<String, (ViewWatch, Arc<View>)>,
}

/// What a change took.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) work: Work,
    /// How many proxies were given a new view.
    proxies: usize,
    /// What became different for each proxy for which something did.
    pub(crate) changed: BTreeMap<String, BTreeSet<ResourceKey>>,
}

impl Mesh {
    pub(crate) fn new(fleet: Fleet, more: Vec<MeshObject>) -> Self {
        let objects = fleet.objects().into_iter().chain(more).collect();
        let (builder, snapshot) = from_scratch(objects);
        let mut engine = Engine::new(snapshot);
        engine.on_trust("a root");
        let servers = (0..fleet.endpoints).map(|endpoint| server(SERVICE, endpoint));
        let proxies = (0..fleet.clients).map(|client| fleet.client_proxy(client)).chain(servers);
        let mut watches = BTreeMap::new();
        for (number, proxy) in proxies.enumerate() {
            let sender = ViewSender::new(None);
            let (name, watch) = (proxy.uuid.to_string(), sender.watch());
            engine.subscribe(SubscriptionId::new(number as u64), proxy, sender);
            let view = watch.current().expect("its workload is known");
            watches.insert(name, (watch, view));
        }
        Self { fleet, builder, engine, watches }
    }

    pub(crate) fn apply(&mut self, object: MeshObject) -> Cost {
        self.builder.apply(SourceEvent::apply(object));
        let (snapshot, change) = self.builder.build().expect("a change");
        assert!(!change.is_empty() && !change.settings);
        self.measure(|engine| engine.on_snapshot(snapshot, &change))
    }

    fn measure(&mut self, news: impl FnOnce(&mut Engine) -> usize) -> Cost {
        let before = self.engine.work();
        let proxies = news(&mut self.engine);
        let work = self.engine.work() - before;
        let mut changed = BTreeMap::new();
        for (name, (watch, seen)) in &mut self.watches {
            let view = watch.current().expect("it had one");
            let keys = view.changed_since(seen);
            if !keys.is_empty() {
                changed.insert(name.clone(), keys);
            }
            *seen = view;
        }
        Cost { work, proxies, changed }
    }
}

fn server(service: usize, endpoint: usize) -> ProxyId {
    let identity = format!("fleet/s{service}").parse().expect("a valid identity");
    ProxyId::new(format!("server-{service}-{endpoint}").parse().expect("a valid UUID"), identity)
}

pub(crate) fn fleet(services: usize, clients: usize, permissive: bool) -> Fleet {
    Fleet { services, endpoints: 2, clients, reach: 10, permissive }
}

fn secret(name: &str) -> ResourceKey {
    ResourceKey::new(ResourceKind::Secret, ResourceName::new(name))
}

/// The costs of a change at 100 services and 10 clients, at 1,000 services, and
/// at 1,000 clients: the same resources are generated.
pub(crate) fn costs(
    permissive: bool,
    more: impl Fn(&Fleet) -> Vec<MeshObject>,
    change: impl Fn(&Fleet) -> MeshObject,
) -> [Cost; 3] {
    let costs = [(100, 10), (1000, 10), (100, 1000)].map(|(services, clients)| {
        let fleet = fleet(services, clients, permissive);
        let mut mesh = Mesh::new(fleet, more(&fleet));
        mesh.apply(change(&mesh.fleet.clone()))
    });
    let generated = costs.each_ref().map(|cost| cost.work.generated);
    assert_eq!(generated, [generated[0]; 3], "permissive: {permissive}");
    costs
}

fn nothing_more(_: &Fleet) -> Vec<MeshObject> {
    Vec::new()
}

#[test]
fn one_endpoint_costs_the_same_whatever_the_size_of_the_mesh() {
    for permissive in [true, false] {
        let costs = costs(permissive, nothing_more, |fleet| fleet.slice(SERVICE, 1).into());
        let [small, _, many_proxies] = &costs;
        // Once, though its own namespace has other names for it.
        assert!(small.work.generated == 1 && many_proxies.work.compiled <= 6, "{small:?}");
        // By those of its own namespace, and by all, however many identities these have.
        assert_eq!(costs.each_ref().map(|cost| cost.work.compared), [2; 3]);
        let cluster = ResourceKey::new(ResourceKind::Endpoints, ResourceName::new("fleet/s3|80"));
        for (name, keys) in costs.iter().flat_map(|cost| &cost.changed) {
            // The server that is no endpoint any more serves nothing any more.
            if name != "server-3-1" {
                assert_eq!(keys, &BTreeSet::from([cluster.clone()]), "{name}");
            }
        }
    }
}

#[test]
fn a_split_costs_the_same_whatever_the_size_of_the_mesh() {
    for permissive in [true, false] {
        let costs = costs(permissive, nothing_more, |_| Fleet::split(SERVICE, 7).into());
        assert!(costs[0].work.generated <= 4, "{:?}", costs[0]);
    }
}

/// A group that only what names it is concerned with.
fn group(path: &str) -> MeshObject {
    let mut group = HttpRouteGroup::new("fleet/own".parse().expect("a valid name"));
    group.matches = Fleet::group(path).matches;
    group.into()
}

#[test]
fn the_requests_of_a_split_cost_the_same_whatever_the_size_of_the_mesh_and_concern_clients_only() {
    let own = |_: &Fleet| {
        let mut split = Fleet::split(SERVICE, 7);
        split.matches = Some(vec!["own".parse().expect("a valid name")]);
        vec![group("/a"), split.into()]
    };
    let routes = ResourceKey::new(ResourceKind::Route, ResourceName::new("rds-outbound.fleet/s3_80"));
    for permissive in [true, false] {
        for cost in costs(permissive, own, |_| group("/b")) {
            assert!(cost.work.generated <= 4 && !cost.changed.is_empty(), "{cost:?}");
            assert!(cost.changed.values().all(|keys| *keys == BTreeSet::from([routes.clone()])), "{cost:?}");
        }
    }
}

#[test]
fn a_route_costs_the_same_whatever_the_size_of_the_mesh_and_concerns_its_servers_only() {
    let own = |fleet: &Fleet| {
        let mut target = fleet.target(SERVICE);
        target.rules = vec![RouteRule::Http { group: "own".parse().expect("a valid name"), matches: None }];
        vec![group("/a"), target.into()]
    };
    for cost in costs(false, own, |_| group("/b")) {
        // The routes, and what is written beside them.
        assert!(cost.work.generated <= 3 && cost.proxies == 2, "{cost:?}");
        let routes = ResourceKey::new(ResourceKind::Route, ResourceName::new("rds-inbound.fleet/s3_80"));
        assert!(cost.changed.values().all(|keys| *keys == BTreeSet::from([routes.clone()])), "{cost:?}");
    }
}

#[test]
fn a_policy_of_one_service_concerns_nobody_who_is_not_named() {
    let widened = |fleet: &Fleet| {
        let mut target = fleet.target(SERVICE);
        target.sources.push("fleet/c9".parse().expect("a valid identity"));
        target.into()
    };
    let [few, more_services, many] = costs(false, nothing_more, widened);
    for (cost, clients) in [(few, 1), (more_services, 1), (many, 10)] {
        assert_eq!(cost.proxies, clients + 2, "the clients of that account and the two servers");
        assert_eq!(cost.changed.len(), clients + 2, "{cost:?}");
        // The routes at the servers, and at most what reaching the service takes.
        assert!(cost.work.generated <= 10, "{cost:?}");
    }
}

/// What makes the service that changes one of TCP, with a policy of its own.
fn over_tcp(fleet: &Fleet) -> Vec<MeshObject> {
    let mut service = Fleet::service(SERVICE);
    service.ports = vec![ServicePort::new("tcp-db", std::num::NonZeroU16::new(80).expect("not 0"))];
    let mut slice = fleet.slice(SERVICE, 2);
    slice.ports = vec![EndpointPort { name: "tcp-db".to_owned(), ..slice.ports[0].clone() }];
    let route = TcpRoute::new("fleet/all".parse().expect("a valid name"));
    vec![service.into(), slice.into(), tcp_target(fleet).into(), route.into()]
}

fn tcp_target(fleet: &Fleet) -> TrafficTarget {
    let mut target = fleet.target(SERVICE);
    target.rules = vec![RouteRule::Tcp { route: "all".parse().expect("a valid name") }];
    target
}

#[test]
fn a_policy_of_a_tcp_service_is_one_secret_for_its_servers() {
    let own = secret("root-cert-for-mtls-inbound:fleet/s3_80");
    let widened = |fleet: &Fleet| {
        let mut target = tcp_target(fleet);
        target.sources.push("fleet/c9".parse().expect("a valid identity"));
        target.into()
    };
    for cost in costs(false, over_tcp, widened) {
        let servers: Vec<_> = cost.changed.iter().filter(|(name, _)| name.starts_with("server")).collect();
        assert_eq!(servers.len(), 2);
        assert!(servers.iter().all(|(_, keys)| **keys == BTreeSet::from([own.clone()])), "{cost:?}");
        // The secret, what is written beside it, and what reaching the service takes.
        assert!(cost.work.generated <= 10, "{cost:?}");
    }
    let fleet = fleet(100, 1000, false);
    let mut mesh = Mesh::new(fleet, over_tcp(&fleet));
    mesh.apply(widened(&fleet));
    let (_, seen) = &mesh.watches["server-3-0"];
    let bytes = seen.get(&own).expect("the secret").body.len();
    assert!(bytes <= 5_000, "{bytes} bytes for 11 clients");
}

/// Takes a port from all whom targets of [`over_tcp`] let connect to it.
fn without_its_port(_: &Fleet) -> MeshObject {
    let mut route = TcpRoute::new("fleet/all".parse().expect("a valid name"));
    route.ports = Some(BTreeSet::from([9999]));
    route.into()
}

#[test]
fn a_port_that_is_taken_from_clients_costs_the_same_whatever_the_size_of_the_mesh() {
    let listener = ResourceKey::new(ResourceKind::Listener, ResourceName::new("outbound_fleet/s3_80_tcp"));
    for (cost, clients) in costs(false, over_tcp, without_its_port).iter().zip([4, 4, 100]) {
        let (servers, lost): (Vec<_>, Vec<_>) =
            cost.changed.iter().partition(|(name, _)| name.starts_with("server"));
        assert_eq!((servers.len(), lost.len(), cost.proxies), (2, clients, clients + 2), "{cost:?}");
        assert!(lost.iter().all(|(_, keys)| keys.contains(&listener)), "{cost:?}");
        assert!(cost.work.generated <= 10, "{cost:?}");
    }
}

#[test]
fn a_change_of_a_service_reaches_only_the_proxies_that_see_it() {
    let mut mesh = Mesh::new(fleet(100, 1000, false), Vec::new());
    let cost = mesh.apply(mesh.fleet.slice(SERVICE, 1).into());
    assert_eq!(
        cost.proxies, 101,
        "10 identities with 10 clients each reach service 3; one server is no endpoint any more"
    );
    assert_eq!((cost.work.views, cost.changed.len()), (101, 101));
}

#[test]
fn a_renewed_certificate_is_one_secret_for_the_proxies_of_its_identity() {
    for permissive in [true, false] {
        let mut mesh = Mesh::new(fleet(100, 1000, permissive), Vec::new());
        let identity = "fleet/c7".parse().expect("a valid identity");
        for chain in ["one", "two"] {
            let cost = mesh.measure(|engine| engine.on_certificate(&identity, chain, "key"));
            assert_eq!((cost.work.generated, cost.work.compiled, cost.proxies), (1, 0, 10));
            assert_eq!(cost.changed.len(), 10);
            let expected = BTreeSet::from([secret(names::CERTIFICATE_SECRET)]);
            assert!(cost.changed.values().all(|keys| *keys == expected), "{cost:?}");
        }
        let again = mesh.measure(|engine| engine.on_certificate(&identity, "two", "key"));
        assert_eq!((again.proxies, again.changed.len()), (0, 0), "it is the same");
        let nobody = "fleet/nobody".parse().expect("a valid identity");
        let cost = mesh.measure(|engine| engine.on_certificate(&nobody, "one", "key"));
        assert_eq!((cost.work, cost.proxies), (Work::default(), 0), "nobody has this identity");
    }
}

#[test]
fn another_root_is_one_secret_for_each_proxy_and_one_for_each_tcp_service_that_it_serves() {
    for (services, clients) in [(100, 10), (1000, 10), (100, 1000)] {
        let fleet = fleet(services, clients, false);
        let mut mesh = Mesh::new(fleet, over_tcp(&fleet));
        let cost = mesh.measure(|engine| engine.on_trust("another root"));
        assert_eq!((cost.work.compiled, cost.proxies), (0, clients + 2));
        let trust = secret(names::TRUST_SECRET);
        let own = secret("root-cert-for-mtls-inbound:fleet/s3_80");
        for (name, keys) in &cost.changed {
            let mut expected = BTreeSet::from([trust.clone()]);
            if name.starts_with("server") {
                expected.insert(own.clone());
            }
            assert_eq!(keys, &expected, "{name}");
        }
        assert_eq!(cost.changed.len(), clients + 2);
        // With the listener of all outgoing connections, which is written beside it.
        assert!(cost.work.generated <= 3, "{:?}", cost.work);
        assert_eq!(mesh.measure(|engine| engine.on_trust("another root")).proxies, 0);
    }
}
