//! The list of expressions that the core is tested with says of each what a real
//! Envoy makes of it.

use osm_core::re2;
use osm_core::testing::{REGEXES, RegexVerdict};
use osm_e2e::validate::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// How many random expressions an Envoy is asked about at once.
const AT_ONCE: usize = 500;

/// A configuration with a route for each expression.
fn configuration(regexes: &[&str]) -> Value {
    let route = |regex: &&str| json!({ "match": { "safe_regex": { "regex": regex } }, "direct_response": { "status": 200 } });
    let routes: Vec<Value> = regexes.iter().map(route).collect();
    let http = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!({
        "static_resources": { "listeners": [{
            "name": "test",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 1 } },
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
                "@type": http,
                "stat_prefix": "test",
                "route_config": { "virtual_hosts": [{ "name": "test", "domains": ["*"], "routes": routes }] },
                "http_filters": [{ "name": "router", "typed_config": { "@type": router } }],
            } }] }],
        }] },
        "layered_runtime": { "layers": [
            { "name": "test", "static_layer": { "re2.max_program_size.error_level": 100_000 } },
        ] },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": 100,
            },
        }] },
    })
}

fn is_accepted(validator: &Validator, regexes: &[&str]) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.json");
    let text = configuration(regexes).to_string();
    std::fs::write(&file, &text).expect("a file");
    validator.check_file(&file, &text).map_err(|error| error.to_string())
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn envoy_accepts_and_refuses_the_expressions_of_the_list_as_it_says() {
    let validator = Validator::new().expect("an Envoy");
    for (verdict, regexes) in REGEXES {
        if *verdict == RegexVerdict::Refused {
            for regex in *regexes {
                assert!(is_accepted(&validator, &[regex]).is_err(), "{regex:?} was accepted");
            }
        } else {
            assert_eq!(is_accepted(&validator, regexes), Ok(()));
        }
    }
}

/// Expressions of all that expressions are made of, in any order.
fn expression() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        4 => "[ -~]",
        2 => prop::sample::select(vec![
            ".", "[a-z]", "[^/]", r"\d", r"\W", r"\pL", r"\PN", r"\b", "^", "$", "[[:alpha:]]", r"\x61", r"\.", "(?i)", "\0", "\n",
        ])
        .prop_map(str::to_owned),
    ];
    let group = |inner: &str| format!("({inner})");
    atom.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..6).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join("|")),
            2 => inner.clone().prop_map(move |inner| group(&inner)),
            2 => (inner.clone(), 0..1001_u32).prop_map(|(inner, times)| format!("({inner}){{{times}}}")),
            1 => (inner, prop::sample::select(vec!["*", "+", "?", "*?", "{2,}", "{0,9}", "**"]))
                .prop_map(|(inner, times)| format!("{inner}{times}")),
        ]
    })
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn whatever_is_let_through_an_envoy_accepts() {
    let validator = Validator::new().expect("an Envoy");
    let mut runner = TestRunner::deterministic();
    let strategy = expression();
    for _ in 0..4 {
        let mut let_through = Vec::new();
        while let_through.len() < AT_ONCE {
            let regex = strategy.new_tree(&mut runner).expect("a strategy without filters").current();
            if re2::check(&regex).is_ok() {
                let_through.push(regex);
            }
        }
        let refused = |regex: &&String| is_accepted(&validator, &[regex.as_str()]).is_err();
        let all: Vec<&str> = let_through.iter().map(String::as_str).collect();
        if is_accepted(&validator, &all).is_err() {
            panic!("an Envoy refuses {:?}", let_through.iter().find(refused));
        }
    }
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn an_envoy_without_the_meshs_settings_takes_programs_of_a_hundred_instructions_only() {
    let validator = Validator::new().expect("an Envoy");
    let mut plain = configuration(&["a{97}"]);
    plain.as_object_mut().expect("an object").remove("layered_runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.json");
    let text = plain.to_string();
    std::fs::write(&file, &text).expect("a file");
    let error = validator.check_file(&file, &text).expect_err("101 instructions").to_string();
    assert!(error.contains("program size of 101 > max program size of 100"), "{error}");
    assert_eq!(is_accepted(&validator, &["a{97}"]), Ok(()));
}
