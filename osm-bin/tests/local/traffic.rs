//! Traffic of every kind from pod to pod, through two real proxies: what rules,
//! splits, names and protocols mean to it, by the tables of calls and outcomes
//! that the representation alone is held against as well (`e2e/tests/traffic.rs`).

use std::time::{Duration, Instant};

use osm_bin::local::api::{DialRequest, Happening, HttpRequest, ProxyStatus};

use crate::LIMIT;
use crate::mesh::{Mesh, TestFolder};

const SEMANTICS: &str = include_str!("../../../e2e/scenarios/semantics.yaml");
const SEMANTICS_CALLS: &str = include_str!("../../../e2e/scenarios/semantics.calls");
const PERMISSIVE_CALLS: &str = include_str!("../../../e2e/scenarios/semantics-permissive.calls");
const PROTOCOLS: &str = include_str!("../../../e2e/scenarios/protocols.yaml");
const PROTOCOLS_CALLS: &str = include_str!("../../../e2e/scenarios/protocols.calls");

const SWITCH: &str = "enablePermissiveTrafficPolicyMode: ";
const CERTIFICATE: &str = "certificate: {";

/// The calls of a pod, and what must come of each.
#[derive(Default)]
struct Calls<'a> {
    pod: &'a str,
    calls: Vec<&'a str>,
    expected: Vec<&'a str>,
}

/// The calls of a table, pod by pod.
fn read(table: &str) -> Vec<Calls<'_>> {
    let mut all: Vec<Calls<'_>> = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(" -> ") {
            None => all.push(Calls { pod: line, ..Calls::default() }),
            Some((call, outcome)) => {
                let of_pod = all.last_mut().expect("a pod stands before its calls");
                of_pod.calls.push(call);
                of_pod.expected.push(outcome);
            }
        }
    }
    all
}

/// Makes the calls of a table until all that comes of them is what it says: new
/// endpoints and policy arrive a moment after pods are ready and files are written.
async fn hold(mesh: &Mesh<'_>, table: &str) {
    let deadline = Instant::now() + LIMIT;
    for Calls { pod, calls, expected } in read(table) {
        loop {
            let command = ["exec", pod, "--", "osm-traffic", "call"];
            let called = mesh.osm(&[&command[..], &calls].concat());
            assert!(called.status.success(), "is it built? run `cargo build --workspace`: {called:?}");
            let outcomes: Vec<String> = serde_json::from_slice(&called.stdout).expect("a list of outcomes");
            if outcomes == expected {
                break;
            }
            let wrong =
                calls.iter().zip(&expected).zip(&outcomes).filter(|((_, expected), got)| *expected != got);
            let wrong: Vec<_> = wrong
                .map(|((call, expected), got)| format!("{call} gave `{got}`, not `{expected}`"))
                .collect();
            assert!(Instant::now() < deadline, "calls of {pod}:\n{}", wrong.join("\n"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn up<'a>(folder: &'a TestFolder<'a>) -> Mesh<'a> {
    let mesh = Mesh::up(folder).await;
    mesh.until("all pods are ready and all proxies in sync", async || {
        let status = mesh.client.status().await.expect("a status");
        let in_sync = |proxy: &ProxyStatus| proxy.in_sync && proxy.refused.is_empty();
        status.pods.iter().all(|pod| pod.ready && pod.proxy.as_ref().is_some_and(in_sync))
    })
    .await;
    mesh
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn rules_splits_and_names_mean_to_traffic_what_the_tables_say() {
    let folder = TestFolder::new(&[("mesh.yaml", SEMANTICS)]);
    let mesh = up(&folder).await;
    hold(&mesh, SEMANTICS_CALLS).await;
    let (strict, permissive) = (format!("{SWITCH}false"), format!("{SWITCH}true"));
    assert!(SEMANTICS.contains(&strict));
    folder.write("mesh.yaml", &SEMANTICS.replace(&strict, &permissive));
    hold(&mesh, PERMISSIVE_CALLS).await;
    folder.write("mesh.yaml", SEMANTICS);
    hold(&mesh, SEMANTICS_CALLS).await;
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn websockets_http2_and_grpc_pass_both_proxies_in_their_own_protocol() {
    let folder = TestFolder::new(&[("mesh.yaml", PROTOCOLS)]);
    let mesh = up(&folder).await;
    hold(&mesh, PROTOCOLS_CALLS).await;
    // Accounts that only pods name are there from the start: nothing is found and solved again.
    let events = mesh.client.events(0, Duration::ZERO).await.expect("events").events;
    let found: Vec<_> =
        events.iter().filter(|event| matches!(event.what, Happening::Findings { .. })).collect();
    assert!(found.is_empty(), "{found:?}");
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn keys_of_rsa_replace_others_while_requests_go_on() {
    let folder = TestFolder::new(&[("mesh.yaml", PROTOCOLS)]);
    let mesh = up(&folder).await;
    let page = DialRequest {
        identity: Some("shop/buyer".to_owned()),
        service: "shop/server".to_owned(),
        port: 80,
        http: Some(HttpRequest { path: "/page".to_owned(), ..HttpRequest::default() }),
        ..DialRequest::default()
    };
    let served = async || {
        let dialled = mesh.client.dial(&page).await.expect("an outcome");
        (dialled.http.map(|answer| answer.status), dialled.serial)
    };
    hold(&mesh, PROTOCOLS_CALLS).await;
    let mut last = served().await;
    for size in ["certKeyBitSize: 2048, ", "certKeyBitSize: 4096, ", ""] {
        folder.write("mesh.yaml", &PROTOCOLS.replace(CERTIFICATE, &format!("{CERTIFICATE}{size}")));
        mesh.until("another certificate is served", async || {
            let now = served().await;
            assert_eq!(now.0, Some(200), "requests go on");
            now.1 != last.1
        })
        .await;
        hold(&mesh, PROTOCOLS_CALLS).await;
        last = served().await;
    }
    mesh.down().await;
}
