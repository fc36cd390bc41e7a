//! The list of expressions that the core is tested with says of each what a real
//! Envoy makes of it.

use osm_core::testing::{REGEXES, RegexVerdict};
use osm_e2e::validate::Validator;
use serde_json::{Value, json};

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
