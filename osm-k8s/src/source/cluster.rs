//! An API server as a source: what a mesh needs of it, watched.
//!
//! Objects go through the same manifests and conversions as those of files. One that
//! can't be understood keeps its last good state and is named; the others go on. A
//! server that does not answer takes nothing away.
//!
//! What is asked for is in `target`, how one kind is followed in `cursor` (pure) and
//! `follow` and `answer` (the network), what all of it means in `mirror` and `held` (pure).

mod answer;
mod cursor;
mod follow;
mod freshness;
mod held;
mod mirror;
mod object;
mod policies;
mod target;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use futures::{FutureExt, future};
use osm_core::name::NamespaceName;
use osm_core::source::{ConfigSource, SourceEvent};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::ApiClient;
use crate::manifest::ManifestKind;
use mirror::{Input, Mirror};
use object::Object;
use target::Target;

pub use freshness::Freshness;
pub use policies::{Policies, PolicyObject, PolicyObjects};

/// How much is taken in before anything is said of it.
const BATCH: usize = 1024;

/// An API server as a source of facts.
///
/// Watches the namespaces of one mesh and what is in them, and the MeshConfigs beside
/// its control plane. Everything else is dropped as it comes.
///
/// ```no_run
/// use osm_core::catalog::Catalog;
/// use osm_core::snapshot::MeshOptions;
/// use osm_k8s::{ApiClient, KubernetesSource};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ApiClient::find(&["kubeconfig".into()]).await?;
/// let source = KubernetesSource::new(server, "osm", "osm-system".parse()?);
/// let freshness = source.freshness();
/// let (catalog, driver) = Catalog::new(MeshOptions::default());
/// driver.run(Box::new(source)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KubernetesSource {
    server: ApiClient,
    mesh_name: String,
    osm_namespace: NamespaceName,
    freshness: Freshness,
    told_policies: watch::Sender<Arc<PolicyObjects>>,
    policies: Policies,
}

impl KubernetesSource {
    /// The mesh of this name, whose control plane is in this namespace. Nothing is
    /// asked yet.
    #[must_use]
    pub fn new(server: ApiClient, mesh_name: &str, osm_namespace: NamespaceName) -> Self {
        let (told_policies, policies) = Policies::new();
        let (mesh_name, freshness) = (mesh_name.to_owned(), Freshness::default());
        Self { server, mesh_name, osm_namespace, freshness, told_policies, policies }
    }

    /// How old what it says may be.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness.clone()
    }

    /// The objects that have a status.
    #[must_use]
    pub fn policies(&self) -> Policies {
        self.policies.clone()
    }
}

impl ConfigSource for KubernetesSource {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        Watching::new(*self).into_events()
    }
}

/// All watches, and what they add up to.
struct Watching {
    client: kube::Client,
    targets: Vec<Target>,
    inputs: SelectAll<BoxStream<'static, Input>>,
    mirror: Mirror,
    freshness: Freshness,
    policies: watch::Sender<Arc<PolicyObjects>>,
    /// The policy objects that go with what was said last, until it was taken in.
    said_policies: Option<PolicyObjects>,
    /// What was said before anything was asked.
    first: VecDeque<SourceEvent>,
}

impl Watching {
    fn new(source: KubernetesSource) -> Self {
        let KubernetesSource { server, mesh_name, osm_namespace, freshness, told_policies: policies, .. } =
            source;
        let client = server.kube();
        let targets = target::all(&mesh_name, &osm_namespace);
        let mut mirror = Mirror::new(&mesh_name, targets.iter().map(|target| target.kind));
        let watches = targets.iter().map(|target| {
            let sights = follow::follow(client.clone(), target.clone());
            sights.map(|(kind, api_version, seen)| Input::Seen(kind, api_version, seen)).boxed()
        });
        let inputs = stream::select_all(watches.collect::<Vec<_>>());
        let first = mirror.settle(Instant::now()).into();
        Self { client, targets, inputs, mirror, freshness, policies, said_policies: None, first }
    }

    fn into_events(self) -> BoxStream<'static, SourceEvent> {
        let batches = stream::unfold(self, |mut watching| async move {
            let events = watching.next().await;
            Some((stream::iter(events), watching))
        });
        batches.flatten().boxed()
    }

    /// Waits until there is something to say.
    async fn next(&mut self) -> Vec<SourceEvent> {
        if !self.first.is_empty() {
            return self.first.drain(..).collect();
        }
        if let Some(policies) = self.said_policies.take() {
            // Who reads this has all that there is at the moment, and takes it in before
            // it asks again: only then may a status be written about it.
            yield_now().await;
            self.policies.send_replace(Arc::new(policies));
        }
        loop {
            let late = match self.mirror.deadline() {
                Some(deadline) => sleep_until(deadline).left_future(),
                None => future::pending().right_future(),
            };
            tokio::select! {
                input = self.inputs.next() => {
                    let input = input.expect("a watch never ends");
                    self.take(input);
                    for _ in 1..BATCH {
                        let Some(Some(input)) = self.inputs.next().now_or_never() else { break };
                        self.take(input);
                    }
                }
                () = late => {}
            }
            let events = self.mirror.settle(Instant::now());
            if self.mirror.is_told() {
                self.freshness.on_complete();
            }
            let policies = self.mirror.take_policies();
            if !events.is_empty() {
                self.said_policies = policies;
                return events;
            }
            if let Some(policies) = policies {
                self.policies.send_replace(Arc::new(policies));
            }
        }
    }

    fn take(&mut self, input: Input) {
        let now = Instant::now();
        if let Input::Seen(kind, _, seen) = &input {
            self.freshness.on_seen(*kind, seen, now);
        }
        self.mirror.take(input, now);
        for (namespace, number) in self.mirror.take_namespaces_to_load() {
            let targets = self.targets.iter().filter(|target| !held::is_of_no_namespace(target.kind));
            let targets = targets.map(|target| target.within(&namespace)).collect();
            let loaded = load(self.client.clone(), namespace.clone(), targets);
            let loaded = loaded.map(move |lists| Input::Loaded(namespace, number, lists));
            self.inputs.push(loaded.into_stream().boxed());
        }
    }
}

/// What is in a namespace, by kind and in which version of its API.
type Lists = Vec<(ManifestKind, &'static str, Vec<Object>)>;

/// Lists what is in a namespace, however often that has to be tried.
async fn load(client: kube::Client, namespace: NamespaceName, targets: Vec<Target>) -> Lists {
    let mut lists = Vec::new();
    for target in &targets {
        let mut failures = 0;
        let (objects, api_version) = loop {
            match follow::list(&client, target).await {
                Ok(list) => break list,
                Err(failure) => {
                    tracing::warn!(kind = %target.kind, %namespace, ?failure, "a namespace can't be listed yet");
                    sleep(follow::backoff(failures)).await;
                    failures += 1;
                }
            }
        };
        lists.push((target.kind, api_version, objects));
    }
    lists
}
