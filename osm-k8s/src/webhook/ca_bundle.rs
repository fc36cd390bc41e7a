//! The authorities by which the API server verifies the webhooks, kept in their
//! configurations: also when they change, and when somebody edits or replaces those.

use std::pin::pin;

use futures::{Stream, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{ANSWER, ApiClient, bounded};
use crate::pace::{Pace, until};

/// The authorities in PEM; `None` until they are known.
pub type CaPem = watch::Receiver<Option<String>>;

/// The names of the configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookNames {
    /// The one of the pods' webhook.
    pub mutating: String,
    /// The one of the policies' webhook.
    pub validating: String,
}

impl WebhookNames {
    /// Those of a mesh.
    #[must_use]
    pub fn of_mesh(mesh_name: &str) -> Self {
        Self {
            mutating: format!("osm-webhook-{mesh_name}"),
            validating: format!("osm-validator-mesh-{mesh_name}"),
        }
    }
}

/// Keeps the authorities in both configurations, for ever.
#[derive(Debug)]
pub struct CaBundles {
    server: ApiClient,
    names: WebhookNames,
    authorities: CaPem,
}

impl CaBundles {
    /// Nothing is written until [`run`](Self::run) is polled.
    #[must_use]
    pub fn new(server: ApiClient, names: WebhookNames, authorities: CaPem) -> Self {
        Self { server, names, authorities }
    }

    /// Writes what differs whenever it does; where others write something else again and
    /// again, at a bounded pace. A configuration that is not there is waited for.
    pub async fn run(self) {
        let Self { server, names, authorities } = self;
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(server.kube());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(server.kube());
        tokio::join!(
            keep(mutating, names.mutating, authorities.clone()),
            keep(validating, names.validating, authorities),
        );
    }
}

/// A configuration of webhooks.
trait Configuration {
    /// The authorities of each webhook.
    fn bundles(&self) -> Vec<Option<&ByteString>>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn bundles(&self) -> Vec<Option<&ByteString>> {
        self.webhooks.iter().flatten().map(|one| one.client_config.ca_bundle.as_ref()).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn bundles(&self) -> Vec<Option<&ByteString>> {
        self.webhooks.iter().flatten().map(|one| one.client_config.ca_bundle.as_ref()).collect()
    }
}

async fn keep<K>(api: Api<K>, name: String, mut authorities: CaPem)
where
    K: Configuration
        + Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> =
        Box::pin(watcher(api.clone(), config).default_backoff());
    let mut events = pin!(events);
    let mut newest: Option<K> = None;
    // Until the list is read, what is known may be of before.
    let mut is_listing = true;
    let mut pace = Pace::default();
    let mut can_change = true;
    loop {
        let pem = authorities.borrow_and_update().clone();
        let again = match (&newest, pem) {
            (Some(object), Some(pem)) if !is_listing => write(&api, object, &pem, &mut pace).await,
            _ => None,
        };
        tokio::select! {
            Some(event) = events.next() => match event {
                Ok(Event::Init) => (newest, is_listing) = (None, true),
                Ok(Event::InitApply(object) | Event::Apply(object)) => newest = Some(object),
                Ok(Event::Delete(_)) => newest = None,
                Ok(Event::InitDone) => is_listing = false,
                Err(error) => tracing::warn!(name, %error, "webhook configuration cannot be watched"),
            },
            changed = authorities.changed(), if can_change => {
                can_change = changed.is_ok();
                pace = Pace::default();
            }
            () = until(again) => {}
        }
    }
}

/// Returns when to try again, if anything is left to do.
async fn write<K>(api: &Api<K>, object: &K, pem: &str, pace: &mut Pace) -> Option<Instant>
where
    K: Configuration + Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let operations = differing(&object.bundles(), &object.resource_version().unwrap_or_default(), pem);
    if operations.is_empty() {
        return None;
    }
    if let Some(later) = pace.wait(Instant::now()) {
        return Some(later);
    }
    let name = object.name_any();
    let patch: json_patch::Patch = match serde_json::from_value(Value::Array(operations)) {
        Ok(patch) => patch,
        Err(error) => {
            tracing::error!(name, %error, "the patch of a webhook configuration is none");
            return None;
        }
    };
    let (params, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    let written = bounded(ANSWER, api.patch(&name, &params, &patch)).await;
    let now = Instant::now();
    match written {
        Ok(_) => {
            tracing::info!(name, "authorities are written into the webhook configuration");
            pace.on_written(now);
            None
        }
        // It changed meanwhile, or is gone: the watch says so.
        Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {
            pace.on_failed(now);
            None
        }
        Err(error) => {
            tracing::warn!(name, %error, "authorities cannot be written into the webhook configuration");
            pace.on_failed(now);
            pace.wait(now)
        }
    }
}

/// What to do so that all webhooks of a configuration are verified by these authorities, if
/// it has not changed meanwhile.
fn differing(bundles: &[Option<&ByteString>], version: &str, pem: &str) -> Vec<Value> {
    let wanted = ByteString(pem.as_bytes().to_vec());
    let wrong = bundles.iter().enumerate().filter(|(_, bundle)| **bundle != Some(&wanted));
    let mut operations: Vec<Value> = wrong
        .map(|(index, _)| json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": wanted }))
        .collect();
    if !operations.is_empty() {
        operations.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }));
    }
    operations
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pace;
    use crate::testing::{Answer, server};

    /// A configuration whose authorities somebody has replaced.
    fn edited() -> Value {
        let webhook = json!({
            "name": "w.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": "https://127.0.0.1", "caBundle": "b2xk" },
        });
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "osm-webhook-osm", "resourceVersion": "9" }, "webhooks": [webhook],
        })
    }

    /// When a configuration was written in ten minutes, on a server that answers a write so.
    async fn writes(list: fn() -> Answer, patch: fn() -> Answer) -> Vec<Instant> {
        let (edit, edits) = futures::channel::mpsc::unbounded();
        let edits = std::sync::Mutex::new(Some(edits));
        let (server, log) = server(move |asked| match asked.method.as_str() {
            "GET" => list(),
            "WATCH" => edits.lock().expect("nobody panicked").take().map_or(Answer::Never, Answer::Events),
            _ => {
                // Somebody undoes it at once.
                drop(edit.unbounded_send(json!({ "type": "MODIFIED", "object": edited() })));
                patch()
            }
        });
        let api: Api<MutatingWebhookConfiguration> = Api::all(server.kube());
        let (_sender, authorities) = watch::channel(Some("pem".to_owned()));
        let kept = keep(api, "osm-webhook-osm".to_owned(), authorities);
        tokio::time::timeout(Duration::from_secs(600), kept).await.expect_err("it goes on for ever");
        log.times("PATCH ")
    }

    fn listed() -> Answer {
        Answer::ok(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfigurationList",
            "metadata": { "resourceVersion": "1" }, "items": [edited()],
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_is_undone_and_who_edits_again_and_again_slows_both_down() {
        let times = writes(listed, || Answer::ok(edited())).await;
        let waits: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits[0] >= pace::LEAST && waits[0] < pace::LEAST * 2, "{waits:?}");
        assert!(*waits.last().expect("writes") >= pace::MOST && times.len() < 20, "{waits:?}");
        assert_eq!(writes(|| Answer::Never, || Answer::Never).await, [], "nothing is known yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_not_answered_is_tried_again() {
        let times = writes(listed, || Answer::Never).await;
        assert_eq!(times[1] - times[0], ANSWER + pace::LEAST);
    }

    #[test]
    fn only_what_differs_is_written_and_only_to_what_was_seen() {
        let (right, wrong) = (ByteString(b"pem".to_vec()), ByteString(b"old".to_vec()));
        assert_eq!(differing(&[Some(&right)], "7", "pem"), Vec::<Value>::new());
        let operations = differing(&[Some(&right), Some(&wrong), None], "7", "pem");
        let paths: Vec<_> = operations.iter().filter_map(|one| one["path"].as_str()).collect();
        assert_eq!(
            paths,
            [
                "/metadata/resourceVersion",
                "/webhooks/1/clientConfig/caBundle",
                "/webhooks/2/clientConfig/caBundle"
            ]
        );
        assert_eq!(operations[1]["value"], "cGVt");
    }
}
