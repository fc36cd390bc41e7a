//! What is written, and when, on a server where somebody else writes as well.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use http::StatusCode;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::client::ANSWER;
use crate::pace;
use crate::testing::{Answer, Log, server};

const ROLE: &str = "clusterroles/osm-controller-osm";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const VERSION: &str = "1.2.0";
const VALUES: &str = "timeout=20";

/// The configuration as it was installed.
fn installed() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "osm-webhook-osm", "labels": { (VERSION_LABEL): VERSION } },
        "webhooks": [{
            "name": "w.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": "https://127.0.0.1" },
        }],
    })
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "tills.shop.example", "labels": { (VERSION_LABEL): VERSION } },
        "spec": { "group": "shop.example", "scope": "Namespaced" },
    })
}

/// The configuration after somebody has edited it.
fn edited() -> Value {
    let mut edited = installed();
    edited["metadata"]["resourceVersion"] = "9".into();
    edited["webhooks"][0]["failurePolicy"] = "Ignore".into();
    edited["webhooks"][0]["clientConfig"]["caBundle"] = "b2xk".into();
    edited
}

/// The configuration as it is after a write.
fn written(resource_version: &str) -> Value {
    let mut written = installed();
    written["metadata"]["resourceVersion"] = resource_version.into();
    written
}

/// A server that has this and answers writes so; after each, somebody undoes it at once.
struct Rival {
    there: Option<Value>,
    /// The version whose ClusterRole is there.
    version: &'static str,
    /// The values that it was made of.
    values: &'static str,
    /// Whether it is there at all.
    has_role: bool,
    answer: fn() -> Answer,
}

impl Rival {
    fn new(there: Option<Value>) -> Self {
        Self { there, version: VERSION, values: VALUES, has_role: true, answer: || Answer::ok(written("10")) }
    }

    /// What was asked of it in ten minutes.
    async fn reconciled(self, restores: bool) -> Log {
        self.counted(restores).await.0
    }

    /// What was asked of it in ten minutes, and what was counted as restored.
    async fn counted(self, restores: bool) -> (Log, String) {
        let (edit, edits) = unbounded();
        let streams: Mutex<BTreeMap<&str, UnboundedReceiver<Value>>> =
            Mutex::new(BTreeMap::from([(CONFIGURATIONS, edits)]));
        let Self { there, version, values, has_role, answer } = self;
        let undone = there.clone();
        let (server, log) = server(move |asked| {
            let path = asked.path.as_str();
            let is_configuration = path.starts_with(CONFIGURATIONS);
            match asked.method.as_str() {
                "GET" if path.ends_with(ROLE) && !has_role => not_found(),
                "GET" if path.ends_with(ROLE) => {
                    let metadata = json!({
                        "name": "osm-controller-osm", "uid": "u", "labels": { (VERSION_LABEL): version },
                        "annotations": { (VALUES_ANNOTATION): values },
                    });
                    Answer::ok(json!({
                        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata,
                    }))
                }
                "GET" => list(path, there.as_ref().filter(|_| is_configuration)),
                "WATCH" => streams
                    .lock()
                    .expect("nobody panicked")
                    .remove(path)
                    .map_or(Answer::Never, Answer::Events),
                _ => {
                    if is_configuration {
                        let event = undone.clone().map_or_else(
                            || json!({ "type": "DELETED", "object": edited() }),
                            |object| json!({ "type": "MODIFIED", "object": object }),
                        );
                        drop(edit.unbounded_send(event));
                    }
                    answer()
                }
            }
        });
        let (_sender, authorities) = watch::channel(Some("pem".to_owned()));
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let mut reconciler = Reconciler::new(server, WebhookNames::of_mesh("osm"), authorities, metrics);
        if restores {
            reconciler = reconciler.restoring(Installation {
                cluster_role: "osm-controller-osm".to_owned(),
                version: VERSION.to_owned(),
                values: VALUES.to_owned(),
                objects: vec![installed(), definition()],
            });
        }
        let kept = tokio::time::timeout(Duration::from_secs(600), reconciler.run()).await;
        kept.expect_err("it goes on for ever");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
        (log, text.lines().filter(|line| line.starts_with("osm_reconciliation")).collect())
    }
}

/// What an API server says of an object that is not there.
fn not_found() -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "there is none", "reason": "NotFound", "code": 404,
    });
    Answer::Json(StatusCode::NOT_FOUND, status)
}

fn list(path: &str, there: Option<&Value>) -> Answer {
    let kind =
        if path == DEFINITIONS { "CustomResourceDefinitionList" } else { "MutatingWebhookConfigurationList" };
    Answer::ok(json!({
        "apiVersion": "v1", "kind": kind, "metadata": { "resourceVersion": "1" },
        "items": there.into_iter().collect::<Vec<_>>(),
    }))
}

/// That a rival keeps this busy no more often than once a minute in the end.
fn slow_down(times: &[Instant]) {
    let waits: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(waits[0] >= pace::LEAST && waits[0] < pace::LEAST * 2, "{waits:?}");
    assert!(*waits.last().expect("writes") >= pace::MOST && times.len() < 20, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn two_that_disagree_slow_each_other_down() {
    for restores in [true, false] {
        let log = Rival::new(Some(edited())).reconciled(restores).await;
        slow_down(&log.times(&format!("PATCH {CONFIGURATIONS}")));
    }
    let log = Rival::new(None).reconciled(true).await;
    slow_down(&log.times(&format!("POST {CONFIGURATIONS}")));
    assert_eq!(log.times(&format!("POST {DEFINITIONS}")).len(), 1, "of which nobody tells any more");
}

#[tokio::test(start_paused = true)]
async fn what_another_version_has_installed_is_not_touched_but_for_the_authorities() {
    let upgraded = Rival { version: "1.3.0", ..Rival::new(None) }.reconciled(true).await;
    assert_eq!(upgraded.times("POST "), [], "an old replica makes nothing anew");
    let asked = upgraded.times("GET /apis/rbac").len();
    assert!((2..=40).contains(&asked), "it looks again, and not often: {asked}");
    let edited = Rival { version: "1.3.0", ..Rival::new(Some(edited())) }.reconciled(true).await;
    assert!(!edited.times("PATCH ").is_empty(), "the authorities are everybody's");
}

#[tokio::test(start_paused = true)]
async fn what_other_values_have_made_is_left_to_the_replicas_that_have_them() {
    let mut other = edited();
    other["webhooks"][0]["clientConfig"]["caBundle"] = json!("cGVt");
    let upgraded = Rival { values: "timeout=5", ..Rival::new(Some(other.clone())) }.reconciled(true).await;
    assert_eq!(upgraded.times("PATCH "), []);
    assert!(!Rival::new(Some(other)).reconciled(true).await.times("PATCH ").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_role_that_is_not_there_is_looked_for_soon_and_then_more_rarely() {
    let rival = Rival { has_role: false, ..Rival::new(Some(edited())) };
    // Of the authorities nobody has to be asked.
    let times = rival.reconciled(true).await.times("GET /apis/rbac");
    assert!(times[2] - times[0] <= pace::LEAST * 2 && times.len() < 40, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_restored_is_counted_when_it_is_written() {
    let (log, counted) = Rival::new(Some(edited())).counted(true).await;
    let writes = log.times(&format!("PATCH {CONFIGURATIONS}")).len();
    let kind = r#"osm_reconciliation_total{kind="MutatingWebhookConfiguration"}"#;
    assert!(counted.contains(&format!("{kind} {writes}")), "{counted}");
    let refused = Rival { answer: || Answer::refusal(StatusCode::FORBIDDEN), ..Rival::new(Some(edited())) };
    assert_eq!(refused.counted(true).await.1, "");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_restored_that_is_not_to_be() {
    let log = Rival::new(None).reconciled(false).await;
    assert!(log.texts().iter().all(|text| text.starts_with("GET ") || text.starts_with("WATCH ")));
    assert_eq!(log.times(&format!("GET {DEFINITIONS}")), []);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_answered_is_tried_again_and_one_that_is_refused_more_and_more_rarely() {
    let written = format!("PATCH {CONFIGURATIONS}");
    let silent = Rival { answer: || Answer::Never, ..Rival::new(Some(edited())) };
    let times = silent.reconciled(true).await.times(&written);
    assert_eq!(times[1] - times[0], ANSWER + pace::LEAST);
    let refused = Rival { answer: || Answer::refusal(StatusCode::FORBIDDEN), ..Rival::new(Some(edited())) };
    slow_down(&refused.reconciled(true).await.times(&written));
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_keeps_another_way_is_written_once() {
    // It has a field that nobody here knows, and says that nothing has changed.
    let mut other = edited();
    other["webhooks"][0]["failurePolicy"] = Value::Null;
    other["webhooks"][0]["clientConfig"]["caBundle"] = json!("cGVt");
    other["webhooks"][0]["newField"] = "by default".into();
    let rival = Rival { answer: || Answer::ok(written("9")), ..Rival::new(Some(other)) };
    let log = rival.reconciled(true).await;
    assert_eq!(log.times(&format!("PATCH {CONFIGURATIONS}")).len(), 1);
}
