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
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use osm_core::name::NamespaceName;
use tokio::time::Instant;

use crate::client::{ANSWER, ApiClient, bounded, is_refusal};

/// How long a text may be, in bytes: an API server takes 256 KiB of annotations.
pub const MAX_TEXT: usize = 200 * 1024;
/// How often a Lease is renewed when its text stays the same.
const RENEWAL: Duration = Duration::from_secs(10);
/// For how long the text of a Lease that is not renewed is believed.
pub const BELIEVED: Duration = Duration::from_secs(30);
/// After how long without renewal a Lease is taken away.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// What the Leases are found by, whatever they are about.
pub const REPLICA_SELECTOR: &str = LABEL;
/// The label of that selector.
const LABEL: &str = "openservicemesh.io/replica-of";

/// What replicas tell each other of: each has a Lease of its own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Their proxies.
    Proxies,
    /// How far they have come with the mesh's roots.
    Roots,
}

impl Topic {
    /// The value of the label.
    fn label(self) -> &'static str {
        match self {
            Self::Proxies => "osm-controller",
            Self::Roots => "osm-controller-roots",
        }
    }

    fn selector(self) -> String {
        format!("{LABEL}={}", self.label())
    }

    /// How the names of Leases begin.
    fn prefix(self) -> &'static str {
        match self {
            Self::Proxies => "osm-replica-",
            Self::Roots => "osm-roots-",
        }
    }
}

/// What another replica has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub replica: String,
    /// The text.
    pub text: String,
    /// Whether its Lease was renewed lately. Otherwise the replica may have been killed, can't reach the API server, or has
    /// nothing to tell.
    pub is_fresh: bool,
    /// The name of the Lease, and the version of it that was seen.
    lease: (String, String),
}
/// Who writes.
const MANAGER: &str = "osm-controller";
/// Where the text is.
const TEXT: &str = "openservicemesh.io/told";

/// One replica's place among the others.
#[derive(Debug)]
pub struct Replicas {
    server: ApiClient,
    namespace: NamespaceName,
    topic: Topic,
    replica: String,
    told: Option<(String, Instant)>,
    others: Others,
}

impl Replicas {
    /// The place of a replica of this name, which no other has, in the namespace of the
    /// control plane.
    #[must_use]
    pub fn new(server: ApiClient, namespace: NamespaceName, topic: Topic, replica: &str) -> Self {
        Self { server, namespace, topic, replica: replica.to_owned(), told: None, others: Others::default() }
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
        let all = self.all().await?;
        Ok(all.into_iter().filter(|told| told.is_fresh).map(|told| told.text).collect())
    }

    /// What all others have told that may live.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn all(&mut self) -> Result<Vec<Told>, Untold> {
        let selector = ListParams::default().labels(&self.topic.selector());
        let leases = bounded(ANSWER, self.api().list(&selector)).await?;
        let own = self.name();
        let leases = leases.items.into_iter().filter(|lease| lease.name_any() != own).map(Seen::from);
        let told = self.others.look(leases.collect(), Instant::now());
        if self.topic == Topic::Roots {
            // Nothing is told while nothing changes, so that silence says nothing: who lives is for the caller to find out.
            return Ok(told.into_iter().map(|(told, _)| told).collect());
        }
        let (left_behind, told): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|(_, age)| *age >= LEFT_BEHIND);
        for (told, _) in left_behind {
            self.take_away(&told).await;
        }
        Ok(told.into_iter().map(|(told, _)| told).collect())
    }

    /// Takes away the Lease of a replica that does not live any more, unless it was renewed since it was seen.
    pub async fn take_away(&self, told: &Told) {
        let (name, version) = &told.lease;
        let seen = Preconditions { resource_version: Some(version.clone()), uid: None };
        let params = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
        // It may be gone already.
        if let Err(error) = bounded(ANSWER, self.api().delete(name, &params)).await {
            tracing::debug!(lease = name, %error, "what a replica has left is not taken away");
        }
    }

    /// Whether there is a pod of this name beside this one that has not ended: a replica in it may go on serving though it
    /// says nothing.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn has_pod(&self, name: &str) -> Result<bool, Untold> {
        let pods: Api<Pod> = Api::namespaced(self.server.kube(), self.namespace.as_str());
        let pod = bounded(ANSWER, pods.get_opt(name)).await?;
        let phase =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        Ok(pod.is_some_and(|pod| !matches!(phase(&pod).as_str(), "Succeeded" | "Failed")))
    }

    /// Takes this replica's Lease away. Also where it was written and that is not known.
    ///
    /// # Errors
    /// When the API server does not do so.
    pub async fn leave(self) -> Result<(), Untold> {
        match bounded(ANSWER, self.api().delete(&self.name(), &DeleteParams::default())).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, text: &str) -> Lease {
        let one = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: one(LABEL, self.topic.label()),
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
        lease_name(self.topic, &self.replica)
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

impl Untold {
    /// Whether the API server has answered, and does not let it be done.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Server(error) if is_refusal(error))
    }
}

impl From<kube::Error> for Untold {
    fn from(error: kube::Error) -> Self {
        Self::Server(Box::new(error))
    }
}

/// The name of a replica's Lease. The replica's name may be that of any host.
fn lease_name(topic: Topic, replica: &str) -> String {
    let clean = replica.chars().map(|letter| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    });
    let clean: String = clean.take(200).collect();
    format!("{}{}", topic.prefix(), clean.trim_matches('-'))
}

/// Another replica's Lease.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    replica: String,
    /// What changes with each renewal.
    version: String,
    text: String,
}

impl From<Lease> for Seen {
    fn from(mut lease: Lease) -> Self {
        let text = lease.annotations_mut().remove(TEXT).unwrap_or_default();
        let name = lease.name_any();
        let version = lease.resource_version().unwrap_or_default();
        let replica = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_else(|| name.clone());
        Self { name, replica, version, text }
    }
}

/// Since when each Lease has not changed. Pure.
#[derive(Debug, Default)]
struct Others {
    by_name: BTreeMap<String, (String, Instant)>,
}

impl Others {
    /// What was told by whom, each with the time for which it has not been renewed.
    fn look(&mut self, leases: Vec<Seen>, now: Instant) -> Vec<(Told, Duration)> {
        let before = std::mem::take(&mut self.by_name);
        let mut told = Vec::new();
        for Seen { name, replica, version, text } in leases {
            let since = match before.get(&name) {
                Some((known, since)) if *known == version => *since,
                _ => now,
            };
            let age = now.duration_since(since);
            let lease = (name.clone(), version.clone());
            told.push((Told { replica, text, is_fresh: age < BELIEVED, lease }, age));
            self.by_name.insert(name, (version, since));
        }
        told
    }
}

#[cfg(test)]
mod tests;
