//! Events about the control plane's own pod: why it does not run, and what it can't do.
//!
//! Reasons are those of Open Service Mesh. What ends the process is told by the process that
//! ends, since nobody else knows. What goes on is told by the replica that holds the lease, and
//! rarely: as long as it lasts, once in a few minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::runtime::events::{Recorder, Reporter};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::ApiClient;
use crate::event::{self, AboutPod};
use crate::lease::LeaseWatch;

/// How often is looked whether something is to be told.
const LOOK: Duration = Duration::from_secs(30);
/// How often is told of one subject at most.
const AGAIN: Duration = Duration::from_secs(300);
/// How soon after one subject another is told of.
const ANOTHER: Duration = Duration::from_secs(60);

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

/// Something that goes wrong, maybe for long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// What it is about. That stays while it lasts, whatever is said of it.
    pub subject: String,
    /// What is said of it.
    pub text: String,
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
    /// held: when it begins, and now and then while it lasts.
    pub async fn follow(self, lease: LeaseWatch, mut look: impl FnMut() -> Option<Trouble>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        // A recorder counts what is told again, as one Event, whose text stays.
        let mut recorders = BTreeMap::new();
        loop {
            ticks.tick().await;
            let Some(trouble) = lease.is_held().then(&mut look).flatten() else { continue };
            if !told.is_due(&trouble, Instant::now()) {
                continue;
            }
            let recorder = recorders.entry(trouble.clone()).or_insert_with(|| self.recorder());
            self.tell_by(recorder, Reason::CertificateRotation, &trouble.text).await;
            told.on_told(trouble, Instant::now());
            recorders.retain(|trouble, _| told.is_last(trouble));
        }
    }

    async fn tell_by(&self, recorder: &Recorder, reason: Reason, note: &str) {
        let client = self.server.kube();
        let about = AboutPod {
            namespace: client.default_namespace(),
            name: &self.pod.name,
            uid: self.pod.uid.as_deref(),
        };
        event::warn(recorder, about, reason.as_str(), reason.action(), note).await;
    }

    fn recorder(&self) -> Recorder {
        let reporter =
            Reporter { controller: "osm-controller".to_owned(), instance: Some(self.pod.name.clone()) };
        Recorder::new(self.server.kube(), reporter)
    }
}

/// What was told of each subject last. Pure.
#[derive(Debug, Default)]
struct Told {
    by_subject: BTreeMap<String, (String, Instant)>,
}

impl Told {
    fn is_due(&self, trouble: &Trouble, now: Instant) -> bool {
        self.by_subject
            .iter()
            .all(|(subject, (_, at))| now >= *at + if *subject == trouble.subject { AGAIN } else { ANOTHER })
    }

    fn on_told(&mut self, Trouble { subject, text }: Trouble, now: Instant) {
        // What was told long ago begins anew.
        self.by_subject.retain(|_, (_, at)| now < *at + AGAIN * 2);
        self.by_subject.insert(subject, (text, now));
    }

    /// Whether this is what was told last of its subject.
    fn is_last(&self, trouble: &Trouble) -> bool {
        self.by_subject.get(&trouble.subject).is_some_and(|(text, _)| *text == trouble.text)
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
            assert_eq!(event["note"].as_str().map(str::len), Some(1_024));
        }
    }

    fn trouble(subject: &str, text: impl ToString) -> Trouble {
        Trouble { subject: subject.to_owned(), text: text.to_string() }
    }

    /// What is told in an hour, by the seconds that have passed: how many Events, and how often
    /// one is counted.
    async fn in_an_hour(look: impl Fn(u64) -> Option<Trouble>) -> (usize, usize) {
        let (events, log, _) = events();
        let begun = Instant::now();
        let followed = events.follow(LeaseWatch::of_holder(), move || look(begun.elapsed().as_secs()));
        tokio::time::timeout(Duration::from_secs(3_600), followed).await.expect_err("it goes on for ever");
        (log.times("POST ").len(), log.times("PATCH ").len())
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_by_the_holder_of_the_lease_and_rarely() {
        let (begun, counted) = in_an_hour(|seconds| match seconds {
            0..100 => None,
            100..2_000 => Some(trouble("a", "the issuer is away")),
            _ => Some(trouble("a", "the issuer refuses")),
        })
        .await;
        // Each begins an Event; what lasts is counted in it.
        assert_eq!(begun, 2);
        assert!((9..=10).contains(&counted), "{counted}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_said_in_other_words_each_time_is_told_as_rarely() {
        let (begun, counted) = in_an_hour(|seconds| Some(trouble("a", seconds))).await;
        assert_eq!((begun, counted), (12, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_that_fail_each_has_an_event_and_they_come_at_a_pace() {
        let in_turn = |seconds: u64| ["a", "b"][usize::from(seconds % 60 < 30)];
        let of_two = |seconds| Some(trouble(in_turn(seconds), ""));
        let (begun, counted) = in_an_hour(of_two).await;
        assert_eq!(begun, 2);
        assert!((16..=24).contains(&counted), "{counted}");
        let (begun, _) = in_an_hour(|seconds| Some(trouble(&seconds.to_string(), ""))).await;
        assert!((58..=60).contains(&begun), "{begun}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_hold_the_lease_tells_nothing() {
        let (events, log, _) = events();
        let (_sender, held) = watch::channel(false);
        let followed = events.follow(LeaseWatch::of(held), || Some(trouble("a", "away")));
        tokio::time::timeout(Duration::from_secs(3_600), followed).await.expect_err("it goes on for ever");
        assert_eq!(log.count(), 0);
    }
}
