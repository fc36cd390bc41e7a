//! The invariants that live in this crate, by name: each holds for random meshes,
//! and each check turns red on a planted violation.

mod complete;

use std::collections::BTreeSet;
use std::sync::Arc;

use osm_core::diagnostic::Origin;
use osm_core::ir::{Access, Egress, InboundAccess, ProxyIr, Requests};
use osm_core::model::{
    HttpMatch, HttpRouteGroup, MeshConfig, MeshObject, Methods, Namespace, RouteRule, Service, ServicePort,
    SplitBackend, TcpRoute, TrafficSplit, TrafficTarget, Workload,
};
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_core::testing::invariant::{
    check_i2, check_i3, check_i4, check_i9, check_i10, check_i13, check_i15, check_i16, origins,
};
use osm_core::testing::{from_scratch, history, play, proxies, told};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

fn irs(snapshot: &MeshSnapshot) -> impl Iterator<Item = ProxyIr> {
    proxies()
        .into_iter()
        .filter_map(|proxy| policy::compile(snapshot, &proxy).ok())
        .map(|compiled| compiled.ir)
}

fn verdict(verdict: Result<(), String>) -> Result<(), TestCaseError> {
    verdict.map_err(TestCaseError::fail)
}

fn port(number: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(number).expect("not 0")
}

/// A small mesh by hand: a buyer that may GET from a store, split over two
/// versions, and connect to a database.
fn shop() -> Vec<MeshObject> {
    let name = |text: &str| format!("shop/{text}").parse::<osm_core::name::QualifiedName>().expect("a name");
    let mut all: Vec<MeshObject> = vec![Namespace::monitored("shop".parse().expect("a name"), "osm").into()];
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    config.egress = true;
    all.push(config.into());
    for (index, (app, protocol)) in
        [("store", "http"), ("v1", "http"), ("db", "tcp"), ("other", "http")].iter().enumerate()
    {
        let mut service = Service::new(name(app));
        service.addresses.push(format!("10.96.0.{}", index + 1).parse().expect("an address"));
        service.selector.insert("app".to_owned(), (*app).to_owned());
        let mut written = ServicePort::new(protocol, port(80));
        written.app_protocol = Some((*protocol).to_owned());
        service.ports.push(written);
        all.push(service.into());
    }
    for (index, app) in ["store", "v1", "db", "other", "buyer"].iter().enumerate() {
        let mut pod = Workload::new(name(&format!("{app}-pod")), app.parse().expect("a name"));
        pod.labels.insert("app".to_owned(), (*app).to_owned());
        pod.addresses.push(format!("10.244.0.{}", index + 1).parse().expect("an address"));
        pod.ready = true;
        pod.proxy = Some(format!("proxy-{app}").parse().expect("a name"));
        all.push(pod.into());
    }
    let mut group = HttpRouteGroup::new(name("routes"));
    let methods = Methods::These(BTreeSet::from(["GET".to_owned()]));
    let get = HttpMatch {
        name: "get".to_owned(),
        path_regex: Some("/books".to_owned()),
        methods,
        headers: Vec::new(),
    };
    group.matches.push(get);
    all.push(group.into());
    let mut tcp = TcpRoute::new(name("ports"));
    tcp.ports = Some(BTreeSet::from([80]));
    all.push(tcp.into());
    for to in ["store", "v1", "db"] {
        let mut target = TrafficTarget::new(name(to), format!("shop/{to}").parse().expect("an identity"));
        target.sources.push("shop/buyer".parse().expect("an identity"));
        target.rules = match to {
            "db" => vec![RouteRule::Tcp { route: "ports".parse().expect("a name") }],
            _ => vec![RouteRule::Http { group: "routes".parse().expect("a name"), matches: None }],
        };
        all.push(target.into());
    }
    let mut split = TrafficSplit::new(name("split"), name("store"));
    split.backends =
        [("store", 3), ("v1", 1)].map(|(to, weight)| SplitBackend { service: name(to), weight }).into();
    all.push(split.into());
    all
}

fn ir_of(snapshot: &MeshSnapshot, app: &str) -> ProxyIr {
    let uuid = format!("proxy-{app}").parse().expect("a name");
    let proxy = osm_core::identity::ProxyId::new(uuid, format!("shop/{app}").parse().expect("an identity"));
    policy::compile(snapshot, &proxy).expect("the proxy is known").ir
}

/// Makes a bad edit of an object: one that grants less, or nothing, or makes no sense.
fn spoil(object: &mut MeshObject, how: u8) {
    let nowhere = || "nowhere".parse().expect("a name");
    match object {
        MeshObject::TrafficTarget(target) => match how {
            0 => target.sources.clear(),
            1 => target.rules = vec![RouteRule::Http { group: nowhere(), matches: None }],
            2 => target.rules = vec![RouteRule::Tcp { route: nowhere() }],
            3 => target.destination = "elsewhere/alice".parse().expect("an identity"),
            _ => target.rules.clear(),
        },
        MeshObject::HttpRouteGroup(group) => match how {
            0 => group.matches.clear(),
            _ => group.matches.iter_mut().for_each(|one| one.path_regex = Some("(?=bad)".to_owned())),
        },
        MeshObject::TcpRoute(route) => route.ports = Some(BTreeSet::new()),
        MeshObject::TrafficSplit(split) => match how {
            0 => split.backends.clear(),
            1 => split.backends.iter_mut().for_each(|backend| backend.weight = 0),
            2 => split.service.name = nowhere(),
            3 => split.matches = Some(vec![nowhere()]),
            _ => split.backends.iter_mut().for_each(|backend| backend.service.name = nowhere()),
        },
        MeshObject::Service(service) => match how {
            0 => service.ports.clear(),
            _ => service.ports.iter_mut().for_each(|port| port.app_protocol = Some("mongo".to_owned())),
        },
        MeshObject::MeshConfig(config) => config.name.name = nowhere(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i2_a_snapshot_never_changes_once_it_is_made(history in history(40)) {
        let (events, _) = play(&history);
        let mut builder = told([]);
        let mut seen: Vec<(Arc<MeshSnapshot>, String)> = Vec::new();
        for event in events {
            builder.apply(event);
            seen.extend(builder.build().map(|(snapshot, _)| (snapshot.clone(), format!("{snapshot:?}"))));
        }
        for (snapshot, text) in seen.iter().step_by(7) {
            prop_assert_eq!(&format!("{snapshot:?}"), text);
        }
    }

    #[test]
    fn i3_no_object_is_dropped_in_silence(history in history(40)) {
        let (_, objects) = play(&history);
        verdict(check_i3(&from_scratch(objects.clone()), &objects))?;
    }

    #[test]
    fn i4_the_ir_is_complete_and_in_order(history in history(40)) {
        for ir in irs(&from_scratch(play(&history).1)) {
            verdict(check_i4(&ir))?;
        }
    }

    #[test]
    fn i9_a_bad_edit_never_widens_access(history in history(40), which in any::<prop::sample::Index>(), how in 0..5u8) {
        let (_, objects) = play(&history);
        prop_assume!(!objects.is_empty());
        let mut edited = objects.clone();
        spoil(which.get_mut(&mut edited[..]), how);
        let (before, after) = (from_scratch(objects), from_scratch(edited));
        for proxy in proxies() {
            let (Ok(before), Ok(after)) = (policy::compile(&before, &proxy), policy::compile(&after, &proxy)) else {
                continue;
            };
            verdict(check_i9(&before.ir, &after.ir))?;
        }
    }

    #[test]
    fn i10_no_empty_list_stands_for_a_grant(history in history(40)) {
        for ir in irs(&from_scratch(play(&history).1)) {
            verdict(check_i10(&ir))?;
        }
    }

    #[test]
    fn i15_a_change_set_names_everything_that_differs(history in history(60), every in 1..6usize) {
        let (events, _) = play(&history);
        let mut builder = told([]);
        builder.build();
        for events in events.chunks(every) {
            events.iter().for_each(|event| builder.apply(event.clone()));
            let before = Arc::clone(builder.current());
            if let Some((after, change)) = builder.build() {
                verdict(check_i15(&before, &after, &change))?;
            }
        }
    }

    #[test]
    fn i16_every_decision_names_an_object_that_exists_or_a_default(history in history(40)) {
        let (_, objects) = play(&history);
        for ir in irs(&from_scratch(objects.clone())) {
            verdict(check_i16(&ir, &objects))?;
        }
    }
}

#[test]
fn i2_a_planted_difference_is_found() {
    let one = from_scratch(shop());
    assert_eq!(check_i2(&one, &from_scratch(shop().into_iter().rev())), Ok(()));
    let mut other = shop();
    other.pop();
    check_i2(&one, &from_scratch(other)).expect_err("a split less");
}

#[test]
fn i3_a_planted_silence_is_found() {
    let mut objects = shop();
    assert_eq!(check_i3(&from_scratch(objects.clone()), &objects), Ok(()));
    let snapshot = from_scratch(objects.clone());
    let mut lost =
        TrafficTarget::new("shop/lost".parse().expect("a name"), "shop/db".parse().expect("an identity"));
    lost.sources.push("shop/buyer".parse().expect("an identity"));
    objects.push(lost.clone().into());
    let found = check_i3(&snapshot, &objects).expect_err("the snapshot never heard of it");
    assert!(found.contains("shop/lost"), "{found}");
    // Once it has heard, it grants nothing and says so.
    assert_eq!(check_i3(&from_scratch(objects.clone()), &objects), Ok(()));
}

#[test]
fn i9_a_planted_grant_is_found() {
    let snapshot = from_scratch(shop());
    let (store, buyer) = (ir_of(&snapshot, "store"), ir_of(&snapshot, "buyer"));
    assert_eq!(check_i9(&store, &store), Ok(()));
    let origin = Origin::Default("planted");
    let mut open = store.clone();
    Arc::make_mut(&mut open.inbound[0]).access = InboundAccess::Http(Access::Everyone(origin.clone()));
    check_i9(&store, &open).expect_err("everyone is let in");
    let mut wider = store.clone();
    let InboundAccess::Http(Access::These(rules)) = &mut Arc::make_mut(&mut wider.inbound[0]).access else {
        panic!("the store has rules")
    };
    rules[0].requests = Requests::Any;
    check_i9(&store, &wider).expect_err("any request is let in");
    assert_eq!(check_i9(&wider, &store), Ok(()), "narrower is allowed");
    let mut reaches = buyer.clone();
    reaches.upstreams.remove(0);
    check_i9(&reaches, &buyer).expect_err("one more can be reached");
    let mut closed = buyer.clone();
    closed.egress = Egress::Refuse(origin);
    check_i9(&closed, &buyer).expect_err("egress is open");
}

#[test]
fn i9_a_source_that_is_lost_while_it_tells_everything_anew_leaves_the_last_good_state() {
    let mut builder = told(shop());
    let (before, _) = builder.build().expect("a snapshot");
    builder.apply(SourceEvent::Reset);
    builder.apply(SourceEvent::apply(shop().remove(0)));
    assert!(builder.build().is_none(), "nothing is in force until everything is told");
    SourceEvent::round(shop()).for_each(|event| builder.apply(event));
    assert!(builder.build().is_none(), "the same was told again");
    assert_eq!(check_i2(&before, builder.current()), Ok(()));
}

#[test]
fn i10_a_planted_empty_list_is_found() {
    let snapshot = from_scratch(shop());
    let (store, db, buyer) = (ir_of(&snapshot, "store"), ir_of(&snapshot, "db"), ir_of(&snapshot, "buyer"));
    assert_eq!(check_i10(&store).and(check_i10(&db)).and(check_i10(&buyer)), Ok(()));
    let mut nobody = store.clone();
    Arc::make_mut(&mut nobody.inbound[0]).access = InboundAccess::Http(Access::These(Vec::new()));
    check_i10(&nobody).expect_err("no rules");
    let mut no_principals = db.clone();
    let InboundAccess::Tcp(Access::These(rules)) = &mut Arc::make_mut(&mut no_principals.inbound[0]).access
    else {
        panic!("the database has rules")
    };
    rules[0].principals.clear();
    check_i10(&no_principals).expect_err("no principals");
    let mut no_requests = store.clone();
    let InboundAccess::Http(Access::These(rules)) = &mut Arc::make_mut(&mut no_requests.inbound[0]).access
    else {
        panic!("the store has rules")
    };
    rules[0].requests = Requests::These(Vec::new());
    check_i10(&no_requests).expect_err("no requests");
    let mut no_servers = buyer;
    Arc::make_mut(&mut no_servers.upstreams[0]).server_identities.clear();
    check_i10(&no_servers).expect_err("no servers");
}

#[test]
fn i13_model_types_can_not_be_serialised_as_the_crate_has_no_serde() {
    let arguments =
        ["tree", "--package", "osm-core", "--edges", "normal", "--prefix", "none", "--offline", "--locked"];
    let output = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("text");
    assert!(tree.starts_with("osm-core v") && tree.lines().count() > 5, "{tree}");
    assert_eq!(check_i13(&tree), Ok(()));
}

#[test]
fn i13_a_planted_serde_is_found() {
    check_i13("osm-core v0.1.0\nserde_core v1.0.229\n").expect_err("serde");
}

#[test]
fn i15_a_planted_omission_is_found() {
    let mut builder = told(shop());
    let (before, _) = builder.build().expect("a snapshot");
    for object in
        ["Pod shop/v1-pod", "TrafficTarget shop/db", "TrafficSplit shop/split", "Service shop/other"]
    {
        let fact =
            shop().into_iter().find(|known| known.object_ref().to_string() == object).expect("it exists");
        builder.apply(SourceEvent::Delete(fact.object_ref()));
        let (after, change) = builder.build().expect("it changed");
        assert_eq!(check_i15(&before, &after, &change), Ok(()), "{object}");
        check_i15(&before, &after, &Default::default()).expect_err(object);
        builder.apply(SourceEvent::apply(fact));
        builder.build();
    }
}

#[test]
fn i16_a_planted_origin_is_found() {
    let objects = shop();
    let snapshot = from_scratch(objects.clone());
    for app in ["buyer", "store", "db"] {
        let ir = ir_of(&snapshot, app);
        assert_eq!(check_i16(&ir, &objects), Ok(()));
        assert!(!ir.refused.is_empty(), "egress is open, so that what may not be reached is refused");
        // Without any one of the objects that it names, a decision has no origin.
        let named: BTreeSet<_> = origins(&ir).into_iter().map(|(_, _, origin)| origin.clone()).collect();
        let mut missed = 0;
        for object in &objects {
            let others: Vec<_> = objects.iter().filter(|other| *other != object).cloned().collect();
            assert_eq!(
                check_i16(&ir, &others).is_err(),
                named.contains(&object.origin()),
                "{:?}",
                object.object_ref()
            );
            missed += usize::from(named.contains(&object.origin()));
        }
        assert!(missed >= 3, "{missed}");
        let mut older = objects.clone();
        older.iter_mut().for_each(|object| object.meta_mut().generation += 1);
        check_i16(&ir, &older).expect_err("another generation");
        let mut planted = ir.clone();
        planted.egress = Egress::Refuse(objects[3].origin());
        check_i16(&planted, &objects).expect_err("a Service does not decide about egress");
        planted.egress = Egress::Refuse(Origin::Default(""));
        check_i16(&planted, &objects).expect_err("a default without a name");
    }
}
