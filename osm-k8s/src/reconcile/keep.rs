//! One object that is kept as it is to be: watched, and written where it differs.

use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::anchor::{Anchor, Installed};
use super::decision::{Step, decide};
use crate::client::{ANSWER, ApiClient, bounded, is_refusal};
use crate::metrics::Metrics;
use crate::pace::{Pace, earlier, until};
use crate::webhook::CaPem;
use crate::webhook::ca_bundle::{differing, with_authorities};

/// How an object is restored.
pub(super) struct Restoring {
    wanted: Value,
    anchor: Arc<Anchor>,
    metrics: Metrics,
    /// When it is asked again what is installed, where it is something else, nothing, or not to be known.
    asks: Pace,
    /// The state of the object, as the API server numbers them, that it keeps whatever is written.
    settled: Option<String>,
}

impl Restoring {
    pub(super) fn new(wanted: Value, anchor: Arc<Anchor>, metrics: Metrics) -> Self {
        Self { wanted, anchor, metrics, asks: Pace::default(), settled: None }
    }

    /// What is to be done about what is there, if this is what is installed.
    async fn step(&mut self, present: Option<&Value>, pem: Option<&str>) -> Option<(Step, Installed, Value)> {
        let wanted =
            pem.map(|pem| with_authorities(&self.wanted, pem)).unwrap_or_else(|| self.wanted.clone());
        let step = decide(&wanted, present);
        let is_settled = self.settled.is_some() && self.settled.as_deref() == present.and_then(version);
        if step == Step::Keep || is_settled || self.asks.wait(Instant::now()).is_some() {
            return None;
        }
        match self.anchor.look().await {
            Ok(Some(installed)) => {
                self.asks = Pace::default();
                Some((step, installed, wanted))
            }
            // It may be on its way, and it may never come.
            Ok(None) => {
                self.asks.on_failed(true, Instant::now());
                None
            }
            Err(error) => {
                tracing::warn!(%error, "it cannot be asked which version of the mesh is installed");
                self.asks.on_failed(is_refusal(&error), Instant::now());
                None
            }
        }
    }
}

/// Why an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The authorities are others.
    Authorities,
    /// Somebody has edited it.
    Edited,
    /// Somebody has deleted it.
    Gone,
}

/// One object that is kept.
pub(super) struct Kept {
    api: Api<DynamicObject>,
    kind: ApiResource,
    name: String,
    /// The authorities that it holds, if it holds any.
    authorities: Option<CaPem>,
    restoring: Option<Restoring>,
    pace: Pace,
}

impl Kept {
    pub(super) fn new(
        server: &ApiClient,
        kind: &ApiResource,
        name: &str,
        authorities: Option<CaPem>,
        restoring: Option<Restoring>,
    ) -> Self {
        let api = Api::all_with(server.kube(), kind);
        Self { api, kind: kind.clone(), name: name.to_owned(), authorities, restoring, pace: Pace::default() }
    }

    pub(super) async fn run(mut self) {
        let config = Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = Box::pin(watcher(self.api.clone(), config).default_backoff());
        let mut present: Option<Value> = None;
        // Until the list is read, what is known may be of before.
        let mut is_listing = true;
        loop {
            let again = if is_listing { None } else { self.round(present.as_ref()).await };
            tokio::select! {
                Some(event) = events.next() => match event {
                    Ok(Event::Init) => (present, is_listing) = (None, true),
                    Ok(Event::InitApply(object) | Event::Apply(object)) => present = serde_json::to_value(object).ok(),
                    Ok(Event::Delete(_)) => present = None,
                    Ok(Event::InitDone) => is_listing = false,
                    Err(error) => tracing::warn!(kind = self.kind.kind, name = self.name, %error, "it cannot be watched"),
                },
                () = changed(&mut self.authorities) => self.pace = Pace::default(),
                () = until(again) => {}
            }
        }
    }

    /// Writes what differs. Returns when to look again, if anything is left to do.
    async fn round(&mut self, present: Option<&Value>) -> Option<Instant> {
        let pem = match &mut self.authorities {
            // Without them a configuration would be as bad as none.
            Some(authorities) => Some(authorities.borrow_and_update().clone()?),
            None => None,
        };
        if let Some(later) = self.pace.wait(Instant::now()) {
            return Some(later);
        }
        if let Some(restoring) = &mut self.restoring
            && let Some((step, installed, wanted)) = restoring.step(present, pem.as_deref()).await
        {
            return match (step, present) {
                (Step::Patch(operations), Some(present)) => {
                    self.patch(present, operations, Cause::Edited).await
                }
                _ => self.create(&installed.part(&wanted)).await,
            };
        }
        // The authorities are the root's, whichever version the rest is of.
        let asks = self.restoring.as_ref().and_then(|one| one.asks.wait(Instant::now()));
        let (Some(present), Some(pem)) = (present, pem) else { return asks };
        let operations = differing(present, &pem);
        if operations.is_empty() {
            return asks;
        }
        earlier(self.patch(present, operations, Cause::Authorities).await, asks)
    }

    /// Changes what was seen, if it has not changed meanwhile.
    async fn patch(&mut self, seen: &Value, mut operations: Vec<Value>, cause: Cause) -> Option<Instant> {
        let seen = version(seen);
        operations.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": seen }));
        let patch: json_patch::Patch = match serde_json::from_value(Value::Array(operations)) {
            Ok(patch) => patch,
            Err(error) => {
                tracing::error!(name = self.name, %error, "the patch of an object is none");
                return None;
            }
        };
        let (params, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
        let written = bounded(ANSWER, self.api.patch(&self.name, &params, &patch)).await;
        self.after(written, seen, cause)
    }

    async fn create(&mut self, object: &Value) -> Option<Instant> {
        let object: DynamicObject = match serde_json::from_value(object.clone()) {
            Ok(object) => object,
            Err(error) => {
                tracing::error!(name = self.name, %error, "an object of the installation is none");
                return None;
            }
        };
        let written = bounded(ANSWER, self.api.create(&PostParams::default(), &object)).await;
        self.after(written, None, Cause::Gone)
    }

    /// When to try again after a write, unless the watch tells of it.
    fn after(
        &mut self,
        written: kube::Result<DynamicObject>,
        seen: Option<&str>,
        cause: Cause,
    ) -> Option<Instant> {
        let (kind, name, now) = (self.kind.kind.as_str(), self.name.as_str(), Instant::now());
        match written {
            Ok(object) => {
                let is_moot = seen.is_some() && seen == object.metadata.resource_version.as_deref();
                match &mut self.restoring {
                    Some(restoring) if is_moot => {
                        tracing::warn!(kind, name, "the API server keeps it another way than it is written");
                        restoring.settled = object.metadata.resource_version;
                    }
                    Some(restoring) if cause != Cause::Authorities => {
                        tracing::warn!(kind, name, ?cause, "restored");
                        restoring.metrics.restored(kind);
                    }
                    _ => tracing::info!(kind, name, "the authorities are written"),
                }
                self.pace.on_written(now);
                None
            }
            // It changed meanwhile, or is gone, or was made by another: the watch says so.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
                self.pace.on_failed(false, now);
                None
            }
            // It changed meanwhile, or the API server does not take it like this.
            Err(kube::Error::Api(status)) if status.code == 422 => {
                tracing::info!(kind, name, reason = status.message, "not taken; it is looked at again");
                self.pace.on_written(now);
                self.pace.wait(now)
            }
            Err(error) => {
                tracing::warn!(kind, name, ?cause, %error, "cannot be written");
                self.pace.on_failed(is_refusal(&error), now);
                self.pace.wait(now)
            }
        }
    }
}

/// Waits until the authorities change; for ever, if they can't.
async fn changed(authorities: &mut Option<CaPem>) {
    let is_changed = match authorities {
        Some(authorities) => authorities.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending::<()>().await;
    }
}

/// Which state of an object this is.
fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}
