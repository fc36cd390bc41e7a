//! A small fleet: the controller as a process, and proxies that connect to it.

use std::process::Command;

use serde_json::Value;

/// Measures a small mesh, and returns the figures.
fn measure(arguments: &[&str]) -> Value {
    let shape =
        ["--services=20", "--endpoints=2", "--proxies=20", "--servers=10", "--reach=5", "--changes=3"];
    measure_mesh(&shape, arguments)
}

/// The same of a mesh of this shape.
fn measure_mesh(shape: &[&str], arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_osm-fleet"))
        .args(shape)
        .arg("--idle=0")
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the program can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("changes"));
    serde_json::from_str(&std::fs::read_to_string(&json).expect("figures")).expect("JSON")
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {figures}"))
}

/// A change reaches the proxies that it concerns and no others, and each
/// resource that it changes is generated once for all of them.
fn assert_bounded(figures: &Value, most_generated: f64) {
    assert_eq!(
        number(figures, "/changes/proxies"),
        number(figures, "/changes/proxies_expected"),
        "{figures}"
    );
    assert!(number(figures, "/changes/generated") <= most_generated, "{figures}");
    assert_eq!(number(figures, "/changes/stray_bytes"), 0.0, "{figures}");
    assert!(number(figures, "/changes/latency_ms/max") > 0.0, "{figures}");
    assert!(
        number(figures, "/memory_bytes/idle") > 0.0 && number(figures, "/changes/cpu_ms") > 0.0,
        "{figures}"
    );
}

#[test]
#[ignore = "needs osm-controller: built by `cargo xtask test`"]
fn a_change_of_endpoints_reaches_those_who_may_reach_the_service() {
    for dialect in ["--dialect=delta", "--dialect=sotw"] {
        // Once as seen from the namespace; the server that leaves has a listener less.
        let figures = measure(&["--change=endpoint", dialect]);
        assert_bounded(&figures, 4.0);
    }
    assert_bounded(&measure(&["--change=endpoint", "--mode=permissive"]), 4.0);
}

#[test]
#[ignore = "needs osm-controller: built by `cargo xtask test`"]
fn a_change_of_a_split_reaches_those_who_may_reach_its_root() {
    // Of the root: listener, routes, cluster, endpoints.
    assert_bounded(&measure(&["--change=split"]), 4.0);
    assert_bounded(&measure(&["--change=split", "--mode=permissive", "--dialect=sotw"]), 4.0);
}

#[test]
#[ignore = "needs osm-controller: built by `cargo xtask test`"]
fn a_change_of_policy_reaches_both_ends_of_it() {
    // A server's routes; and all that a client needs to reach a service, when it may again.
    assert_bounded(&measure(&["--change=policy"]), 8.0);
    // Of each server that is connected: listener, routes, cluster of the application.
    assert_bounded(&measure(&["--change=route"]), 3.0 * 10.0);
}

#[test]
#[ignore = "needs osm-controller: built by `cargo xtask test`"]
fn a_change_of_one_service_reaches_as_many_as_see_it() {
    for change in ["--change=endpoint", "--change=split", "--change=route", "--change=policy"] {
        let figures = measure(&[change, "--seen-by=7"]);
        assert_bounded(&figures, 4.0 * 7.0);
        assert!(number(&figures, "/changes/proxies") >= 7.0, "{change}: {figures}");
    }
}

#[test]
#[ignore = "needs osm-controller: built by `cargo xtask test`"]
fn many_changes_arrive_however_fast_they_come() {
    let figures = measure(&["--rate=50", "--seconds=2", "--runs=2"]);
    let steady = &figures["runs"][1]["changes"];
    assert_eq!((number(steady, "/count"), number(steady, "/overtaken")), (100.0, 0.0), "{figures}");
    assert!(number(steady, "/latency_ms/max") > 0.0, "{figures}");
    let figures = measure(&["--burst=20"]);
    assert!(number(&figures, "/changes/pushes_max") >= 1.0, "{figures}");
    let figures = measure(&["--soak=200"]);
    assert!(number(&figures, "/changes/memory_last") > 0.0, "{figures}");
}

/// The folder of etcd and kube-apiserver.
#[allow(clippy::disallowed_methods, reason = "the tests are told by the environment where programs are")]
fn api_server() -> String {
    let programs = std::env::var("OSM_API_SERVER_PROGRAMS").expect("OSM_API_SERVER_PROGRAMS names a folder");
    format!("--api-server={programs}")
}

#[test]
#[ignore = "needs osm-controller, etcd and kube-apiserver: built by `cargo xtask test`"]
fn a_change_in_an_api_server_reaches_those_who_may_reach_the_service() {
    let figures = measure(&["--change=endpoint", &api_server()]);
    assert_bounded(&figures, 4.0);
    assert!(number(&figures, "/start/seconds") > 0.0, "{figures}");
    let figures = measure(&["--rate=40", "--seconds=1", &api_server()]);
    assert_eq!(number(&figures, "/changes/count"), 40.0, "{figures}");
}

#[test]
#[ignore = "needs osm-controller, etcd and kube-apiserver: built by `cargo xtask test`"]
fn the_root_is_exchanged_with_each_certificate_signed_once_more_and_no_proxy_lost() {
    let shape = ["--services=100", "--endpoints=1", "--servers=100", "--proxies=400", "--files-after=1"];
    let figures = measure_mesh(&shape, &["--exchange-root", &api_server()]);
    let identities = number(&figures, "/changes/identities");
    assert!(identities >= 200.0, "{figures}");
    // Those of the control plane's server are signed by both roots until it is known who believes which.
    assert!(number(&figures, "/changes/issued") <= identities + 3.0, "{figures}");
    // Both roots, the certificate, the new root: each may meet a new connection and be sent once more.
    assert!(number(&figures, "/changes/secrets_mean") >= 3.0, "{figures}");
    assert!(number(&figures, "/changes/secrets_max") <= 6.0, "{figures}");
    assert!(number(&figures, "/changes/connections") <= 3.0, "{figures}");
    assert_eq!(number(&figures, "/changes/disconnected"), 0.0, "{figures}");
}

#[test]
#[ignore = "needs osm-controller, etcd and kube-apiserver: built by `cargo xtask test`"]
fn admissions_are_measured_with_a_controller_of_their_own() {
    let output = Command::new(env!("CARGO_BIN_EXE_osm-admission"))
        .args(["--pods=200", &api_server()])
        .output()
        .expect("the program can be run");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("a minute at half a core"), "{said}{errors}");
}
