//! The loop that keeps the Secrets: it watches pods and Secrets, and does what is decided.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::claim::{Claim, Key, Seen};
use super::decision::{Step, decide};
use super::known::Known;
use super::queue::Queue;
use super::store::{Outcome, Store};
use super::{PodCredentials, PodSecrets};
use crate::client::is_refusal;
use crate::manifest::PROXY_UUID_LABEL;
use crate::metrics::{Metrics, SecretOutcome};
use crate::namespaces::MonitoredNamespaces;
use crate::pace::until;

/// How many Secrets are made and written at once.
const AT_ONCE: usize = 16;
/// How often is looked for those whose time has come.
const LOOK: Duration = Duration::from_secs(30);

/// How many Secrets are asked for at a time: they may be anybody's and have a megabyte each.
const PAGE: u32 = 32;

/// Why the work has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Namespaces can't change any more.
    Over,
    /// One has come into the mesh: all is to be looked at anew.
    Joined,
}

/// One replica's work while it holds the lease.
pub(super) struct Keeper {
    store: Store,
    credentials: Arc<dyn PodCredentials>,
    namespaces: MonitoredNamespaces,
    /// Those of the mesh; `None` until they are known.
    names: Option<BTreeSet<String>>,
    known: Known,
    pods: Listing,
    secrets: Listing,
    queue: Queue,
    /// Those that are somebody else's, as far as that was told.
    foreign: BTreeSet<Key>,
    jobs: FuturesUnordered<BoxFuture<'static, (Key, Outcome)>>,
    metrics: Metrics,
}

/// How far a list has come.
#[derive(Debug, Default)]
struct Listing {
    /// What was listed so far, while it is.
    seen: Option<BTreeSet<Key>>,
    /// Whether all was listed once.
    is_complete: bool,
}

impl Keeper {
    pub(super) fn new(all: &PodSecrets) -> Self {
        Self {
            store: Store { server: all.server.clone(), mesh_name: all.mesh_name.clone() },
            credentials: Arc::clone(&all.credentials),
            namespaces: all.namespaces.clone(),
            names: None,
            known: Known::default(),
            pods: Listing::default(),
            secrets: Listing::default(),
            queue: Queue::default(),
            foreign: BTreeSet::new(),
            jobs: FuturesUnordered::new(),
            metrics: all.metrics.clone(),
        }
    }

    /// Keeps them until it is dropped, or until there is a reason to end. Secrets of other namespaces are not looked into.
    pub(super) async fn run(mut self) -> End {
        self.take_namespaces();
        while self.names.is_none() {
            if !self.namespaces.changed().await {
                return End::Over;
            }
            self.take_namespaces();
        }
        let client = || self.store.server.kube();
        let pods = Config::default().labels(PROXY_UUID_LABEL);
        let mut pods = pin!(watcher(Api::<Pod>::all(client()), pods).default_backoff());
        let secrets = Config::default().labels(&self.store.selector()).page_size(PAGE);
        let mut secrets = pin!(watcher(Api::<Secret>::all(client()), secrets).default_backoff());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = self.start_jobs();
            tokio::select! {
                Some(event) = pods.next() => self.on_pod(event),
                Some(event) = secrets.next() => self.on_secret(event),
                Some((key, outcome)) = self.jobs.next() => self.on_done(key, outcome),
                may_change = self.namespaces.changed() => {
                    if !may_change {
                        return End::Over;
                    }
                    if self.take_namespaces() {
                        return End::Joined;
                    }
                }
                _ = looks.tick() => self.look_at_all(),
                () = until(again) => {}
            }
        }
    }

    /// Says whether there is one that was not there before.
    fn take_namespaces(&mut self) -> bool {
        let names: Option<BTreeSet<String>> =
            self.namespaces.names().map(|names| names.into_iter().collect());
        let before = std::mem::replace(&mut self.names, names);
        self.look_at_all();
        let known = before.unwrap_or_default();
        self.names.as_ref().is_some_and(|names| !names.is_subset(&known))
    }

    fn look_at_all(&mut self) {
        self.queue.look_at(self.known.keys().cloned());
    }

    /// Begins what is to be done. Returns when to look again, if something waits.
    fn start_jobs(&mut self) -> Option<Instant> {
        let is_complete = self.pods.is_complete && self.secrets.is_complete;
        let names = self.names.as_ref().filter(|_| is_complete)?;
        let (now, time) = (Instant::now(), SystemTime::now());
        while self.jobs.len() < AT_ONCE {
            let Some(key) = self.queue.next(now) else { break };
            // A namespace that left the mesh keeps what it has: pods run on there.
            if !names.contains(&key.0) {
                continue;
            }
            let step = decide(self.known.claims(&key), self.known.secret(&key), time);
            if step == Step::Keep || !self.queue.begin(&key, now) {
                continue;
            }
            let is_told = self.foreign.contains(&key);
            let job = job(self.store.clone(), Arc::clone(&self.credentials), &key, step, is_told);
            self.jobs.push(job.map(move |outcome| (key, outcome)).boxed());
        }
        self.queue.wakes()
    }

    fn on_pod(&mut self, event: Result<Event<Pod>, watcher::Error>) {
        let put = match event {
            Ok(Event::Init) => return self.pods.begin(),
            Ok(Event::InitDone) => {
                let there = self.pods.end();
                self.known.retain_pods(&there);
                self.foreign.retain(|key| !self.known.claims(key).is_empty());
                return self.look_at_all();
            }
            Ok(Event::InitApply(pod)) => {
                self.pods.note(key_of(pod.meta()));
                (key_of(pod.meta()), Claim::of(&pod))
            }
            Ok(Event::Apply(pod)) => (key_of(pod.meta()), Claim::of(&pod)),
            Ok(Event::Delete(pod)) => (key_of(pod.meta()), None),
            Err(error) => return tracing::warn!(%error, "pods cannot be watched for their Secrets"),
        };
        self.queue.look_at(self.known.put_pod(put.0, put.1));
    }

    fn on_secret(&mut self, event: Result<Event<Secret>, watcher::Error>) {
        match event {
            Ok(Event::Init) => self.secrets.begin(),
            Ok(Event::InitDone) => {
                let there = self.secrets.end();
                self.known.retain_secrets(&there);
                self.look_at_all();
            }
            Ok(Event::InitApply(secret)) => {
                self.secrets.note(key_of(secret.meta()));
                self.take_secret(secret);
            }
            Ok(Event::Apply(secret)) => self.take_secret(secret),
            Ok(Event::Delete(secret)) => {
                let key = key_of(secret.meta());
                self.known.put_secret(key.clone(), None);
                self.queue.look_at([key]);
            }
            Err(error) => tracing::warn!(%error, "the Secrets of pods cannot be watched"),
        }
    }

    fn take_secret(&mut self, secret: Secret) {
        let namespace = secret.metadata.namespace.as_ref();
        let is_of_mesh = namespace.zip(self.names.as_ref()).is_some_and(|(name, names)| names.contains(name));
        if !is_of_mesh {
            return;
        }
        if let Some((key, seen)) = Seen::of(secret, self.credentials.as_ref()) {
            // Whoever makes another one is told anew.
            self.foreign.remove(&key);
            self.known.put_secret(key.clone(), Some(seen));
            self.queue.look_at([key]);
        }
    }

    fn on_done(&mut self, key: Key, outcome: Outcome) {
        let (now, (namespace, name)) = (Instant::now(), (key.0.as_str(), key.1.as_str()));
        let counted = match &outcome {
            Outcome::Made(_) => SecretOutcome::Made,
            Outcome::Renewed(_) => SecretOutcome::Renewed,
            Outcome::Removed => SecretOutcome::Removed,
            Outcome::Foreign => {
                tracing::warn!(
                    namespace,
                    name,
                    "the Secret of a pod is somebody else's; delete it, so that the pod gets its own"
                );
                self.foreign.insert(key.clone());
                SecretOutcome::Foreign
            }
            Outcome::Changed => SecretOutcome::Changed,
            Outcome::Failed(error) => {
                tracing::warn!(namespace, name, %error, "the Secret of a pod cannot be written");
                SecretOutcome::Failed
            }
            Outcome::NotIssued => {
                tracing::warn!(namespace, name, "there is no certificate for the proxy of a pod");
                SecretOutcome::Failed
            }
        };
        self.metrics.wrote_secret(counted);
        // What others undo or refuse is done ever more rarely; what fails otherwise, at an even pace.
        let slows = match &outcome {
            Outcome::Failed(error) => is_refusal(error),
            Outcome::Changed | Outcome::NotIssued => false,
            _ => true,
        };
        self.queue.end(key.clone(), slows, now);
        match outcome {
            Outcome::Made(secret) | Outcome::Renewed(secret) => self.take_secret(*secret),
            Outcome::Removed => self.known.put_secret(key, None),
            _ => {}
        }
    }
}

impl Listing {
    fn begin(&mut self) {
        self.seen = Some(BTreeSet::new());
    }

    fn note(&mut self, key: Key) {
        self.seen.get_or_insert_default().insert(key);
    }

    /// What was there.
    fn end(&mut self) -> BTreeSet<Key> {
        self.is_complete = true;
        self.seen.take().unwrap_or_default()
    }
}

fn key_of(metadata: &ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Does a step. What is in its way is told, unless it was: then nothing is signed until it is away.
fn job(
    store: Store,
    credentials: Arc<dyn PodCredentials>,
    key: &Key,
    step: Step<'_>,
    is_told: bool,
) -> BoxFuture<'static, Outcome> {
    match step {
        Step::Keep => futures::future::ready(Outcome::Changed).boxed(),
        Step::Remove(seen) => {
            let (key, seen) = (key.clone(), seen.clone());
            async move { store.remove(&key, &seen).await }.boxed()
        }
        Step::Write(claim, seen) => {
            let (claim, seen) = (claim.clone(), seen.cloned());
            async move {
                if is_told
                    && seen.is_none()
                    && let Some(outcome) = store.obstacle(&claim).await
                {
                    return outcome;
                }
                let Some(files) = credentials.issue(claim.proxy.clone()).await else {
                    return Outcome::NotIssued;
                };
                let outcome = store.write(&claim, files, seen.as_ref()).await;
                if matches!(outcome, Outcome::Foreign) && !is_told {
                    store.tell(&claim).await;
                }
                outcome
            }
            .boxed()
        }
    }
}
