//! Where requests to a root service lead.

use std::sync::Arc;

use osm_core::ir::{OutboundRoute, OutboundService, ProxyIr};
use osm_core::model::{HttpMatch, HttpRouteGroup, MeshObject, Methods, Namespace, TrafficSplit};
use osm_core::snapshot::MeshSnapshot;
use osm_core::source::SourceEvent;
use osm_core::testing::told;

use crate::mesh::{
    codes, dialled, endpoints, http, ir, mesh, name, number, object, pod, service, split, target, tcp,
};

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
        OutboundRoute::Member(name) => format!("member of {name}"),
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
    let shop = Namespace::monitored("shop".parse().expect("a name"), "osm");
    let splits = [("some", "a"), ("other", "b")].map(|(name, group)| split_by(name, &[group], &[("v2", 1)]));
    let mut builder = told([MeshObject::from(shop)].into_iter().chain(splits.map(MeshObject::from)));
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
fn a_backend_that_speaks_another_protocol_than_the_root_is_named() {
    let snapshot = mesh([
        service("root", "a", 1, &[(80, number(8080), "http")]).into(),
        service("v1", "b", 2, &[(80, number(8080), "tcp")]).into(),
        split("root", &[("v1", 1)]).into(),
    ]);
    assert_eq!(codes(&snapshot), ["mixed-protocols spec.backends[0].service"]);
}
