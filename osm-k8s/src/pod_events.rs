//! Events about the control plane's own pod: why it does not run, and what it can't do.
//!
//! Reasons are those of Open Service Mesh. What ends the process is told by the process that
//! ends, since nobody else knows. What goes on is told by the replica that holds the lease, and
//! rarely: as long as it lasts, once in a few minutes.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{ANSWER, ApiClient, bounded};
use crate::lease::LeaseWatch;

/// How often is looked whether something is to be told.
const LOOK: Duration = Duration::from_secs(30);
/// How often the same is told again at most.
const AGAIN: Duration = Duration::from_secs(300);
/// How much of a text an Event takes, in bytes.
const MAX_NOTE: usize = 1_000;

/// Why an Event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It ends: the command line can't be used.
    InvalidArguments,
    /// It ends: it can't start.
    Initialization,
    /// It ends: the authority of the mesh can't be used.
    CertificateManager,
    /// It ends: it gets no certificate for itself.
    CertificateIssuance,
    /// Certificates that are in use can't be renewed.
    CertificateRotation,
}

impl Reason {
    /// The reason as an Event has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArguments => "FatalInvalidCLIParameters",
            Self::Initialization => "FatalInitializationError",
            Self::CertificateManager => "FatalInvalidCertificateManager",
            Self::CertificateIssuance => "FatalCertificateIssuanceFailure",
            Self::CertificateRotation => "CertificateRotationFailure",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::CertificateRotation => "Renew",
            _ => "Start",
        }
    }
}

/// The pod that a control plane runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPod {
    /// Its name.
    pub name: String,
    /// Its uid, without which `kubectl describe` does not find the Events.
    pub uid: Option<String>,
}

/// Writes Events about a pod, in the namespace in which its process is.
pub struct PodEvents {
    server: ApiClient,
    pod: OwnPod,
}

impl std::fmt::Debug for PodEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodEvents").field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl PodEvents {
    /// Events about this pod.
    #[must_use]
    pub fn new(server: ApiClient, pod: OwnPod) -> Self {
        Self { server, pod }
    }

    /// Tells it once. An API server that does not take it is not asked again.
    pub async fn tell(&self, reason: Reason, note: &str) {
        self.tell_by(&self.recorder(), reason, note).await;
    }

    /// Tells for ever what goes wrong with the renewal of certificates, while the lease is
    /// held: when it begins, when it is something else, and now and then while it lasts.
    pub async fn follow(self, lease: LeaseWatch, mut look: impl FnMut() -> Option<String>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A recorder counts what is told again, as one Event.
        let mut told: Option<(String, Recorder, Instant)> = None;
        loop {
            ticks.tick().await;
            if !lease.is_held() {
                continue;
            }
            let Some(note) = look() else { continue };
            let now = Instant::now();
            let recorder = match told.take() {
                Some(same) if same.0 == note && now < same.2 + AGAIN => {
                    told = Some(same);
                    continue;
                }
                Some((before, recorder, _)) if before == note => recorder,
                _ => self.recorder(),
            };
            self.tell_by(&recorder, Reason::CertificateRotation, &note).await;
            told = Some((note, recorder, now));
        }
    }

    async fn tell_by(&self, recorder: &Recorder, reason: Reason, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.as_str().to_owned(),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: reason.action().to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.server.kube().default_namespace().to_owned()),
            name: Some(self.pod.name.clone()),
            uid: self.pod.uid.clone(),
            ..ObjectReference::default()
        };
        if let Err(error) = bounded(ANSWER, recorder.publish(&event, &regarding)).await {
            tracing::warn!(reason = reason.as_str(), %error, "an event can't be written");
        }
    }

    fn recorder(&self) -> Recorder {
        let reporter =
            Reporter { controller: "osm-controller".to_owned(), instance: Some(self.pod.name.clone()) };
        Recorder::new(self.server.kube(), reporter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::testing::{Answer, Log, server};

    fn events() -> (PodEvents, Log, Arc<Mutex<Vec<Value>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&written);
        let (server, log) = server(move |asked| {
            noted.lock().expect("nobody panicked").push(asked.body.clone());
            Answer::ok(asked.body.clone())
        });
        let pod = OwnPod { name: "osm-controller-1".to_owned(), uid: Some("u".to_owned()) };
        (PodEvents::new(server, pod), log, written)
    }

    #[tokio::test]
    async fn an_event_has_the_reason_of_open_service_mesh_and_is_about_the_own_pod() {
        for (reason, expected) in [
            (Reason::InvalidArguments, "FatalInvalidCLIParameters"),
            (Reason::Initialization, "FatalInitializationError"),
            (Reason::CertificateManager, "FatalInvalidCertificateManager"),
            (Reason::CertificateIssuance, "FatalCertificateIssuanceFailure"),
            (Reason::CertificateRotation, "CertificateRotationFailure"),
        ] {
            let (events, _, written) = events();
            events.tell(reason, &"x".repeat(5_000)).await;
            let written = written.lock().expect("nobody panicked");
            let [event] = written.as_slice() else { panic!("{written:?}") };
            assert_eq!((&event["reason"], &event["type"]), (&json!(expected), &json!("Warning")));
            let regarding = &event["regarding"];
            assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("Pod"), &json!("osm-controller-1")));
            assert_eq!(regarding["uid"], "u");
            assert_eq!(event["note"].as_str().map(str::len), Some(MAX_NOTE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_by_the_holder_of_the_lease_and_rarely() {
        let (events, log, _) = events();
        let begun = Instant::now();
        let look = move || match begun.elapsed().as_secs() {
            0..100 => None,
            100..2_000 => Some("the issuer is away".to_owned()),
            _ => Some("the issuer refuses".to_owned()),
        };
        let followed = events.follow(LeaseWatch::of_holder(), look);
        tokio::time::timeout(Duration::from_secs(3_600), followed).await.expect_err("it goes on for ever");
        let told = log.texts();
        // Each begins an Event; what lasts is counted in it.
        let begun: Vec<_> = told.iter().filter(|text| text.starts_with("POST ")).collect();
        assert_eq!(begun.len(), 2, "{told:?}");
        assert!((11..=15).contains(&told.len()), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_hold_the_lease_tells_nothing() {
        let (events, log, _) = events();
        let (_sender, held) = watch::channel(false);
        let followed = events.follow(LeaseWatch::of(held), || Some("the issuer is away".to_owned()));
        tokio::time::timeout(Duration::from_secs(3_600), followed).await.expect_err("it goes on for ever");
        assert_eq!(log.count(), 0);
    }
}
