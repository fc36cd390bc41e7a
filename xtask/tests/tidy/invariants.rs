//! The invariants that are rules about source text hold, and a violation planted
//! into the real workspace is seen.

use xtask::tidy::tree::Tree;
use xtask::tidy::{Finding, invariants as rules};

use super::{broken, this};

type Rule = fn(&Tree) -> Vec<Finding>;

fn holds(rule: Rule) {
    assert_eq!(broken(rule(this())), Vec::<String>::new());
}

fn broken_in(path: &str, findings: Vec<Finding>) -> Vec<String> {
    broken(findings.into_iter().filter(|finding| finding.place == path).collect())
}

/// Plants each text as a file of the room, and expects one finding in it.
fn sees(rule: Rule, path: &str, offenders: &[&str]) {
    let tree = this();
    for text in offenders {
        let planted = tree.with(path, &format!("//! Planted.\n\n{text}\n"));
        let found = broken_in(path, rule(&planted));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("{path}:3: ")), "{}", found[0]);
    }
}

/// Plants each text, and expects that nothing is found: what looks like a violation is none.
fn lets_pass(rule: Rule, path: &str, texts: &[&str]) {
    let tree = this();
    for text in texts {
        let planted = tree.with(path, &format!("//! Planted: std::fs, async, serde.\n\n{text}\n"));
        assert_eq!(broken_in(path, rule(&planted)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn i1_the_core_knows_no_files_environment_network_or_clock() {
    holds(rules::core_is_pure);
}

#[test]
fn i1_planted_files_environment_network_and_clock_are_seen_in_the_core() {
    let offenders = [
        "use std::fs;",
        "use std::{collections::BTreeMap, env};",
        "fn f() -> bool { std::path::Path::new(\"x\").exists() }",
        "use std::net::{IpAddr, TcpStream};",
        "fn f() { let _ = std::time::SystemTime::now(); }",
        "use std::time::{Duration, Instant};",
        "use tokio::net::UnixStream;",
        "use kube::Api;",
    ];
    sees(rules::core_is_pure, "osm-core/src/policy/planted.rs", &offenders);
    let innocent = [
        "use std::net::IpAddr;\nuse std::time::Duration;",
        "const F: &str = \"std::fs::read and SystemTime::now\";",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    ];
    lets_pass(rules::core_is_pure, "osm-core/src/policy/planted.rs", &innocent);
}

#[test]
fn i6_generators_do_not_see_what_policy_decides_from() {
    holds(rules::generators_decide_nothing);
}

#[test]
fn i6_planted_policy_in_a_generator_is_seen() {
    let offenders = [
        "use osm_core::policy;",
        "fn f(x: &osm_core::catalog::Watch) {}",
        "use osm_core::{ir::ProxyIr, snapshot::Service};",
        "fn f(x: &MeshSnapshot) {}",
        "use crate::push::Engine;",
    ];
    sees(rules::generators_decide_nothing, "osm-xds/src/generate/planted.rs", &offenders);
    lets_pass(
        rules::generators_decide_nothing,
        "osm-xds/src/generate/planted.rs",
        &["use osm_core::ir::ProxyIr;"],
    );
    // Elsewhere in the same crate it is the engine's work.
    lets_pass(rules::generators_decide_nothing, "osm-xds/src/push/planted.rs", &["use osm_core::policy;"]);
}

#[test]
fn i8_the_session_does_no_io_and_asks_no_clock() {
    holds(rules::session_does_no_io);
}

#[test]
fn i8_planted_io_in_the_session_is_seen() {
    let offenders = [
        "use tokio::sync::mpsc;",
        "use tonic::Status;",
        "async fn f() {}",
        "use std::net::TcpStream;",
        "fn f() { let _ = std::fs::read(\"x\"); }",
        "fn f() { let _ = Instant::now(); }",
    ];
    sees(rules::session_does_no_io, "osm-xds/src/session/planted.rs", &offenders);
    lets_pass(rules::session_does_no_io, "osm-xds/src/server/planted.rs", &["use tonic::Status;"]);
}

#[test]
fn rooms_that_decide_never_wait() {
    holds(rules::still_rooms_never_wait);
}

#[test]
fn planted_waiting_is_seen_in_rooms_that_decide() {
    for path in [
        "osm-core/src/snapshot/planted.rs",
        "osm-core/src/policy/planted.rs",
        "osm-core/src/ir/planted.rs",
        "osm-xds/src/generate/planted.rs",
        "osm-xds/src/session/planted.rs",
        "osm-certs/src/manager/rotation.rs",
    ] {
        sees(rules::still_rooms_never_wait, path, &["async fn f() {}", "fn f() { g.await; }"]);
    }
}

#[test]
fn i11_no_debug_shows_a_private_key() {
    holds(rules::keys_are_not_shown);
}

#[test]
fn i11_planted_debug_of_a_private_key_is_seen() {
    let offenders = [
        "#[derive(Clone, Debug)]\npub struct PrivateKey(Vec<u8>);",
        "#[derive(Debug)]\n#[non_exhaustive]\npub struct Leaf { key: Zeroizing<Vec<u8>> }",
        "#[derive(Debug)]\nenum X { A(rustls::pki_types::PrivateKeyDer<'static>) }",
        "impl fmt::Display for PrivateKeyPem {}",
    ];
    sees(rules::keys_are_not_shown, "osm-certs/src/planted.rs", &offenders);
    let innocent = [
        "#[derive(Clone)]\npub struct PrivateKey(Zeroizing<Vec<u8>>);",
        "#[derive(Debug)]\npub struct Certificate { key: PrivateKey }",
    ];
    lets_pass(rules::keys_are_not_shown, "osm-certs/src/planted.rs", &innocent);
}

#[test]
fn i12_libraries_read_no_environment_and_install_nothing_global() {
    holds(rules::only_programs_are_global);
}

#[test]
fn i12_planted_environment_and_globals_are_seen_in_libraries() {
    let offenders = [
        "fn f() { let _ = std::env::var(\"X\"); }",
        "use std::env;",
        "fn f() { std::process::exit(1) }",
        "fn f() { tracing_subscriber::fmt::init() }",
        "use clap::Parser;",
        "fn f() { provider.install_default(); }",
    ];
    for path in ["osm-core/src", "osm-certs/src", "osm-xds/src", "osm-k8s/src"] {
        sees(rules::only_programs_are_global, &format!("{path}/planted.rs"), &offenders);
    }
    lets_pass(rules::only_programs_are_global, "osm-bin/src/planted.rs", &offenders);
}

#[test]
fn libraries_start_no_task_that_nobody_owns() {
    holds(rules::tasks_are_owned);
}

#[test]
fn planted_tasks_without_an_owner_are_seen() {
    let offenders = ["fn f() { tokio::spawn(g()); }", "use tokio::task::{JoinSet, spawn};"];
    sees(rules::tasks_are_owned, "osm-xds/src/planted.rs", &offenders);
    lets_pass(rules::tasks_are_owned, "osm-bin/src/planted.rs", &offenders);
    lets_pass(rules::tasks_are_owned, "osm-xds/tests/planted.rs", &offenders);
}

#[test]
fn i13_the_model_is_not_serialisable() {
    holds(rules::model_is_not_serialisable);
}

#[test]
fn i13_planted_serialisation_of_the_model_is_seen() {
    let offenders =
        ["#[derive(Clone, Serialize)]\nstruct X;", "use serde::Deserialize as D;", "use serde as s;"];
    let tree = this();
    for text in offenders {
        let planted = tree.with("osm-core/src/model/planted.rs", &format!("//! Planted.\n\n{text}\n"));
        let found = broken_in("osm-core/src/model/planted.rs", rules::model_is_not_serialisable(&planted));
        assert!(!found.is_empty(), "{text}");
    }
    lets_pass(rules::model_is_not_serialisable, "osm-k8s/src/manifest/planted.rs", &offenders);
}

#[test]
fn i14_features_only_add() {
    holds(rules::features_only_add);
}

#[test]
fn i14_planted_features_that_change_behaviour_are_seen() {
    let offenders = [
        "#[cfg(not(feature = \"x\"))]\nfn f() {}",
        "#[cfg(all(unix, not(feature = \"x\")))]\nfn f() {}",
        "fn f() { #[cfg(feature = \"x\")] g(); }",
        "fn f() -> bool { cfg!(feature = \"x\") }",
    ];
    for path in ["osm-certs/src/planted.rs", "osm-bin/src/planted.rs"] {
        sees(rules::features_only_add, path, &offenders);
    }
    let innocent =
        ["#[cfg(feature = \"x\")]\npub mod y;", "#[cfg(all(feature = \"x\", not(windows)))]\nfn f() {}"];
    lets_pass(rules::features_only_add, "osm-certs/src/planted.rs", &innocent);
}
