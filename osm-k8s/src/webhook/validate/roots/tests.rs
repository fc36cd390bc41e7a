//! Roots that are to be made, changed and deleted, as an API server asks about them.

use axum::http::StatusCode;
use serde_json::json;

use crate::testing::{self, Answer, Log};
use crate::webhook::VALIDATE_PATH;
use crate::webhook::tests::{UID, response_of};

use super::*;

const LIST: &str = "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshrootcertificates";

fn object(name: &str, role: &str, status: Value) -> Value {
    json!({
        "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshRootCertificate",
        "metadata": { "name": name, "namespace": "osm-system", "generation": 2 },
        "spec": { "role": role, "provider": { "tresor": { "ca": { "secretRef": { "name": name } } } } },
        "status": status,
    })
}

/// A stage in which these are trusted, the first of which signs.
fn stage(number: u64, trusted: &[&str]) -> Value {
    json!({ "stage": {
        "number": number, "issuing": trusted[0], "serving": trusted[0], "trusted": trusted, "revision": "0",
        "since": "2026-01-01T00:00:00Z",
    } })
}

fn request(operation: &str, before: Value, after: Value) -> Value {
    let name = [&before, &after].map(|object| object["metadata"]["name"].clone());
    json!({
        "uid": UID,
        "kind": { "group": "config.openservicemesh.io", "version": "v1alpha2", "kind": "MeshRootCertificate" },
        "operation": operation, "namespace": "osm-system",
        "name": name.into_iter().find(Value::is_string), "object": after, "oldObject": before,
    })
}

/// An API server that has these roots.
fn server(objects: Vec<Value>) -> (ApiClient, Log) {
    testing::server(move |asked| match asked.path.as_str() {
        LIST => Answer::ok(json!({
            "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshRootCertificateList", "metadata": {},
            "items": objects,
        })),
        _ => Answer::refusal(StatusCode::NOT_FOUND),
    })
}

/// What is answered where these are: `taken`, or the refusal.
async fn answered(objects: &[Value], request: Value) -> String {
    let response = response_of(server(objects.to_vec()).0, VALIDATE_PATH, request).await;
    match response["allowed"].as_bool() {
        Some(true) => response["warnings"][0].as_str().unwrap_or("taken").to_owned(),
        _ => response["status"]["message"].as_str().expect("a message").to_owned(),
    }
}

#[tokio::test]
async fn a_change_is_judged_by_what_it_was_and_by_the_other_roots() {
    let [first, second] = ["first", "second"].map(|name| object(name, "active", json!({})));
    let there = [first.clone(), second.clone()];
    let passive = object("first", "passive", json!({}));
    assert_eq!(answered(&there, request("UPDATE", first.clone(), passive.clone())).await, "taken");
    let said = answered(std::slice::from_ref(&first), request("UPDATE", first.clone(), passive)).await;
    assert!(
        said.starts_with("MeshRootCertificate osm-system/first: spec.role: no root is active")
            && said.ends_with("(no-active-root)"),
        "{said}"
    );
    let mut other = first.clone();
    other["spec"]["trustDomain"] = "other.example".into();
    let said = answered(&there, request("UPDATE", first.clone(), other)).await;
    assert!(
        said.contains("spec.trustDomain: it never changes") && said.ends_with("(root-changed)"),
        "{said}"
    );
    let said = answered(&[first], request("CREATE", Value::Null, second)).await;
    assert!(said.contains("first is active too") && said.ends_with("(two-active-roots)"), "{said}");
}

#[tokio::test]
async fn a_root_is_deleted_when_the_newest_stage_does_not_have_it() {
    let gone = object("first", "inactive", stage(3, &["second", "first"]));
    let deletion = || request("DELETE", gone.clone(), Value::Null);
    let said = answered(&[gone.clone(), object("second", "active", json!({}))], deletion()).await;
    assert!(said.contains("the mesh still trusts the root") && said.ends_with("(root-in-use)"), "{said}");
    let newest = object("second", "active", stage(4, &["second"]));
    assert_eq!(answered(&[gone.clone(), newest], deletion()).await, "taken");
    let strange = object("first", "inactive", json!({ "stage": { "number": "x" } }));
    let said = answered(&[], request("DELETE", strange, Value::Null)).await;
    assert!(said.contains("status.stage.number") && said.ends_with("(root-in-use)"), "{said}");
    let mut whole = request("DELETE", object("first", "active", json!({})), Value::Null);
    whole["userInfo"] = json!({ "username": "system:serviceaccount:kube-system:namespace-controller" });
    assert_eq!(answered(&[], whole).await, "taken", "its namespace goes");
}

#[tokio::test]
async fn a_root_that_does_not_read_is_named_by_its_field_before_anything_is_asked() {
    let mut bad = object("first", "active", json!({}));
    bad["spec"]["provider"] = json!({ "tresor": {}, "vault": {} });
    let (server, asked) = server(Vec::new());
    let response = response_of(server, VALIDATE_PATH, request("CREATE", Value::Null, bad)).await;
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("MeshRootCertificate osm-system/first: spec.provider"), "{message}");
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn nothing_is_decided_while_the_other_roots_are_not_known_and_status_is_nobodys_business() {
    let create = request("CREATE", Value::Null, object("first", "active", json!({})));
    let away = testing::server(|_| Answer::refusal(StatusCode::FORBIDDEN)).0;
    let response = response_of(away, VALIDATE_PATH, create.clone()).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(503)));
    let mut hostile = create.clone();
    hostile["namespace"] = "../x".into();
    let (server, asked) = server(Vec::new());
    assert_eq!(response_of(server.clone(), VALIDATE_PATH, hostile).await["allowed"], false);
    let mut status = create;
    status["subResource"] = "status".into();
    assert_eq!(response_of(server, VALIDATE_PATH, status).await["allowed"], true);
    assert_eq!(asked.count(), 0);
}
