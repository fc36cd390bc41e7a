//! Headless services, and their members one by one.

use std::sync::Arc;

use osm_core::ir::{OutboundRoute, ProxyIr};
use osm_core::model::{MeshConfig, MeshObject, Service, Workload};
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_core::testing::told;

use crate::mesh::{
    codes, dialled, endpoints, http, ir, mesh, name, named, number, object, pod, port, service, split,
    target, tcp,
};

/// A member of a StatefulSet with a headless service.
pub(crate) fn member(pod_name: &str, of: &str, host: u8) -> Workload {
    let mut workload = pod(pod_name, "server", host);
    workload.hostname = Some(pod_name.parse().expect("a host name"));
    workload.subdomain = Some(object(of));
    workload
}

pub(crate) fn headless(name: &str, ports: &[(u16, osm_core::model::TargetPort, &str)]) -> Service {
    let mut service = service(name, "server", 1, ports);
    service.headless = true;
    service
}

pub(crate) fn allowed() -> MeshObject {
    target("t", "buyer", "server", &[http(), tcp("any")]).into()
}

/// What a client dials member by member: each with its place, the name it is asked for by, and where it leads.
pub(crate) fn members(ir: &ProxyIr) -> Vec<String> {
    let text = |member: &Arc<osm_core::ir::OutboundMember>| {
        let leads = match &member.route {
            OutboundRoute::Member(name) if *name == member.name => "itself".to_owned(),
            other => format!("{other:?}"),
        };
        let (name, member_name, (address, port)) = (&member.name, &member.member, member.place);
        format!("{member_name} of {name} at {address}:{port} as {}, {leads}", member.server_name)
    };
    ir.members.iter().map(text).collect()
}

/// The names by which a member alone is asked for.
pub(crate) fn names_of(served: &osm_core::ir::InboundService) -> Vec<String> {
    served.member_names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_member_is_dialled_by_its_own_address_under_its_own_name() {
    let snapshot = mesh([
        member("web-0", "web", 2).into(),
        member("web-1", "web", 3).into(),
        headless("web", &[(80, number(8080), "http")]).into(),
        allowed(),
    ]);
    let client = ir(&snapshot, "buyer");
    assert_eq!(
        members(&client),
        [
            "web-0 of shop/web:80 at 10.244.0.2:80 as web-0.web.shop.svc.cluster.local, itself",
            "web-0 of shop/web:80 at 10.244.0.2:8080 as web-0.web.shop.svc.cluster.local, itself",
            "web-1 of shop/web:80 at 10.244.0.3:80 as web-1.web.shop.svc.cluster.local, itself",
            "web-1 of shop/web:80 at 10.244.0.3:8080 as web-1.web.shop.svc.cluster.local, itself",
        ]
    );
    assert_eq!(dialled(&client), ["shop/web:80"]);
    assert_eq!(endpoints(&client, "shop/web:80"), ["10.244.0.2:8080", "10.244.0.3:8080"]);
    assert_eq!(codes(&snapshot), Vec::<String>::new());
    for pod in ["web-0", "web-1"] {
        let served = ir(&snapshot, pod);
        let [served] = &served.inbound[..] else { panic!("{served:?}") };
        assert_eq!(&*served.server_name, "web.shop.svc.cluster.local");
        let own = format!("{pod}.web.shop.svc.cluster.local");
        assert_eq!(names_of(served), [own]);
    }
}

#[test]
fn a_service_that_has_no_address_yet_has_no_members_and_says_so() {
    let mut service = headless("web", &[(8080, number(8080), "http")]);
    service.addresses.clear();
    service.headless = false;
    let snapshot = mesh([member("web-0", "web", 2).into(), service.into(), allowed()]);
    let client = ir(&snapshot, "buyer");
    assert_eq!((members(&client).len(), dialled(&client).len()), (0, 0));
    assert!(ir(&snapshot, "web-0").inbound[0].member_names.is_empty());
    assert_eq!(codes(&snapshot), ["no-address spec.clusterIP"]);
}

#[test]
fn an_address_that_a_headless_service_says_it_has_is_nobodys() {
    let web = headless("web", &[(8080, number(8080), "http")]);
    let mut front = service("front", "server", 1, &[(8080, number(8080), "http")]);
    front.addresses.clone_from(&web.addresses);
    let snapshot = mesh([member("web-0", "web", 2).into(), web.into(), front.into(), allowed()]);
    let client = ir(&snapshot, "buyer");
    let front = client.outbound.iter().find(|one| one.name.to_string() == "shop/front:8080");
    assert_eq!(front.expect("it is dialled").addresses.len(), 1);
    assert!(members(&client).iter().all(|member| member.contains(" at 10.244.0.2:8080 ")));
    assert_eq!(codes(&snapshot), Vec::<String>::new());
}

#[test]
fn a_member_without_host_name_is_known_by_its_address_and_the_name_of_the_service() {
    let mut elsewhere = member("other", "db", 3);
    elsewhere.labels.insert("app".to_owned(), "server".to_owned());
    let snapshot = mesh([
        pod("bare", "server", 2).into(),
        elsewhere.into(),
        headless("web", &[(8080, number(8080), "tcp")]).into(),
        allowed(),
    ]);
    let client = ir(&snapshot, "buyer");
    assert_eq!(
        members(&client),
        [
            "10.244.0.2 of shop/web:8080 at 10.244.0.2:8080 as web.shop.svc.cluster.local, itself",
            "10.244.0.3 of shop/web:8080 at 10.244.0.3:8080 as web.shop.svc.cluster.local, itself",
        ]
    );
    assert_eq!(
        dialled(&client),
        Vec::<String>::new(),
        "without requests there is nothing to say of the service"
    );
    assert!(ir(&snapshot, "bare").inbound[0].member_names.is_empty());
}

#[test]
fn a_member_is_dialled_ready_or_not_and_is_an_endpoint_of_its_service_when_it_is_ready() {
    let mut web = member("web-0", "web", 2);
    let mut service = headless("web", &[(80, number(8080), "http")]);
    let dialled = |pod: &Workload, service: &Service| {
        let snapshot = mesh([pod.clone().into(), service.clone().into(), allowed()]);
        let client = ir(&snapshot, "buyer");
        (members(&client), endpoints(&client, "shop/web:80").len())
    };
    let ready = dialled(&web, &service);
    assert_eq!((ready.0.len(), ready.1), (2, 1), "at the port of the pod, and at that of the service");
    web.ready = false;
    assert_eq!(dialled(&web, &service), (ready.0.clone(), 0));
    service.publish_not_ready = true;
    assert_eq!(dialled(&web, &service), ready);
    web.proxy = None;
    assert_eq!(dialled(&web, &service), (Vec::new(), 0));
}

#[test]
fn a_port_of_the_service_is_dialled_only_where_it_means_one_port_of_all_members() {
    let with_port = |mut pod: Workload, number: u16| {
        pod.ports.push(osm_core::model::ContainerPort { name: "web".to_owned(), port: port(number) });
        pod
    };
    let snapshot = mesh([
        with_port(member("web-0", "web", 2), 8001).into(),
        with_port(member("web-1", "web", 3), 8002).into(),
        headless("web", &[(80, named("web"), "http")]).into(),
        allowed(),
    ]);
    let places: Vec<_> = ir(&snapshot, "buyer").members.iter().map(|one| one.place.1.get()).collect();
    assert_eq!(places, [8001, 8002]);
}

#[test]
fn two_headless_services_of_the_same_pods_share_the_place_and_the_governing_one_has_it() {
    let ports = [(8080, number(8080), "http")];
    let objects: Vec<MeshObject> = vec![
        member("web-0", "web", 2).into(),
        headless("a", &ports).into(),
        headless("b", &ports).into(),
        service("front", "server", 9, &ports).into(),
        allowed(),
    ];
    let whose = |snapshot: &MeshSnapshot| {
        ir(snapshot, "buyer")
            .members
            .iter()
            .map(|one| format!("{} of {}", one.member, one.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(whose(&mesh(objects.clone())), ["10.244.0.2 of shop/a:8080"]);
    let governed = objects.into_iter().chain([headless("web", &ports).into()]).collect::<Vec<_>>();
    assert_eq!(whose(&mesh(governed.clone())), ["web-0 of shop/web:8080"]);
    // The place goes to the next when its service goes, and both are named as changed.
    let snapshot = mesh(governed.clone());
    let all = ["shop/a:8080", "shop/b:8080", "shop/front:8080", "shop/web:8080"];
    assert_eq!(dialled(&ir(&snapshot, "buyer")), all, "by name each can be asked for");
    let shop = osm_core::model::Namespace::monitored("shop".parse().expect("a name"), "osm");
    let mut builder = told([MeshObject::from(shop)].into_iter().chain(governed));
    builder.build().expect("a snapshot");
    builder.apply(SourceEvent::Delete(MeshObject::from(headless("web", &ports)).object_ref()));
    let (_, change) = builder.build().expect("a change");
    assert_eq!(change.services.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/a", "shop/web"]);
}

#[test]
fn a_service_that_loses_its_places_keeps_its_names_and_its_split_says_that_pods_are_not_divided() {
    let ports = [(8080, number(8080), "http")];
    let shop = osm_core::model::Namespace::monitored("shop".parse().expect("a name"), "osm");
    let mut builder = told([
        MeshObject::from(shop),
        pod("buyer", "buyer", 1).into(),
        pod("bare", "server", 2).into(),
        headless("web", &ports).into(),
        service("next", "server", 9, &ports).into(),
        split("web", &[("next", 1)]).into(),
        permissive().into(),
    ]);
    let seen = |builder: &mut osm_core::snapshot::SnapshotBuilder| {
        builder.build().expect("a change");
        let client = ir(builder.current(), "buyer");
        let web = client.outbound.iter().find(|one| one.name.to_string() == "shop/web:8080");
        let is_divided = web.is_some_and(|web| matches!(web.route, OutboundRoute::Weighted { .. }));
        let is_dialled = client.members.iter().any(|one| one.name.service == name("web"));
        (is_divided, is_dialled, codes(builder.current()))
    };
    assert_eq!(seen(&mut builder), (true, true, vec![]));
    builder.apply(SourceEvent::apply(headless("front", &ports)));
    let other = "members-of-another spec.service".to_owned();
    assert_eq!(seen(&mut builder), (true, false, vec![other]));
    builder.apply(SourceEvent::Delete(MeshObject::from(headless("front", &ports)).object_ref()));
    assert_eq!(seen(&mut builder), (true, true, vec![]));
}

#[test]
fn a_finding_about_places_names_the_service_that_has_them_now() {
    let ports = [(8080, number(8080), "http")];
    let shop = osm_core::model::Namespace::monitored("shop".parse().expect("a name"), "osm");
    let mut builder = told([
        MeshObject::from(shop),
        pod("bare", "server", 2).into(),
        headless("first", &ports).into(),
        headless("second", &ports).into(),
        headless("web", &ports).into(),
        service("next", "server", 9, &ports).into(),
        split("web", &[("next", 1)]).into(),
        permissive().into(),
    ]);
    let owner = |builder: &mut osm_core::snapshot::SnapshotBuilder| {
        builder.build().expect("a change");
        let found = builder.current().diagnostics().find(|found| found.code == "members-of-another");
        found.map(|found| found.message.clone()).unwrap_or_default()
    };
    assert!(owner(&mut builder).contains("Service shop/first"));
    builder.apply(SourceEvent::Delete(MeshObject::from(headless("first", &ports)).object_ref()));
    let message = owner(&mut builder);
    assert!(message.contains("Service shop/second"), "{message}");
}

#[test]
fn a_service_that_claims_the_address_of_a_member_takes_it_and_says_so() {
    let mut thief = service("thief", "thief", 1, &[(8080, number(8080), "http")]);
    thief.addresses = vec![[10, 244, 0, 2].into()];
    let shop = osm_core::model::Namespace::monitored("shop".parse().expect("a name"), "osm");
    let mut builder = told([
        MeshObject::from(shop),
        pod("buyer", "buyer", 1).into(),
        member("web-0", "web", 2).into(),
        member("web-1", "web", 3).into(),
        headless("web", &[(8080, number(8080), "http")]).into(),
    ]);
    builder.apply(SourceEvent::apply(permissive()));
    builder.build().expect("a snapshot");
    let count = |builder: &osm_core::snapshot::SnapshotBuilder| ir(builder.current(), "buyer").members.len();
    assert_eq!(count(&builder), 2);
    builder.apply(SourceEvent::apply(thief.clone()));
    builder.build().expect("a change");
    assert_eq!(
        (count(&builder), codes(builder.current())),
        (1, vec!["member-address-taken spec.clusterIP".to_owned()])
    );
    builder.apply(SourceEvent::Delete(MeshObject::from(thief).object_ref()));
    builder.build().expect("a change");
    assert_eq!((count(&builder), codes(builder.current()).len()), (2, 0));
}

fn permissive() -> MeshConfig {
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    config.permissive = true;
    config
}

#[test]
fn members_are_reached_by_no_more_clients_than_their_service() {
    let two = [(8080, number(8080), "http"), (9000, number(9000), "tcp")];
    let mesh = |rules: &[osm_core::model::RouteRule]| {
        mesh([
            member("web-0", "web", 2).into(),
            headless("web", &two).into(),
            target("t", "buyer", "server", rules).into(),
        ])
    };
    let ports = |snapshot: &MeshSnapshot, pod: &str| {
        ir(snapshot, pod).members.iter().map(|member| member.name.port.get()).collect::<Vec<_>>()
    };
    assert_eq!(ports(&mesh(&[http()]), "buyer"), [8080]);
    assert_eq!(ports(&mesh(&[tcp("any")]), "buyer"), [9000]);
    assert_eq!(ports(&mesh(&[http(), tcp("any")]), "web-0"), Vec::<u16>::new());
}

#[test]
fn a_split_divides_what_is_asked_of_the_service_and_leaves_members_alone() {
    let snapshot = mesh([
        member("web-0", "web", 2).into(),
        pod("bare", "server", 3).into(),
        headless("web", &[(8080, number(8080), "http"), (9000, number(9000), "tcp")]).into(),
        service("next", "server", 9, &[(8080, number(8080), "http"), (9000, number(9000), "tcp")]).into(),
        split("web", &[("next", 1)]).into(),
        allowed(),
    ]);
    let client = ir(&snapshot, "buyer");
    let web =
        client.outbound.iter().find(|one| one.name.to_string() == "shop/web:8080").expect("it is dialled");
    assert!(matches!(web.route, OutboundRoute::Weighted { .. }), "{:?}", web.route);
    assert_eq!(web.otherwise, Some(OutboundRoute::Member(web.name.clone())));
    let leads: Vec<_> = client
        .members
        .iter()
        .map(|one| {
            format!("{} {} {}", one.member, one.name.port, matches!(one.route, OutboundRoute::Member(_)))
        })
        .collect();
    // Of a connection nothing is known but the address, which is the service's where it is nobody's name.
    assert_eq!(
        leads,
        ["10.244.0.3 8080 true", "web-0 8080 true", "10.244.0.3 9000 false", "web-0 9000 true"]
    );
    assert_eq!(codes(&snapshot), ["members-not-divided spec.service"]);
}

#[test]
fn members_that_a_client_may_not_reach_are_refused_where_strangers_are_let_through() {
    let mut config = permissive();
    config.permissive = false;
    config.egress = true;
    let snapshot = mesh([
        member("web-0", "web", 2).into(),
        member("web-1", "web", 3).into(),
        headless("web", &[(80, number(8080), "tcp")]).into(),
        config.into(),
    ]);
    let refused: Vec<_> = ir(&snapshot, "buyer")
        .refused
        .iter()
        .map(|one| format!("{} {:?}", one.member.as_ref().expect("a member"), one.places))
        .collect();
    assert_eq!(
        refused,
        [
            "web-0 {(10.244.0.2, 80)}",
            "web-0 {(10.244.0.2, 8080)}",
            "web-1 {(10.244.0.3, 80)}",
            "web-1 {(10.244.0.3, 8080)}",
        ]
    );
}
