//! Writes statuses, and tells of objects that are refused: one replica for all.
//!
//! What is written is decided in [`wanted`]; this compares it with what stands there
//! and is all that touches the network. Writes are bounded in number and come seconds
//! apart; what is left is written the next time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, Request};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use osm_core::diagnostic::Diagnostic;
use osm_core::name::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{ACCEPTED, Condition, Known, PolicyStatus, Programmed, wanted};
use crate::client::ApiClient;
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

/// Writes the statuses of the policy objects of a source.
pub struct StatusWriter {
    server: ApiClient,
    policies: Policies,
    lease: LeaseWatch,
    recorder: Recorder,
    written: BTreeMap<ObjectRef, (PolicyStatus, Instant)>,
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
        Self { server, policies, lease, recorder, written: BTreeMap::new() }
    }

    /// Writes for ever what the mesh makes of the objects, as `outlooks` says; objects
    /// that it leaves out get no status. It is asked every few seconds.
    pub async fn run(mut self, mut outlooks: impl FnMut(&PolicyObjects) -> BTreeMap<ObjectRef, Outlook>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.lease.is_held() {
                self.written.clear();
                continue;
            }
            let objects = self.policies.current();
            let outlooks = outlooks(&objects);
            let now = Instant::now();
            self.written
                .retain(|name, (_, at)| objects.contains_key(name) && now.duration_since(*at) < BELIEVED);
            for (name, status) in changes(&objects, &outlooks, &self.written, &Timestamp::now().to_string()) {
                if !self.lease.is_held() {
                    break;
                }
                if let Some(object) = objects.get(&name) {
                    self.write(name, object, status).await;
                }
            }
        }
    }

    async fn write(&mut self, name: ObjectRef, object: &PolicyObject, status: PolicyStatus) {
        let written = self.patch(&name, object, &status).await;
        match written {
            Ok(()) => {
                if let Some(refusal) = newly_refused(&object.status, &status) {
                    self.tell(&name, object, refusal).await;
                }
                self.written.insert(name, (status, Instant::now()));
            }
            // It is gone; the watch will tell.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(object = %name, %error, "a status can't be written; it is tried again")
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
        let client = self.server.kube();
        let answered = tokio::time::timeout(Duration::from_secs(10), client.request_text(request));
        match answered.await {
            Ok(answer) => answer.map(drop),
            Err(late) => Err(kube::Error::Service(late.into())),
        }
    }

    /// Tells of an object that is refused, for those who look at events.
    async fn tell(&self, name: &ObjectRef, object: &PolicyObject, refusal: &Condition) {
        let event = Event {
            type_: EventType::Warning,
            reason: refusal.reason.clone(),
            note: Some(refusal.message.chars().take(1_000).collect()),
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
        let told =
            tokio::time::timeout(Duration::from_secs(10), self.recorder.publish(&event, &regarding)).await;
        if let Ok(Err(error)) = told {
            tracing::warn!(object = %name, %error, "an event can't be written");
        }
    }
}

/// The statuses that are to be written, at most [`MAX_WRITES`].
fn changes(
    objects: &PolicyObjects,
    outlooks: &BTreeMap<ObjectRef, Outlook>,
    written: &BTreeMap<ObjectRef, (PolicyStatus, Instant)>,
    now: &str,
) -> Vec<(ObjectRef, PolicyStatus)> {
    let changed = outlooks.iter().filter_map(|(name, outlook)| {
        let object = objects.get(name)?;
        let present = written.get(name).map_or(&object.status, |(status, _)| status);
        let Outlook { findings, programmed } = outlook;
        let known = Known { generation: object.generation, findings, programmed: programmed.as_ref() };
        let status = wanted(known, present, now);
        (status != *present).then(|| (name.clone(), status))
    });
    changed.take(MAX_WRITES).collect()
}

/// The condition that says that an object is not accepted, where that is news.
fn newly_refused<'a>(before: &PolicyStatus, now: &'a PolicyStatus) -> Option<&'a Condition> {
    let is_refused = |one: &&Condition| one.kind == ACCEPTED && one.status == "False";
    let refused = now.conditions.iter().find(is_refused)?;
    let known = before.conditions.iter().find(is_refused);
    let is_known =
        known.is_some_and(|known| known.reason == refused.reason && known.message == refused.message);
    (!is_known).then_some(refused)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use osm_core::diagnostic::Severity;
    use osm_core::name::Kind;

    use super::*;
    use crate::manifest::ManifestKind;

    fn reference(name: &str) -> ObjectRef {
        ObjectRef::namespaced(Kind::TcpRoute, &format!("shop/{name}").parse().expect("a name"))
    }

    fn object(status: PolicyStatus) -> Arc<PolicyObject> {
        Arc::new(PolicyObject {
            kind: ManifestKind::TcpRoute,
            api_version: ManifestKind::TcpRoute.api_version(),
            uid: "u".to_owned(),
            generation: 1,
            status,
            fact: None,
        })
    }

    #[test]
    fn a_status_is_written_once_and_again_only_when_something_is_new() {
        let name = reference("a");
        let objects = PolicyObjects::from([(name.clone(), object(PolicyStatus::default()))]);
        let outlooks = BTreeMap::from([(name.clone(), Outlook::default())]);
        let first = changes(&objects, &outlooks, &BTreeMap::new(), "t");
        assert_eq!(first.len(), 1);
        let written = BTreeMap::from([(name.clone(), (first[0].1.clone(), Instant::now()))]);
        assert!(changes(&objects, &outlooks, &written, "u").is_empty(), "the watch has not told yet");
        let seen = PolicyObjects::from([(name.clone(), object(first[0].1.clone()))]);
        assert!(changes(&seen, &outlooks, &BTreeMap::new(), "u").is_empty(), "it stands there");
        let programmed = Outlook { programmed: Some(Programmed::new(1, 2)), ..Outlook::default() };
        assert_eq!(changes(&seen, &BTreeMap::from([(name, programmed)]), &BTreeMap::new(), "u").len(), 1);
    }

    #[test]
    fn no_more_is_written_at_once_than_a_server_bears() {
        let names: Vec<_> = (0..MAX_WRITES * 2).map(|number| reference(&format!("r{number}"))).collect();
        let objects = names.iter().map(|name| (name.clone(), object(PolicyStatus::default()))).collect();
        let outlooks = names.into_iter().map(|name| (name, Outlook::default())).collect();
        assert_eq!(changes(&objects, &outlooks, &BTreeMap::new(), "t").len(), MAX_WRITES);
    }

    #[test]
    fn an_event_tells_of_a_refusal_that_is_news() {
        let refused = |message: &str| {
            let finding = Diagnostic::new(Severity::Error, "bad", reference("a"), message);
            let known = Known { generation: 1, findings: &[finding], programmed: None };
            wanted(known, &PolicyStatus::default(), "t")
        };
        let none = PolicyStatus::default();
        assert!(newly_refused(&none, &none).is_none());
        assert!(newly_refused(&none, &refused("x")).is_some());
        assert!(newly_refused(&refused("x"), &refused("x")).is_none());
        assert!(newly_refused(&refused("x"), &refused("y")).is_some());
    }
}
