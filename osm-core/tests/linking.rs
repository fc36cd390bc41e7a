//! Meshes by hand, and what linking and policy make of them: the corners that
//! random meshes reach seldom.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_core::ir::{Access, InboundAccess, OutboundRoute, OutboundService, ProxyIr};
use osm_core::model::{
    ContainerPort, Endpoint, EndpointPort, EndpointSlice, HttpMatch, HttpRouteGroup, MeshConfig, MeshObject,
    Methods, Namespace, RouteRule, Service, ServiceAccount, ServicePort, SplitBackend, TargetPort, TcpRoute,
    TrafficSplit, TrafficTarget, Workload,
};
use osm_core::name::{ObjectName, QualifiedName};
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_core::source::SourceEvent;

fn name(text: &str) -> QualifiedName {
    format!("shop/{text}").parse().expect("a name")
}

fn object(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

/// A ready pod with a proxy; its account is called as its application.
fn pod(pod: &str, app: &str, host: u8) -> Workload {
    let mut workload = Workload::new(name(pod), object(app));
    workload.labels.insert("app".to_owned(), app.to_owned());
    workload.addresses.push([10, 244, 0, host].into());
    workload.ready = true;
    workload.proxy = Some(pod.parse().expect("a name"));
    workload
}

/// A service of an application; each port as number, target and protocol.
fn service(service: &str, app: &str, host: u8, ports: &[(u16, TargetPort, &str)]) -> Service {
    let mut object = Service::new(name(service));
    object.selector.insert("app".to_owned(), app.to_owned());
    object.addresses.push([10, 96, 0, host].into());
    for (number, target, protocol) in ports {
        let mut written = ServicePort::new(&format!("p{number}"), port(*number));
        written.target = target.clone();
        written.app_protocol = Some((*protocol).to_owned());
        object.ports.push(written);
    }
    object
}

fn number(number: u16) -> TargetPort {
    TargetPort::Number(port(number))
}

fn named(name: &str) -> TargetPort {
    TargetPort::Name(name.to_owned())
}

fn target(target: &str, from: &str, to: &str, rules: &[RouteRule]) -> TrafficTarget {
    let identity = |app: &str| format!("shop/{app}").parse().expect("an identity");
    let mut object = TrafficTarget::new(name(target), identity(to));
    object.sources.push(identity(from));
    object.rules = rules.to_vec();
    object
}

fn http() -> RouteRule {
    RouteRule::Http { group: object("any"), matches: None }
}

fn tcp(route: &str) -> RouteRule {
    RouteRule::Tcp { route: object(route) }
}

fn split(root: &str, backends: &[(&str, u32)]) -> TrafficSplit {
    let mut object = TrafficSplit::new(name(&format!("split-{root}")), name(root));
    let backend = |(to, weight): &(&str, u32)| SplitBackend { service: name(to), weight: *weight };
    object.backends = backends.iter().map(backend).collect();
    object
}

/// The namespace, a buyer, a group of any request and a route of any port, and what is given.
fn mesh(objects: impl IntoIterator<Item = MeshObject>) -> Arc<MeshSnapshot> {
    let mut group = HttpRouteGroup::new(name("any"));
    group.matches.push(HttpMatch {
        name: "any".to_owned(),
        path_regex: None,
        methods: Methods::Any,
        headers: Vec::new(),
    });
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    builder.apply(SourceEvent::Reset);
    builder.apply(SourceEvent::apply(Namespace::monitored("shop".parse().expect("a name"), "osm")));
    builder.apply(SourceEvent::apply(pod("buyer", "buyer", 1)));
    builder.apply(SourceEvent::apply(group));
    builder.apply(SourceEvent::apply(TcpRoute::new(name("any"))));
    objects.into_iter().for_each(|object| builder.apply(SourceEvent::apply(object)));
    builder.apply(SourceEvent::Ready);
    builder.build();
    Arc::clone(builder.current())
}

fn ir(snapshot: &MeshSnapshot, pod: &str) -> ProxyIr {
    let workload = snapshot.workload(&name(pod)).expect("the pod is known");
    let proxy = ProxyId::new(workload.proxy.clone().expect("a proxy"), workload.identity());
    policy::compile(snapshot, &proxy).expect("the proxy is known").ir
}

fn dialled(ir: &ProxyIr) -> Vec<String> {
    ir.outbound.iter().map(|service| service.name.to_string()).collect()
}

fn endpoints(ir: &ProxyIr, of: &str) -> Vec<String> {
    let found = ir.endpoints.iter().find(|part| part.name.to_string() == of).expect("an upstream");
    found.addresses.iter().map(|(address, port)| format!("{address}:{port}")).collect()
}

/// Who may reach an inbound port: for each rule its name and principals.
fn access(ir: &ProxyIr, service: &str, target_port: u16) -> String {
    let is_it = |part: &&Arc<_>| -> bool {
        let part: &osm_core::ir::InboundService = part;
        part.service == name(service) && part.target_port.get() == target_port
    };
    let Some(inbound) = ir.inbound.iter().find(is_it) else { return "not served".to_owned() };
    let rules: Vec<(String, String)> = match &inbound.access {
        InboundAccess::Http(Access::These(rules)) => {
            rules.iter().map(|rule| (rule.name.to_string(), format!("{:?}", rule.principals))).collect()
        }
        InboundAccess::Tcp(Access::These(rules)) => {
            rules.iter().map(|rule| (rule.name.to_string(), format!("{:?}", rule.principals))).collect()
        }
        InboundAccess::Http(Access::Nobody(_)) | InboundAccess::Tcp(Access::Nobody(_)) => {
            return "nobody".to_owned();
        }
        InboundAccess::Http(Access::Everyone(_)) | InboundAccess::Tcp(Access::Everyone(_)) => {
            return "everyone".to_owned();
        }
    };
    rules.into_iter().map(|(rule, principals)| format!("{rule} {principals}")).collect::<Vec<_>>().join("; ")
}

fn codes(snapshot: &MeshSnapshot) -> Vec<String> {
    snapshot.diagnostics().map(|found| format!("{} {}", found.code, found.field)).collect()
}

#[test]
fn a_service_account_with_dots_is_no_other_one() {
    let snapshot = mesh([
        pod("server", "a.b", 2).into(),
        service("web", "a.b", 1, &[(80, number(8080), "http")]).into(),
        target("t", "buyer", "a.b", &[http()]).into(),
    ]);
    let client = ir(&snapshot, "buyer");
    assert_eq!(dialled(&client), ["shop/web:80"]);
    assert_eq!(format!("{:?}", client.upstreams[0].server_identities), "{spiffe://cluster.local/a.b/shop}");
    assert_eq!(access(&ir(&snapshot, "server"), "web", 8080), "shop/t {spiffe://cluster.local/buyer/shop}");
}

#[test]
fn http_rules_open_http_ports_and_tcp_rules_open_the_ports_that_they_list() {
    let mut listed = TcpRoute::new(name("listed"));
    listed.ports = Some(BTreeSet::from([9001]));
    let both: Vec<MeshObject> = vec![
        pod("server", "server", 2).into(),
        service(
            "web",
            "server",
            1,
            &[(80, number(8080), "http"), (1, number(9001), "tcp"), (2, number(9002), "tcp")],
        )
        .into(),
        listed.into(),
    ];
    let buyer = "{spiffe://cluster.local/buyer/shop}";
    let cases = [
        (vec![http()], [format!("shop/t {buyer}"), "nobody".to_owned(), "nobody".to_owned()]),
        (vec![tcp("any")], ["nobody".to_owned(), format!("shop/t {buyer}"), format!("shop/t {buyer}")]),
        (vec![tcp("listed")], ["nobody".to_owned(), format!("shop/t {buyer}"), "nobody".to_owned()]),
        // The ports of a TCPRoute say nothing about ports that speak HTTP.
        (
            vec![http(), tcp("listed")],
            [format!("shop/t {buyer}"), format!("shop/t {buyer}"), "nobody".to_owned()],
        ),
    ];
    for (rules, want) in cases {
        let snapshot = mesh(both.iter().cloned().chain([target("t", "buyer", "server", &rules).into()]));
        let server = ir(&snapshot, "server");
        assert_eq!([8080, 9001, 9002].map(|port| access(&server, "web", port)), want, "{rules:?}");
        assert_eq!(dialled(&ir(&snapshot, "buyer")).len(), 3, "the server decides about single ports");
    }
}

#[test]
fn a_target_with_a_rule_to_nowhere_grants_what_its_other_rules_grant() {
    let nowhere = RouteRule::Http { group: object("nowhere"), matches: None };
    let snapshot = mesh([
        pod("server", "server", 2).into(),
        service("web", "server", 1, &[(80, number(8080), "http")]).into(),
        target("good", "buyer", "server", &[nowhere.clone(), http()]).into(),
        target("none", "buyer", "server", &[nowhere]).into(),
        target("typo", "buyer", "servr", &[http()]).into(),
    ]);
    assert!(access(&ir(&snapshot, "server"), "web", 8080).starts_with("shop/good "));
    assert_eq!(
        codes(&snapshot),
        [
            "target-to-nowhere spec.rules[0].name",
            "target-to-nowhere spec.rules[0].name",
            "target-to-nowhere spec.destination.name"
        ]
    );
}

#[test]
fn a_split_may_lead_back_to_its_root() {
    let objects: Vec<MeshObject> = vec![
        pod("v1", "v1", 2).into(),
        pod("v2", "v2", 3).into(),
        service("root", "v1", 1, &[(80, number(8080), "http")]).into(),
        service("v2", "v2", 2, &[(80, number(8080), "http")]).into(),
        split("root", &[("root", 3), ("v2", 1)]).into(),
        target("t1", "buyer", "v1", &[http()]).into(),
    ];
    let shares = |ir: &ProxyIr| match &ir.outbound[0].route {
        OutboundRoute::Weighted { backends, .. } => format!("{backends:?}"),
        other => format!("{other:?}"),
    };
    let snapshot = mesh(objects.clone());
    let client = ir(&snapshot, "buyer");
    assert_eq!(shares(&client), "{shop/root:80: 3}", "what may not be reached gets nothing");
    assert_eq!(endpoints(&client, "shop/root:80"), ["10.244.0.2:8080"]);

    let snapshot = mesh(objects.iter().cloned().chain([target("t2", "buyer", "v2", &[http()]).into()]));
    assert_eq!(shares(&ir(&snapshot, "buyer")), "{shop/root:80: 3, shop/v2:80: 1}");

    // Only a backend may be reached: the root can be dialled, and leads there.
    let others = objects.into_iter().filter(|object| !matches!(object, MeshObject::TrafficTarget(_)));
    let snapshot = mesh(others.chain([target("t2", "buyer", "v2", &[http()]).into()]));
    let client = ir(&snapshot, "buyer");
    assert_eq!(dialled(&client), ["shop/root:80", "shop/v2:80"]);
    assert_eq!(shares(&client), "{shop/v2:80: 1}");
    assert!(client.upstreams.iter().all(|upstream| upstream.name.service == name("v2")));
}

/// A mesh in which a buyer may reach a store, its version 2 and a database, all
/// of which the store has ports of.
fn shop(more: impl IntoIterator<Item = MeshObject>) -> Arc<MeshSnapshot> {
    let ports: &[_] = &[(80, number(8080), "http"), (3306, number(3306), "tcp")];
    let objects: [MeshObject; 6] = [
        pod("store", "store", 2).into(),
        pod("v2", "v2", 3).into(),
        service("store", "store", 1, ports).into(),
        service("v2", "v2", 2, ports).into(),
        target("t1", "buyer", "store", &[http(), tcp("any")]).into(),
        target("t2", "buyer", "v2", &[http(), tcp("any")]).into(),
    ];
    mesh(objects.into_iter().chain(more))
}

fn group_of(group: &str, paths: &[&str]) -> HttpRouteGroup {
    let mut object = HttpRouteGroup::new(name(group));
    let request = |path: &&str| HttpMatch {
        name: (*path).to_owned(),
        path_regex: Some((*path).to_owned()),
        methods: Methods::Any,
        headers: Vec::new(),
    };
    object.matches = paths.iter().map(request).collect();
    object
}

fn split_by(split_name: &str, groups: &[&str], backends: &[(&str, u32)]) -> TrafficSplit {
    let mut split = split("store", backends);
    split.name = name(split_name);
    split.matches = Some(groups.iter().map(|group| object(group)).collect());
    split
}

/// Where requests and connections to a port of the store lead, as they are tried.
fn routes(snapshot: &MeshSnapshot, port: u16) -> Vec<String> {
    let ir = ir(snapshot, "buyer");
    let is_it = |part: &&Arc<OutboundService>| part.name.to_string() == format!("shop/store:{port}");
    let dialled = ir.outbound.iter().find(is_it).expect("it can be dialled");
    let leads = |route: &OutboundRoute| match route {
        OutboundRoute::Single(to) => to.to_string(),
        OutboundRoute::Weighted { backends, .. } => format!("{backends:?}"),
        OutboundRoute::Unavailable { .. } => "nowhere".to_owned(),
    };
    let matched = dialled.matched.iter().map(|matched| {
        let paths: Vec<_> =
            matched.requests.iter().map(|request| request.path.as_deref().unwrap_or("any")).collect();
        format!("{} to {}", paths.join("|"), leads(&matched.route))
    });
    matched.chain([leads(&dialled.route)]).collect()
}

#[test]
fn a_split_with_matches_divides_those_requests_and_leaves_the_others_to_the_root() {
    let snapshot = shop([
        group_of("b", &["/b"]).into(),
        group_of("a", &["/a2", "/a1", "/a1"]).into(),
        split_by("some", &["b", "a"], &[("v2", 1)]).into(),
    ]);
    assert_eq!(routes(&snapshot, 80), ["/a1|/a2|/b to {shop/v2:80: 1}", "shop/store:80"]);
    assert_eq!(routes(&snapshot, 3306), ["shop/store:3306"], "connections have no requests to match");
    assert_eq!(codes(&snapshot), ["matches-without-requests spec.matches"]);
}

#[test]
fn splits_with_matches_are_tried_by_name_before_the_one_of_everything() {
    let snapshot = shop([
        group_of("a", &["/a"]).into(),
        group_of("b", &["/b"]).into(),
        split("store", &[("store", 1)]).into(),
        split_by("z", &["a"], &[("v2", 1)]).into(),
        split_by("y", &["b"], &[("v2", 2)]).into(),
    ]);
    let v2 = ["/b to {shop/v2:80: 2}", "/a to {shop/v2:80: 1}", "{shop/store:80: 1}"];
    assert_eq!(routes(&snapshot, 80), v2);
    assert_eq!(routes(&snapshot, 3306), ["{shop/store:3306: 1}"]);

    // One that every request fits leaves nothing to others, but for connections.
    let snapshot = shop([
        split("store", &[("store", 1)]).into(),
        split_by("y", &["any"], &[("v2", 1)]).into(),
        split_by("z", &["any"], &[("v2", 2)]).into(),
    ]);
    assert_eq!(routes(&snapshot, 80), ["{shop/v2:80: 1}"]);
    assert_eq!(routes(&snapshot, 3306), ["{shop/store:3306: 1}"]);
    assert!(codes(&snapshot).contains(&"duplicate-split spec.service".to_owned()));
}

#[test]
fn a_match_of_a_split_that_means_nothing_fits_no_request_and_says_so() {
    let with = |groups: &[&str]| {
        let snapshot = shop([
            group_of("good", &["/good"]).into(),
            group_of("bad", &["(?=bad)"]).into(),
            HttpRouteGroup::new(name("empty")).into(),
            split_by("some", groups, &[("v2", 1)]).into(),
        ]);
        let codes = codes(&snapshot).into_iter().filter(|code| !code.starts_with("matches-without-requests"));
        (routes(&snapshot, 80), codes.collect::<Vec<_>>())
    };
    let divided = ["/good to {shop/v2:80: 1}".to_owned(), "shop/store:80".to_owned()];
    let (routes, codes) = with(&["good", "nowhere", "bad", "empty"]);
    assert_eq!(routes, divided);
    let named = ["missing-route-group", "invalid-regex", "no-matches"];
    let at: Vec<String> =
        named.iter().zip(1..).map(|(code, index)| format!("{code} spec.matches[{index}].name")).collect();
    assert_eq!(codes, at);
    for nothing in [&[][..], &["nowhere"], &["bad"], &["empty"]] {
        let (routes, codes) = with(nothing);
        assert_eq!(routes, ["shop/store:80"], "{nothing:?}");
        assert_eq!(codes.last().map(String::as_str), Some("split-of-nothing spec.matches"), "{nothing:?}");
    }
}

#[test]
fn a_split_of_too_many_kinds_of_requests_is_not_in_force_and_says_so() {
    let with = |count: usize| {
        let paths: Vec<String> = (0..count).map(|number| format!("/{number}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        shop([group_of("a", &paths).into(), split_by("some", &["a"], &[("v2", 1)]).into()])
    };
    assert_eq!(routes(&with(256), 80).len(), 2);
    let snapshot = with(257);
    assert_eq!(routes(&snapshot, 80), ["shop/store:80"]);
    assert!(codes(&snapshot).contains(&"too-many-matches spec.matches".to_owned()));
}

#[test]
fn i15_a_change_of_a_group_concerns_the_roots_whose_splits_name_it() {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    builder.apply(SourceEvent::Reset);
    builder.apply(SourceEvent::apply(Namespace::monitored("shop".parse().expect("a name"), "osm")));
    builder.apply(SourceEvent::apply(split_by("some", &["a"], &[("v2", 1)])));
    builder.apply(SourceEvent::apply(split_by("other", &["b"], &[("v2", 1)])));
    builder.apply(SourceEvent::Ready);
    builder.build();
    let mut changed = |event: SourceEvent| {
        builder.apply(event);
        builder.build().map(|(snapshot, change)| {
            let splits = snapshot.splits_of(&name("store")).iter().map(|split| split.name.name.to_string());
            (change.services.into_iter().map(|name| name.to_string()).collect(), splits.collect())
        })
    };
    let concerned = |splits: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Some((owned(&["shop/store"]), owned(splits)))
    };
    let group = |paths: &[&str]| SourceEvent::apply(group_of("a", paths));
    assert_eq!(changed(group(&["/a"])), concerned(&["some"]));
    assert_eq!(changed(group(&["/b"])), concerned(&["some"]));
    assert_eq!(changed(group(&["/b"])), None);
    assert_eq!(changed(SourceEvent::apply(group_of("c", &["/c"]))), None, "nobody names it");
    let group = MeshObject::from(group_of("a", &[])).object_ref();
    assert_eq!(changed(SourceEvent::Delete(group)), concerned(&[]));
}

#[test]
fn a_source_that_is_nobody_is_named_until_it_is_somebody() {
    let target_from = |sources: &[&str]| {
        let mut target = target("t", "buyer", "buyer", &[http()]);
        target.sources =
            sources.iter().map(|from| format!("shop/{from}").parse().expect("an identity")).collect();
        target
    };
    let codes_of = |objects: Vec<MeshObject>| codes(&mesh(objects));
    let nobody = ["source-from-nowhere spec.sources"];
    assert_eq!(codes_of(vec![target_from(&["buyer", "buyr"]).into()]), nobody);
    let account = ServiceAccount::new(name("buyr"));
    assert_eq!(codes_of(vec![target_from(&["buyr"]).into(), account.into()]), [""; 0]);
    assert_eq!(codes_of(vec![target_from(&["buyr"]).into(), pod("p", "buyr", 7).into()]), [""; 0]);
    let many: Vec<String> = (0..7).map(|number| format!("x{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let snapshot = mesh([target_from(&many).into()]);
    let said = snapshot.diagnostics().next().expect("a finding").message.clone();
    assert!(said.contains("shop/x0, shop/x1, shop/x2, shop/x3, shop/x4 and 2 more"), "{said}");
}

#[test]
fn a_backend_that_speaks_another_protocol_than_the_root_is_named() {
    let snapshot = mesh([
        service("root", "a", 1, &[(80, number(8080), "http")]).into(),
        service("v1", "b", 2, &[(80, number(8080), "tcp")]).into(),
        split("root", &[("v1", 1)]).into(),
    ]);
    assert_eq!(codes(&snapshot), ["mixed-protocols spec.backends[0].service"]);
}

#[test]
fn a_pod_serves_each_of_its_services() {
    let snapshot = mesh([
        pod("server", "server", 2).into(),
        service("a", "server", 1, &[(80, number(8080), "http")]).into(),
        service("b", "server", 2, &[(81, number(8080), "http"), (82, number(9090), "tcp")]).into(),
        target("t", "buyer", "server", &[http(), tcp("any")]).into(),
    ]);
    let served: Vec<_> = ir(&snapshot, "server")
        .inbound
        .iter()
        .map(|part| format!("{} at {} as {}", part.service, part.target_port, part.server_name))
        .collect();
    assert_eq!(
        served,
        [
            "shop/a at 8080 as a.shop.svc.cluster.local",
            "shop/b at 8080 as b.shop.svc.cluster.local",
            "shop/b at 9090 as b.shop.svc.cluster.local"
        ]
    );
    assert_eq!(dialled(&ir(&snapshot, "buyer")), ["shop/a:80", "shop/b:81", "shop/b:82"]);
}

#[test]
fn ports_that_lead_to_one_port_of_the_pod_are_served_once_in_the_protocol_of_the_lowest() {
    let two = |protocol| {
        mesh([
            pod("server", "server", 2).into(),
            service("web", "server", 1, &[(81, number(8080), protocol), (80, number(8080), "http")]).into(),
            target("t", "buyer", "server", &[http(), tcp("any")]).into(),
        ])
    };
    let snapshot = two("grpc");
    assert_eq!(ir(&snapshot, "server").inbound.len(), 1);
    assert_eq!(codes(&snapshot), ["mixed-protocols spec.ports"]);
    let snapshot = two("http");
    assert_eq!((ir(&snapshot, "server").inbound.len(), codes(&snapshot).len()), (1, 0));
    let client = ir(&snapshot, "buyer");
    assert_eq!(dialled(&client), ["shop/web:80", "shop/web:81"]);
    assert_eq!(endpoints(&client, "shop/web:80"), endpoints(&client, "shop/web:81"));
}

#[test]
fn a_named_target_port_is_each_pods_own() {
    let with_port = |mut pod: Workload, number: u16| {
        pod.ports.push(ContainerPort { name: "web".to_owned(), port: port(number) });
        pod
    };
    let snapshot = mesh([
        with_port(pod("one", "server", 2), 8001).into(),
        with_port(pod("two", "server", 3), 8002).into(),
        pod("three", "server", 4).into(),
        service("web", "server", 1, &[(80, named("web"), "http")]).into(),
        target("t", "buyer", "server", &[http()]).into(),
    ]);
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8001", "10.244.0.3:8002"]);
    let served =
        |pod| ir(&snapshot, pod).inbound.iter().map(|part| part.target_port.get()).collect::<Vec<_>>();
    assert_eq!((served("one"), served("two"), served("three")), (vec![8001], vec![8002], vec![]));
    assert_eq!(codes(&snapshot), ["target-port-unknown spec.ports"]);
    let said = snapshot.diagnostics().next().expect("a finding").message.clone();
    assert!(said.starts_with("1 of 3 selected pods declare no port named `web`"), "{said}");
}

#[test]
fn a_headless_service_is_served_but_not_dialled_and_says_so() {
    let mut headless = service("web", "server", 1, &[(80, number(8080), "http")]);
    headless.addresses.clear();
    let snapshot = mesh([
        pod("server", "server", 2).into(),
        headless.into(),
        target("t", "buyer", "server", &[http()]).into(),
    ]);
    assert_eq!(dialled(&ir(&snapshot, "buyer")), Vec::<String>::new());
    assert!(access(&ir(&snapshot, "server"), "web", 8080).starts_with("shop/t "));
    assert_eq!(codes(&snapshot), ["headless-service spec.clusterIP"]);
}

#[test]
fn a_pod_without_proxy_or_not_ready_is_no_endpoint() {
    let mut bare = pod("bare", "server", 3);
    bare.proxy = None;
    let mut starting = pod("starting", "server", 4);
    starting.ready = false;
    let objects: Vec<MeshObject> = vec![
        pod("server", "server", 2).into(),
        bare.into(),
        starting.into(),
        service("web", "server", 1, &[(80, number(8080), "http")]).into(),
        target("t", "buyer", "server", &[http()]).into(),
    ];
    let snapshot = mesh(objects.clone());
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8080"]);
    assert_eq!(codes(&snapshot), ["endpoint-without-proxy spec.selector"]);
    assert!(
        access(&ir(&snapshot, "starting"), "web", 8080).starts_with("shop/t "),
        "it is ready to be ready"
    );

    // A slice says which pods are ready; it cannot lend an address that is not theirs.
    let mut slice = EndpointSlice::new(name("web-1"), name("web"));
    slice.ports.push(EndpointPort { name: "p80".to_owned(), port: port(8080) });
    let endpoint = |pod: &str, host: u8| Endpoint {
        addresses: vec![[10, 244, 0, host].into()],
        ready: true,
        workload: Some(object(pod)),
    };
    slice.endpoints =
        vec![endpoint("server", 2), endpoint("bare", 3), endpoint("starting", 4), endpoint("server", 9)];
    let snapshot = mesh(objects.into_iter().chain([slice.into()]));
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8080", "10.244.0.4:8080"]);
    assert_eq!(codes(&snapshot), ["endpoint-without-proxy spec.selector", "endpoint-outside-mesh "]);
}

#[test]
fn what_is_not_reachable_is_refused_only_where_it_would_leave_in_plaintext() {
    let objects: Vec<MeshObject> = vec![
        pod("server", "server", 2).into(),
        service("web", "server", 1, &[(80, number(8080), "http")]).into(),
    ];
    let config = |egress, permissive| {
        let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
        (config.egress, config.permissive) = (egress, permissive);
        MeshObject::from(config)
    };
    for (egress, permissive, refused, dials) in
        [(false, false, 0, 0), (true, false, 1, 0), (true, true, 0, 1), (false, true, 0, 1)]
    {
        let client = ir(&mesh(objects.iter().cloned().chain([config(egress, permissive)])), "buyer");
        assert_eq!((client.refused.len(), client.outbound.len()), (refused, dials), "{egress} {permissive}");
    }
}

#[test]
fn a_proxy_that_two_pods_claim_goes_to_the_next_when_the_first_leaves_the_mesh() {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let bank = || Namespace::monitored("bank".parse().expect("a name"), "osm");
    let mut first = pod("server", "server", 2);
    first.name = "bank/server".parse().expect("a name");
    let second = pod("server", "server", 3);
    builder.apply(SourceEvent::Reset);
    builder.apply(SourceEvent::apply(bank()));
    builder.apply(SourceEvent::apply(Namespace::monitored("shop".parse().expect("a name"), "osm")));
    builder.apply(SourceEvent::apply(first.clone()));
    builder.apply(SourceEvent::apply(second.clone()));
    builder.apply(SourceEvent::Ready);
    let proxy = second.proxy.clone().expect("a proxy");
    let (snapshot, _) = builder.build().expect("a snapshot");
    assert_eq!(snapshot.workload_of(&proxy).expect("a pod").name, first.name);
    assert_eq!(codes(&snapshot), ["duplicate-proxy metadata.labels[osm-proxy-uuid]"]);
    builder.apply(SourceEvent::Delete(MeshObject::from(bank()).object_ref()));
    let (snapshot, _) = builder.build().expect("a snapshot");
    assert_eq!(snapshot.workload_of(&proxy).expect("a pod").name, second.name);
    assert_eq!(codes(&snapshot), Vec::<String>::new());
}

#[test]
fn a_pod_that_copies_the_name_of_a_proxy_takes_nothing_from_it() {
    let store = pod("server", "server", 3);
    let proxy = ProxyId::new(store.proxy.clone().expect("a proxy"), store.identity());
    let server: MeshObject = service("server", "server", 1, &[(80, number(8080), "http")]).into();
    let alone = mesh([server.clone(), store.clone().into()]);
    let before = policy::classify(&alone, &proxy).expect("it is known");
    assert_eq!(before.serves.len(), 1);
    // By name it is before the one that it copies.
    let mut copy = pod("a-copy", "thief", 4);
    copy.proxy = store.proxy.clone();
    for identity in ["thief", "server"] {
        copy.service_account = identity.parse().expect("a name");
        let snapshot = mesh([server.clone(), store.clone().into(), copy.clone().into()]);
        assert_eq!(policy::classify(&snapshot, &proxy).as_ref(), Ok(&before), "copied by {identity}");
        assert_eq!(codes(&snapshot), ["duplicate-proxy metadata.labels[osm-proxy-uuid]"]);
    }
}
