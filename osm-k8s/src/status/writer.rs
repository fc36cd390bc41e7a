//! Writes statuses, and tells of objects that are refused: one replica for all.
//!
//! What is written is decided in [`wanted`]; this compares it with what stands there
//! and is all that touches the network. Writes are bounded in number and come seconds
//! apart; what is left is written the next time, in turn.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, Request};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use osm_core::diagnostic::Diagnostic;
use osm_core::name::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::failures::Failures;
use super::{ACCEPTED, Condition, Known, PolicyStatus, Programmed, wanted};
use crate::client::{ANSWER, ApiClient, bounded};
use crate::event::note;
use crate::lease::LeaseWatch;
use crate::source::cluster::{Policies, PolicyObject, PolicyObjects};

/// How often statuses are looked at.
pub const INTERVAL: Duration = Duration::from_secs(3);
/// How many statuses are written each time.
pub const MAX_WRITES: usize = 60;
/// For how long what was written is believed to stand there, until the watch tells.
const BELIEVED: Duration = Duration::from_secs(15);

/// Who writes.
const MANAGER: &str = "osm-controller";

/// What the mesh makes of a policy object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// What is wrong with it.
    pub findings: Vec<Diagnostic>,
    /// How far it has come; `None` for what no proxy is told of.
    pub programmed: Option<Programmed>,
}

/// What the mesh makes of policy objects, by name.
pub type Outlooks = BTreeMap<ObjectRef, Outlook>;

/// Writes the statuses of the policy objects of a source.
pub struct StatusWriter {
    server: ApiClient,
    policies: Policies,
    lease: LeaseWatch,
    recorder: Recorder,
    written: BTreeMap<ObjectRef, (PolicyStatus, Instant)>,
    failures: Failures,
    /// The object whose turn was last.
    last: Option<ObjectRef>,
    /// Objects and what is made of them, where there is nothing to write.
    settled: Option<(Arc<PolicyObjects>, Arc<Outlooks>)>,
}

impl std::fmt::Debug for StatusWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusWriter").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl StatusWriter {
    /// A writer that writes while it holds the lease, in the name of this replica.
    #[must_use]
    pub fn new(server: ApiClient, policies: Policies, lease: LeaseWatch, replica: &str) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(replica.to_owned()) };
        let recorder = Recorder::new(server.kube(), reporter);
        let (written, failures) = (BTreeMap::new(), Failures::default());
        Self { server, policies, lease, recorder, written, failures, last: None, settled: None }
    }

    /// Writes for ever what the mesh makes of the objects, as `outlooks` says; objects
    /// that it leaves out get no status. It is asked every few seconds, and costs nothing
    /// more where it gives the same as before of the same objects.
    pub async fn run(mut self, mut outlooks: impl FnMut(&Arc<PolicyObjects>) -> Arc<Outlooks>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.lease.is_held() {
                let objects = self.policies.current();
                let outlooks = outlooks(&objects);
                self.round(objects, outlooks).await;
            } else {
                self.written.clear();
                self.settled = None;
            }
        }
    }

    /// Writes what differs, as far as it is written at once.
    async fn round(&mut self, objects: Arc<PolicyObjects>, outlooks: Arc<Outlooks>) {
        let is_same = |(of, made): &(Arc<PolicyObjects>, Arc<Outlooks>)| {
            Arc::ptr_eq(of, &objects) && Arc::ptr_eq(made, &outlooks)
        };
        if self.settled.as_ref().is_some_and(is_same) {
            return;
        }
        let now = Instant::now();
        self.written.retain(|name, (_, at)| objects.contains_key(name) && now.duration_since(*at) < BELIEVED);
        for kind in self.failures.look(&objects, now) {
            tracing::warn!(%kind, "objects of a kind have no status in this API server; apply `osm crds` to it");
        }
        let changes = self.changes(&objects, &outlooks, &Timestamp::now().to_string());
        let is_settled = changes.is_empty() && self.written.is_empty() && self.failures.is_empty();
        for (name, status) in changes {
            if !self.lease.is_held() {
                break;
            }
            self.last = Some(name.clone());
            if let Some(object) = objects.get(&name) {
                self.write(name, object, status).await;
            }
        }
        self.settled = is_settled.then_some((objects, outlooks));
    }

    /// The statuses that are to be written, at most [`MAX_WRITES`], beginning after the one
    /// whose turn was last.
    fn changes(
        &self,
        objects: &PolicyObjects,
        outlooks: &Outlooks,
        now: &str,
    ) -> Vec<(ObjectRef, PolicyStatus)> {
        let (after, up_to) = match &self.last {
            None => (outlooks.range::<ObjectRef, _>(..), None),
            Some(last) => (outlooks.range((Excluded(last), Unbounded)), Some(outlooks.range(..=last))),
        };
        let in_turn = after.chain(up_to.into_iter().flatten());
        let changed = in_turn.filter(|(name, _)| !self.failures.has(name)).filter_map(|(name, outlook)| {
            let object = objects.get(name)?;
            let present = self.written.get(name).map_or(&object.status, |(status, _)| status);
            let Outlook { findings, programmed } = outlook;
            let known = Known { generation: object.generation, findings, programmed: programmed.as_ref() };
            let status = wanted(known, present, now);
            (status != *present).then(|| (name.clone(), status))
        });
        changed.take(MAX_WRITES).collect()
    }

    async fn write(&mut self, name: ObjectRef, object: &PolicyObject, status: PolicyStatus) {
        let written = self.patch(&name, object, &status).await;
        let now = Instant::now();
        match written {
            Ok(()) => {
                if let Some(refusal) = newly_refused(&object.status, &status) {
                    self.tell(&name, object, refusal).await;
                }
                self.failures.on_written(object.kind);
                self.written.insert(name, (status, now));
            }
            // It is gone, which the watch will tell, or it has no status.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.failures.on_failed(name, &object.uid, true, now);
            }
            Err(error) => {
                tracing::warn!(object = %name, %error, "a status can't be written; it is tried again");
                self.failures.on_failed(name, &object.uid, false, now);
            }
        }
    }

    async fn patch(
        &self,
        name: &ObjectRef,
        object: &PolicyObject,
        status: &PolicyStatus,
    ) -> kube::Result<()> {
        let namespace = name.namespace.as_ref().map(|one| format!("namespaces/{one}/")).unwrap_or_default();
        let path = format!("/apis/{}/{namespace}{}", object.api_version, object.kind.plural());
        // Of one that was made anew meanwhile nothing is known: then the uid differs.
        let patch = serde_json::json!({ "metadata": { "uid": object.uid }, "status": status });
        let request = Request::new(path)
            .patch_subresource("status", name.name.as_str(), &PatchParams::default(), &Patch::Merge(&patch))
            .map_err(kube::Error::BuildRequest)?;
        bounded(ANSWER, self.server.kube().request_text(request)).await.map(drop)
    }

    /// Tells of an object that is refused, for those who look at events.
    async fn tell(&self, name: &ObjectRef, object: &PolicyObject, refusal: &Condition) {
        let event = Event {
            type_: EventType::Warning,
            reason: refusal.reason.clone(),
            note: Some(note(&refusal.message)),
            action: "Validate".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some(object.api_version.to_owned()),
            kind: Some(object.kind.name().to_owned()),
            namespace: name.namespace.as_ref().map(ToString::to_string),
            name: Some(name.name.to_string()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        };
        if let Err(error) = bounded(ANSWER, self.recorder.publish(&event, &regarding)).await {
            tracing::warn!(object = %name, %error, "an event can't be written");
        }
    }
}

/// The condition that says that an object is not accepted, where that is news. That it is said in other
/// words of the same object is none.
fn newly_refused<'a>(before: &PolicyStatus, now: &'a PolicyStatus) -> Option<&'a Condition> {
    let is_refused = |one: &&Condition| one.kind == ACCEPTED && one.status == "False";
    let refused = now.conditions.iter().find(is_refused)?;
    let known = before.conditions.iter().find(is_refused);
    let is_known = known.is_some_and(|known| {
        let is_edited = known.observed_generation != refused.observed_generation;
        known.reason == refused.reason && (known.message == refused.message || !is_edited)
    });
    (!is_known).then_some(refused)
}

#[cfg(test)]
mod tests;
