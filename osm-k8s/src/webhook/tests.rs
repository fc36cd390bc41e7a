//! The pages as the API server, and as strangers, see them.

mod cluster;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::client::ApiClient;
use crate::injector::{Launch, Needs, SidecarDefaults, SidecarKind};
use crate::manifest::MeshConfigSpec;
use crate::testing::{self, Answer, Log};

pub(super) const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// An API server that knows the namespace `shop`; what it is asked is noted.
fn server() -> (ApiClient, Log) {
    testing::server(|asked| {
        let (status, body) = cluster::answer(&asked.path);
        Answer::Json(status, body)
    })
}

fn pages(server: ApiClient, is_configured: bool) -> Router {
    let settings = cluster::defaults().under(&MeshConfigSpec::default(), SidecarKind::Native);
    let launch = Launch { config: "{}".to_owned(), arguments: vec![], ready_path: "/ready" };
    Webhooks {
        injector: Injector::new(Arc::new(move |_: &Needs| launch.clone())),
        settings: watch::channel(is_configured.then(|| Arc::new(settings))).1,
        namespaces: MonitoredNamespaces::new(server.clone(), "osm").0,
        roots: RootObjects::new(server),
        metrics: Metrics::default(),
    }
    .router()
}

async fn post(pages: Router, path: &str, kind: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = HttpRequest::post(path).header("content-type", kind).body(body.into()).expect("a request");
    let response = pages.oneshot(request).await.expect("an answer");
    let status = response.status();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn ask(path: &str, request: Value) -> Value {
    response_of(server().0, path, request).await
}

/// What is answered to a request beside this API server.
pub(super) async fn response_of(server: ApiClient, path: &str, request: Value) -> Value {
    let review =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    let (status, body) = post(pages(server, true), path, "application/json", review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], UID);
    answer["response"].clone()
}

fn pod_request(namespace: &str) -> Value {
    json!({
        "uid": UID,
        "kind": { "group": "", "version": "v1", "kind": "Pod" },
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "operation": "CREATE",
        "namespace": namespace,
        "dryRun": true,
        "userInfo": { "username": "someone" },
        "object": {
            "metadata": { "generateName": "till-" },
            "spec": { "containers": [{ "name": "till", "image": "till:1" }] },
        },
    })
}

fn operations(response: &Value) -> Vec<Value> {
    let patch = STANDARD.decode(response["patch"].as_str().expect("a patch")).expect("base64");
    serde_json::from_slice(&patch).expect("operations")
}

#[tokio::test]
async fn a_pod_is_given_a_proxy_that_has_the_name_of_the_request() {
    let response = ask(MUTATE_PATH, pod_request("shop")).await;
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let operations = operations(&response);
    let label = json!({ "op": "add", "path": "/metadata/labels", "value": { "osm-proxy-uuid": UID } });
    assert!(operations.contains(&label), "{operations:?}");
    assert!(operations.iter().any(|one| one["path"] == "/spec/initContainers"));
}

#[tokio::test]
async fn an_answer_reads_the_namespace_and_writes_nothing_and_a_dry_run_is_the_same() {
    let (server, asked) = server();
    let pages = pages(server, true);
    let mut bodies = Vec::new();
    for dry_run in [true, false] {
        let mut request = pod_request("shop");
        request["dryRun"] = dry_run.into();
        let review =
            json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
        bodies.push(post(pages.clone(), MUTATE_PATH, "application/json", review.to_string()).await);
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(asked.texts(), ["GET /api/v1/namespaces/shop", "GET /api/v1/namespaces/shop"]);
}

#[tokio::test]
async fn what_is_none_of_its_business_is_allowed_unchanged() {
    let mut other = pod_request("nowhere");
    other["object"]["metadata"]["name"] = "till".into();
    for change in [
        json!({}),
        json!({ "operation": "DELETE", "object": null }),
        json!({ "subResource": "status" }),
        json!({ "kind": { "group": "apps", "version": "v1", "kind": "Deployment" } }),
    ] {
        change.as_object().into_iter().flatten().for_each(|(key, value)| other[key] = value.clone());
        for path in [MUTATE_PATH, VALIDATE_PATH] {
            let response = ask(path, other.clone()).await;
            assert_eq!(response, json!({ "uid": UID, "allowed": true }), "{other}");
        }
    }
}

#[tokio::test]
async fn a_pod_is_not_let_through_without_a_proxy_while_that_cannot_be_decided() {
    let response = ask(MUTATE_PATH, pod_request("away")).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(503)));
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": pod_request("shop"),
    });
    let (_, body) = post(pages(server().0, false), MUTATE_PATH, "application/json", review.to_string()).await;
    assert!(body.contains("MeshConfig has not been read yet"), "{body}");
}

#[tokio::test]
async fn a_refusal_names_the_object_and_the_field() {
    let mut request = pod_request("shop");
    request["object"]["metadata"]["annotations"] = json!({ "openservicemesh.io/sidecar-injection": "maybe" });
    let response = ask(MUTATE_PATH, request).await;
    assert_eq!(
        response["status"]["message"],
        "Pod shop/till-*: metadata.annotations[openservicemesh.io/sidecar-injection]: \
         `maybe` is neither `enabled` nor `disabled` (unclear-annotation)"
    );
}

#[tokio::test]
async fn strangers_are_told_what_to_send_and_nothing_breaks() {
    let review = |version: &str| json!({ "apiVersion": version, "kind": "AdmissionReview" }).to_string();
    let deep = format!("{{\"request\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |change: Value| {
        let mut request = pod_request("shop");
        change.as_object().into_iter().flatten().for_each(|(key, value)| request[key] = value.clone());
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
            .to_string()
    };
    for (kind, body, status) in [
        ("text/plain", review("admission.k8s.io/v1"), 415),
        ("application/json", String::new(), 400),
        ("application/json", "{".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/json", deep, 400),
        ("application/json", review("admission.k8s.io/v1beta1"), 400),
        ("application/json", review("admission.k8s.io/v1"), 400),
        ("application/json; charset=utf-8", with(json!({ "uid": "" })), 400),
        ("application/json", with(json!({ "uid": "x".repeat(1000) })), 400),
        ("application/json", with(json!({ "kind": "Pod" })), 400),
        ("application/json", "x".repeat(MAX_BODY + 1), 413),
        // Not a name for a proxy, and a pod that is none: refused, not passed.
        ("application/json", with(json!({ "uid": "no uid" })), 200),
        ("application/json", with(json!({ "object": null })), 200),
    ] {
        for path in [MUTATE_PATH, VALIDATE_PATH] {
            let shown: String = body.chars().take(60).collect();
            let (answered, text) = post(pages(server().0, true), path, kind, body.clone()).await;
            assert_eq!(answered.as_u16(), status, "{path} {shown}: {text}");
            if status == 200 && path == MUTATE_PATH {
                assert!(text.contains("\"allowed\":false"), "{text}");
            }
        }
    }
    let get = HttpRequest::get(MUTATE_PATH).body(Body::empty()).expect("a request");
    let response = pages(server().0, true).oneshot(get).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

fn policy(kind: (&str, &str, &str), spec: Value) -> Value {
    let (group, version, kind) = kind;
    json!({
        "uid": UID,
        "kind": { "group": group, "version": version, "kind": kind },
        "operation": "UPDATE",
        "namespace": "shop",
        "name": "rule",
        "object": {
            "apiVersion": format!("{group}/{version}"),
            "kind": kind,
            "metadata": { "name": "rule", "namespace": "shop", "generation": 2, "managedFields": [{}] },
            "spec": spec,
            "status": {},
        },
    })
}

const TARGET: (&str, &str, &str) = ("access.smi-spec.io", "v1alpha3", "TrafficTarget");

fn target(namespace: &str) -> Value {
    json!({
        "destination": { "kind": "ServiceAccount", "name": "till", "namespace": namespace },
        "sources": [{ "kind": "ServiceAccount", "name": "buyer", "namespace": "shop" }],
        "rules": [{ "kind": "HTTPRouteGroup", "name": "not-there-yet", "matches": ["all"] }],
    })
}

#[tokio::test]
async fn a_policy_is_refused_for_what_is_wrong_with_it_and_not_for_what_is_missing_around_it() {
    let response = ask(VALIDATE_PATH, policy(TARGET, target("shop"))).await;
    assert_eq!(response["allowed"], true, "{response}");
    let response = ask(VALIDATE_PATH, policy(TARGET, target("bank"))).await;
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("TrafficTarget shop/rule: spec.destination.namespace: "), "{message}");
    assert!(message.ends_with("(destination-in-other-namespace)"), "{message}");
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_named() {
    let mut spec = target("shop");
    spec["destination"]["nmae"] = "x".into();
    let response = ask(VALIDATE_PATH, policy(TARGET, spec)).await;
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("TrafficTarget shop/rule: spec.destination"), "{message}");
    assert!(message.contains("nmae"), "{message}");
}

#[tokio::test]
async fn what_has_no_effect_is_a_warning() {
    let kind = ("config.openservicemesh.io", "v1alpha2", "MeshConfig");
    let spec = json!({ "certificate": { "serviceCertValidityDuration": "1s" } });
    let response = ask(VALIDATE_PATH, policy(kind, spec)).await;
    assert_eq!(response["allowed"], true);
    let warnings = response["warnings"].as_array().expect("warnings");
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("(validity-too-short)")), "{warnings:?}");
    let response = ask(VALIDATE_PATH, policy(("other.example", "v1alpha2", "MeshConfig"), json!(7))).await;
    assert_eq!(response["allowed"], true, "a kind of somebody else");
}
