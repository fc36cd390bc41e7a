//! Traffic of every kind from pod to pod, through two real proxies: what rules,
//! splits, names and protocols mean to it, by the tables of calls and outcomes
//! that the representation alone is held against as well (`e2e/tests/traffic.rs`).

use std::time::{Duration, Instant};

use osm_bin::local::api::{DialRequest, Happening, HttpRequest, ProxyStatus};

use crate::mesh::{Mesh, TestFolder};
use crate::within::within;
use crate::{LIMIT, PAUSE};

pub(crate) const SEMANTICS: &str = include_str!("../../../e2e/scenarios/semantics.yaml");
pub(crate) const SEMANTICS_CALLS: &str = include_str!("../../../e2e/scenarios/semantics.calls");
const PERMISSIVE_CALLS: &str = include_str!("../../../e2e/scenarios/semantics-permissive.calls");
const PROTOCOLS: &str = include_str!("../../../e2e/scenarios/protocols.yaml");
const PROTOCOLS_CALLS: &str = include_str!("../../../e2e/scenarios/protocols.calls");

const MEMBERS: &str = include_str!("../../../e2e/scenarios/members.yaml");
const MEMBERS_CALLS: &str = include_str!("../../../e2e/scenarios/members.calls");
const MEMBERS_PERMISSIVE_CALLS: &str = include_str!("../../../e2e/scenarios/members-permissive.calls");

const SPLIT: &str = include_str!("../../../e2e/scenarios/headless-split.yaml");
const SPLIT_CALLS: &str = include_str!("../../../e2e/scenarios/headless-split.calls");

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
pub(crate) async fn hold(mesh: &Mesh<'_>, table: &str) {
    let deadline = Instant::now() + LIMIT;
    for Calls { pod, calls, expected } in read(table) {
        let left = deadline.saturating_duration_since(Instant::now());
        within(left, PAUSE, &format!("calls of {pod}"), async || {
            let command = ["exec", pod, "--", "osm-traffic", "call"];
            let called = mesh.osm(&[&command[..], &calls].concat());
            assert!(called.status.success(), "is it built? run `cargo build --workspace`: {called:?}");
            let outcomes: Vec<String> = serde_json::from_slice(&called.stdout).expect("a list of outcomes");
            if outcomes == expected {
                return Ok(());
            }
            let wrong =
                calls.iter().zip(&expected).zip(&outcomes).filter(|((_, expected), got)| *expected != got);
            let wrong: String = wrong
                .map(|((call, expected), got)| format!("\n{call} gave `{got}`, not `{expected}`"))
                .collect();
            Err(wrong)
        })
        .await;
    }
}

pub(crate) async fn up<'a>(folder: &'a TestFolder<'a>) -> Mesh<'a> {
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
async fn a_split_of_a_headless_service_divides_what_is_asked_of_the_service_and_not_of_a_member() {
    let folder = TestFolder::new(&[("mesh.yaml", SPLIT)]);
    let mesh = up(&folder).await;
    hold(&mesh, SPLIT_CALLS).await;
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn each_member_of_a_set_answers_for_its_name_and_only_it() {
    let folder = TestFolder::new(&[("mesh.yaml", MEMBERS)]);
    let mesh = up(&folder).await;
    hold(&mesh, MEMBERS_CALLS).await;
    // The name of the service is that of all members; which of them comes first is for the resolver to say.
    let command =
        ["exec", "shop/buyer-0", "--", "osm-traffic", "call", "GET web:8080/ok", "TCP web.shop:9000"];
    let called = mesh.osm(&command);
    let outcomes: Vec<String> = serde_json::from_slice(&called.stdout).expect("a list of outcomes");
    let is_member = |text: &str| ["web-0", "web-1", "web-2"].iter().any(|member| text.contains(member));
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| is_member(outcome)), "{outcomes:?}");
    let (strict, permissive) = (format!("{SWITCH}false"), format!("{SWITCH}true"));
    folder.write("mesh.yaml", &MEMBERS.replace(&strict, &permissive));
    hold(&mesh, MEMBERS_PERMISSIVE_CALLS).await;
    // The set grows and shrinks, and the others go on as they are.
    folder.write("mesh.yaml", &MEMBERS.replace("replicas: 3", "replicas: 4"));
    hold(&mesh, "shop/buyer-0\n  GET web-3.web:8080/ok -> 200 web-3\n  GET web-1.web:8080/ok -> 200 web-1\n")
        .await;
    // A name that is gone is the resolver's to answer, so the address that it had is called.
    let status = mesh.client.status().await.expect("a status");
    let last = status.pods.iter().find(|pod| pod.pod == "shop/web-2").expect("it is there").address.clone();
    let table = |gone: &str| {
        format!("shop/buyer-0\n  GET {last}:8080/ok -> {gone}\n  GET web-1.web:8080/ok -> 200 web-1\n")
    };
    hold(&mesh, &table("200 web-2")).await;
    folder.write("mesh.yaml", &MEMBERS.replace("replicas: 3", "replicas: 2"));
    hold(&mesh, &table("closed")).await;
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
