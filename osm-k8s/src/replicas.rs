//! What each replica of a control plane tells the others: a text in a `Lease` of its own.
//!
//! A replica renews its Lease as long as it lives, so a text whose Lease does not change any
//! more is not believed for long; that is judged on the own clock, so clocks that differ do
//! no harm. A replica that ends takes its Lease away. What one leaves that was killed is
//! taken away after a while by whoever looks.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, ResourceExt};
use osm_core::name::NamespaceName;
use tokio::time::Instant;

use crate::client::{ANSWER, ApiClient, bounded};

/// How long a text may be, in bytes: an API server takes 256 KiB of annotations.
pub const MAX_TEXT: usize = 200 * 1024;
/// How often a Lease is renewed when its text stays the same.
const RENEWAL: Duration = Duration::from_secs(10);
/// For how long the text of a Lease that is not renewed is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// After how long without renewal a Lease is taken away.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// What the Leases are found by.
pub const REPLICA_SELECTOR: &str = "openservicemesh.io/replica-of=osm-controller";
/// The label of that selector.
const LABEL: (&str, &str) = ("openservicemesh.io/replica-of", "osm-controller");
/// Who writes.
const MANAGER: &str = "osm-controller";
/// Where the text is.
const TEXT: &str = "openservicemesh.io/told";

/// One replica's place among the others.
#[derive(Debug)]
pub struct Replicas {
    server: ApiClient,
    namespace: NamespaceName,
    replica: String,
    told: Option<(String, Instant)>,
    others: Others,
}

impl Replicas {
    /// The place of a replica of this name, which no other has, in the namespace of the
    /// control plane.
    #[must_use]
    pub fn new(server: ApiClient, namespace: NamespaceName, replica: &str) -> Self {
        Self { server, namespace, replica: replica.to_owned(), told: None, others: Others::default() }
    }

    /// Tells the others this text, if they don't know it yet or must hear again that this
    /// replica lives.
    ///
    /// # Errors
    /// When the API server does not take it, or the text is longer than [`MAX_TEXT`].
    pub async fn tell(&mut self, text: &str) -> Result<(), Untold> {
        if text.len() > MAX_TEXT {
            return Err(Untold::TooLong(text.len()));
        }
        let now = Instant::now();
        let is_known = |(told, at): &(String, Instant)| told == text && now.duration_since(*at) < RENEWAL;
        if self.told.as_ref().is_some_and(is_known) {
            return Ok(());
        }
        let lease = self.lease(text);
        let params = PatchParams::apply(MANAGER).force();
        bounded(ANSWER, self.api().patch(&self.name(), &params, &Patch::Apply(&lease))).await?;
        self.told = Some((text.to_owned(), now));
        Ok(())
    }

    /// What the others tell that live.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn told(&mut self) -> Result<Vec<String>, Untold> {
        let selector = ListParams::default().labels(REPLICA_SELECTOR);
        let leases = bounded(ANSWER, self.api().list(&selector)).await?;
        let own = self.name();
        let leases = leases.items.into_iter().filter(|lease| lease.name_any() != own).map(Seen::from);
        let (texts, left_behind) = self.others.look(leases.collect(), Instant::now());
        for name in left_behind {
            // It may be gone already.
            if let Err(error) = bounded(ANSWER, self.api().delete(&name, &DeleteParams::default())).await {
                tracing::debug!(lease = name, %error, "what a replica has left is not taken away");
            }
        }
        Ok(texts)
    }

    /// Takes this replica's Lease away.
    ///
    /// # Errors
    /// When the API server does not do so.
    pub async fn leave(self) -> Result<(), Untold> {
        if self.told.is_some() {
            bounded(ANSWER, self.api().delete(&self.name(), &DeleteParams::default())).await?;
        }
        Ok(())
    }

    fn lease(&self, text: &str) -> Lease {
        let one = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: one(LABEL.0, LABEL.1),
                annotations: one(TEXT, text),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.replica.clone()),
                lease_duration_seconds: i32::try_from(BELIEVED.as_secs()).ok(),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }

    fn name(&self) -> String {
        lease_name(&self.replica)
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.server.kube(), self.namespace.as_str())
    }
}

/// Why others are not told, or can't be heard.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// There is too much to tell.
    #[error("{0} bytes are more than the {MAX_TEXT} that a Lease may hold")]
    TooLong(usize),
    /// The API server refuses, or does not answer.
    #[error("the API server does not take part")]
    Server(#[source] Box<kube::Error>),
}

impl From<kube::Error> for Untold {
    fn from(error: kube::Error) -> Self {
        Self::Server(Box::new(error))
    }
}

/// The name of a replica's Lease. The replica's name may be that of any host.
fn lease_name(replica: &str) -> String {
    let clean = replica.chars().map(|letter| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    });
    let clean: String = clean.take(200).collect();
    format!("osm-replica-{}", clean.trim_matches('-'))
}

/// Another replica's Lease.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    /// What changes with each renewal.
    version: String,
    text: String,
}

impl From<Lease> for Seen {
    fn from(mut lease: Lease) -> Self {
        let text = lease.annotations_mut().remove(TEXT).unwrap_or_default();
        Self { name: lease.name_any(), version: lease.resource_version().unwrap_or_default(), text }
    }
}

/// Since when each Lease has not changed. Pure.
#[derive(Debug, Default)]
struct Others {
    by_name: BTreeMap<String, (String, Instant)>,
}

impl Others {
    /// The texts that are believed, and the names of Leases that were left behind.
    fn look(&mut self, leases: Vec<Seen>, now: Instant) -> (Vec<String>, Vec<String>) {
        let before = std::mem::take(&mut self.by_name);
        let (mut texts, mut left_behind) = (Vec::new(), Vec::new());
        for Seen { name, version, text } in leases {
            let since = match before.get(&name) {
                Some((known, since)) if *known == version => *since,
                _ => now,
            };
            let age = now.duration_since(since);
            if age < BELIEVED {
                texts.push(text);
            }
            if age >= LEFT_BEHIND {
                left_behind.push(name.clone());
            }
            self.by_name.insert(name, (version, since));
        }
        (texts, left_behind)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Answer, server};

    fn seen(name: &str, version: &str) -> Seen {
        Seen { name: name.to_owned(), version: version.to_owned(), text: format!("{name} {version}") }
    }

    #[test]
    fn a_replica_is_believed_while_it_renews_its_lease_and_what_it_leaves_goes() {
        let (mut others, begun) = (Others::default(), Instant::now());
        let both = || vec![seen("a", "1"), seen("b", "1")];
        assert_eq!(others.look(both(), begun).0, ["a 1", "b 1"]);
        let late = begun + BELIEVED;
        let renewed = vec![seen("a", "2"), seen("b", "1")];
        assert_eq!(others.look(renewed.clone(), late), (vec!["a 2".to_owned()], Vec::new()));
        let (texts, left_behind) = others.look(renewed, begun + LEFT_BEHIND);
        assert!(texts.is_empty(), "{texts:?}");
        assert_eq!(left_behind, ["b"]);
        assert_eq!(others.look(vec![seen("b", "9")], late).0, ["b 9"], "it lives again");
    }

    #[test]
    fn the_selector_is_that_of_the_label() {
        assert_eq!(REPLICA_SELECTOR, format!("{}={}", LABEL.0, LABEL.1));
    }

    #[test]
    fn a_lease_has_a_name_that_an_api_server_takes() {
        assert_eq!(lease_name("osm-controller-5d-x-1"), "osm-replica-osm-controller-5d-x-1");
        assert_eq!(lease_name("My_Host.local-7"), "osm-replica-my-host-local-7");
        assert!(lease_name(&"x".repeat(400)).len() < 253);
    }

    /// An API server that keeps leases as it gets them, and knows another replica's.
    fn leases() -> (ApiClient, crate::testing::Log, Arc<Mutex<Vec<Value>>>) {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&kept);
        let (server, log) = server(move |asked| {
            if asked.method != "GET" {
                all.lock().expect("nobody panicked").push(asked.body.clone());
                return Answer::ok(json!({ "metadata": { "name": "this" } }));
            }
            let other =
                json!({ "metadata": { "name": "osm-replica-other", "annotations": { TEXT: "hello" } } });
            let own = json!({ "metadata": { "name": "osm-replica-this", "annotations": { TEXT: "own" } } });
            Answer::ok(json!({ "metadata": {}, "items": [own, other] }))
        });
        (server, log, kept)
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_written_when_it_is_new_or_has_to_be_renewed_and_goes_with_its_replica() {
        let (server, log, kept) = leases();
        let mut replicas = Replicas::new(server, "osm-system".parse().expect("a name"), "this");
        for _ in 0..3 {
            replicas.tell("one").await.expect("it is taken");
        }
        replicas.tell("two").await.expect("it is taken");
        tokio::time::advance(RENEWAL).await;
        replicas.tell("two").await.expect("it is taken");
        let told = |object: &Value| object["metadata"]["annotations"][TEXT].as_str().map(str::to_owned);
        let texts: Vec<_> = kept.lock().expect("nobody panicked").iter().filter_map(told).collect();
        assert_eq!(texts, ["one", "two", "two"]);
        assert_eq!(replicas.told().await.expect("they are heard"), ["hello"]);
        replicas.leave().await.expect("it goes");
        let last = log.texts().pop();
        let path = "/apis/coordination.k8s.io/v1/namespaces/osm-system/leases/osm-replica-this";
        assert_eq!(last, Some(format!("DELETE {path}")));
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_sent() {
        let (server, log, _) = leases();
        let mut replicas = Replicas::new(server, "osm-system".parse().expect("a name"), "this");
        let error = replicas.tell(&"x".repeat(MAX_TEXT + 1)).await.expect_err("too long");
        assert!(error.to_string().starts_with("204801 bytes"), "{error}");
        assert_eq!(log.count(), 0);
    }
}
