//! By which names members of headless services are asked for, and whose a name is.

use osm_core::identity::ProxyId;
use osm_core::ir::ProxyClass;
use osm_core::model::{Endpoint, EndpointPort, EndpointSlice, MeshObject, Namespace, Workload};
use osm_core::policy;

use crate::members::{allowed, headless, member, members, names_of};
use crate::mesh::{endpoints, ir, mesh, name, number, object, port, service};

#[test]
fn a_pod_that_copies_the_name_of_a_member_or_of_its_proxy_takes_nothing_from_it() {
    let web = member("web-0", "web", 2);
    let proxy = ProxyId::new(web.proxy.clone().expect("a proxy"), web.identity());
    let class = |copy: Option<Workload>| {
        let mut objects: Vec<MeshObject> =
            vec![web.clone().into(), headless("web", &[(8080, number(8080), "http")]).into()];
        objects.extend(copy.map(MeshObject::from));
        objects.push(Namespace::monitored("bank".parse().expect("a name"), "osm").into());
        objects.push(allowed());
        // In whatever order they are told.
        let other: Vec<_> = objects.iter().rev().cloned().collect();
        let found = [mesh(objects), mesh(other)].map(|snapshot| policy::classify(&snapshot, &proxy));
        assert_eq!(found[0], found[1]);
        found[0].clone().expect("a class")
    };
    let names = |class: &ProxyClass| class.hostnames.values().flatten().map(ToString::to_string).collect();
    let before = class(None);
    let own: Vec<String> = names(&before);
    assert_eq!(own, ["web-0"]);
    // By name they are before the one that they copy.
    let mut elsewhere = member("a-copy", "web", 3);
    elsewhere.name.namespace = "bank".parse().expect("a name");
    let mut other_account = member("a-copy", "web", 3);
    other_account.service_account = object("thief");
    let mut own_proxy = member("a-copy", "web", 3);
    own_proxy.hostname.clone_from(&web.hostname);
    for (mut copy, has_its_own) in [(elsewhere, false), (other_account, false), (own_proxy, true)] {
        if !has_its_own {
            copy.proxy.clone_from(&web.proxy);
        }
        assert_eq!(class(Some(copy)), before);
    }
    // A pod of its own account that says it is beside its proxy adds its name, and takes none.
    let mut same = member("a-copy", "web", 3);
    same.proxy.clone_from(&web.proxy);
    let both: Vec<String> = names(&class(Some(same)));
    assert_eq!(both, ["a-copy", "web-0"]);
}

#[test]
fn two_members_of_one_name_are_each_dialled_at_their_own_address() {
    let mut second = member("web-1", "web", 3);
    second.hostname = Some("web-0".parse().expect("a host name"));
    let snapshot = mesh([
        member("web-0", "web", 2).into(),
        second.into(),
        headless("web", &[(8080, number(8080), "http")]).into(),
        allowed(),
    ]);
    assert_eq!(
        members(&ir(&snapshot, "buyer")),
        [
            "web-0 of shop/web:8080 at 10.244.0.2:8080 as web-0.web.shop.svc.cluster.local, itself",
            "web-0 of shop/web:8080 at 10.244.0.3:8080 as web-0.web.shop.svc.cluster.local, itself",
        ]
    );
}

#[test]
fn a_member_answers_for_every_name_that_slices_have_for_it() {
    let slice = |which: &str, hostname: &str| {
        let mut slice = EndpointSlice::new(name(which), name("web"));
        slice.ports.push(EndpointPort { name: "p8080".to_owned(), port: port(8080) });
        slice.endpoints.push(Endpoint {
            addresses: vec![[10, 244, 0, 2].into()],
            ready: true,
            workload: Some(object("web-0")),
            hostname: Some(hostname.parse().expect("a host name")),
        });
        slice
    };
    let snapshot = mesh([
        member("web-0", "web", 2).into(),
        headless("web", &[(8080, number(8080), "http")]).into(),
        slice("one", "a").into(),
        slice("two", "b").into(),
        allowed(),
    ]);
    let all = ["a.web.shop.svc.cluster.local", "b.web.shop.svc.cluster.local"];
    assert_eq!(names_of(&ir(&snapshot, "web-0").inbound[0]), all);
    let client = ir(&snapshot, "buyer");
    assert!(client.members.iter().all(|member| all.contains(&&*member.server_name)), "{client:?}");
}

#[test]
fn a_slice_says_what_members_are_called_and_who_is_ready() {
    let mut slice = EndpointSlice::new(name("web-1"), name("web"));
    slice.ports.push(EndpointPort { name: "p80".to_owned(), port: port(8080) });
    let endpoint = |pod: &str, host: u8, ready| Endpoint {
        addresses: vec![[10, 244, 0, host].into()],
        ready,
        workload: Some(object(pod)),
        hostname: Some(format!("host-{pod}").parse().expect("a host name")),
    };
    slice.endpoints = vec![endpoint("a", 2, true), endpoint("b", 3, false)];
    let normal = service("front", "server", 9, &[(80, number(8080), "http")]);
    let mut of_front = EndpointSlice::new(name("front-1"), normal.name.clone());
    of_front.ports.clone_from(&slice.ports);
    of_front.endpoints.clone_from(&slice.endpoints);
    let snapshot = mesh([
        member("a", "web", 2).into(),
        member("b", "web", 3).into(),
        headless("web", &[(80, number(8080), "http")]).into(),
        slice.into(),
        normal.into(),
        of_front.into(),
        allowed(),
    ]);
    let client = ir(&snapshot, "buyer");
    let called: Vec<_> = members(&client).iter().map(|text| text[..24].to_owned()).collect();
    assert_eq!(
        called,
        [
            "host-a of shop/web:80 at",
            "host-a of shop/web:80 at",
            "host-b of shop/web:80 at",
            "host-b of shop/web:80 at"
        ]
    );
    assert_eq!(endpoints(&client, "shop/web:80"), ["10.244.0.2:8080"]);
    // Who is not ready yet knows its name already; a service with an address has no members.
    let names = |pod| ir(&snapshot, pod).inbound.iter().map(|one| names_of(one)).collect::<Vec<_>>();
    assert_eq!(names("b"), [vec![], vec!["host-b.web.shop.svc.cluster.local".to_owned()]]);
}

#[test]
fn an_address_that_two_members_say_they_have_is_that_of_the_one_which_is_ready() {
    for other in ["web-0", "web-2"] {
        let mut old = member(other, "web", 2);
        old.ready = false;
        let objects: [MeshObject; 4] = [
            old.into(),
            member("web-1", "web", 2).into(),
            headless("web", &[(8080, number(8080), "http")]).into(),
            allowed(),
        ];
        let client = ir(&mesh(objects), "buyer");
        let names: Vec<_> = client.members.iter().map(|one| one.member.to_string()).collect();
        assert_eq!(names, ["web-1"]);
    }
}
