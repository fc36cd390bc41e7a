//! What TrafficTargets grant, and what they do not.

use std::collections::BTreeSet;

use osm_core::model::{MeshConfig, MeshObject, RouteRule, ServiceAccount, TcpRoute};
use osm_core::snapshot::MeshOptions;

use crate::mesh::{access, codes, dialled, http, ir, mesh, name, number, object, pod, service, target, tcp};

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
        let open = want.iter().filter(|access| *access != "nobody").count();
        assert_eq!(dialled(&ir(&snapshot, "buyer")).len(), open, "a closed port is not dialled: {rules:?}");
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
