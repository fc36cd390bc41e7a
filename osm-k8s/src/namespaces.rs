//! The namespaces of one mesh, with their labels and annotations, watched.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{Semaphore, watch};

use crate::client::{ApiClient, bounded};
use crate::manifest::MONITORED_BY_LABEL;

/// How many namespaces are asked about at once. Strangers can have any name asked about;
/// those of the mesh are known, and need no place.
const MAX_QUESTIONS: usize = 16;
/// How long a question may take, with the wait for a place: less than whoever asks waits.
const QUESTION: Duration = Duration::from_secs(5);

/// A namespace, as far as it decides about its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceTexts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

type Known = BTreeMap<String, Arc<NamespaceTexts>>;

/// The namespaces that are labelled with the mesh's name. Clones are the same.
#[derive(Debug, Clone)]
pub struct MonitoredNamespaces {
    server: ApiClient,
    known: watch::Receiver<Option<Arc<Known>>>,
    questions: Arc<Semaphore>,
}

/// Keeps [`MonitoredNamespaces`] true; nothing happens unless it runs.
#[derive(Debug)]
pub struct NamespacesDriver {
    server: ApiClient,
    mesh_name: String,
    known: watch::Sender<Option<Arc<Known>>>,
}

/// The API server does not say what a namespace is like.
#[derive(Debug, thiserror::Error)]
#[error("the API server does not say what namespace {namespace} is like")]
pub struct NamespaceUnknown {
    namespace: String,
    #[source]
    source: Box<kube::Error>,
}

impl MonitoredNamespaces {
    /// The namespaces of a mesh. Nothing is asked until the driver runs.
    #[must_use]
    pub fn new(server: ApiClient, mesh_name: &str) -> (Self, NamespacesDriver) {
        let (sender, known) = watch::channel(None);
        let driver =
            NamespacesDriver { server: server.clone(), mesh_name: mesh_name.to_owned(), known: sender };
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        (Self { server, known, questions }, driver)
    }

    /// A mesh with these namespaces, and what can change them.
    #[cfg(test)]
    pub(crate) fn of(server: ApiClient, names: &[&str]) -> (Self, NamespacesDriver) {
        let (namespaces, driver) = Self::new(server, "osm");
        driver.set(names);
        (namespaces, driver)
    }

    /// Their names, once they are known.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        self.known.borrow().as_ref().map(|known| known.keys().cloned().collect())
    }

    /// Waits until they changed since this last returned. Returns whether they can
    /// change again. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.known.changed().await.is_ok()
    }

    /// A namespace: as it was seen last, or, where it was not seen in the mesh, as the server
    /// says now, since it may have come into the mesh a moment ago.
    ///
    /// # Errors
    /// When the server does not say, or not in time.
    pub async fn find(&self, name: &str) -> Result<Arc<NamespaceTexts>, NamespaceUnknown> {
        let known = self.known.borrow().as_ref().and_then(|known| known.get(name).cloned());
        if let Some(namespace) = known {
            return Ok(namespace);
        }
        let namespaces: Api<Namespace> = Api::all(self.server.kube());
        let question = async {
            let _place = self.questions.acquire().await.expect("nobody closes the places");
            namespaces.get_metadata_opt(name).await
        };
        match bounded(QUESTION, question).await {
            Ok(found) => Ok(Arc::new(found.map(|found| texts(&found)).unwrap_or_default())),
            Err(source) => Err(NamespaceUnknown { namespace: name.to_owned(), source: Box::new(source) }),
        }
    }
}

impl NamespacesDriver {
    /// Follows the namespaces for ever. A server that is away takes nothing away.
    pub async fn run(self) {
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.server.kube());
        let config = Config::default().labels(&format!("{MONITORED_BY_LABEL}={}", self.mesh_name));
        let mut events = pin!(watcher(namespaces, config).default_backoff());
        let mut fresh = Known::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => fresh.clear(),
                Ok(Event::InitApply(namespace)) => {
                    fresh.extend(entry(&namespace));
                }
                Ok(Event::InitDone) => self.show(std::mem::take(&mut fresh)),
                Ok(Event::Apply(namespace)) => self.change(|known| known.extend(entry(&namespace))),
                Ok(Event::Delete(namespace)) => self.change(|known| {
                    if let Some((name, _)) = entry(&namespace) {
                        known.remove(&name);
                    }
                }),
                Err(error) => tracing::warn!(%error, "namespaces cannot be watched"),
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.borrow().as_deref().cloned().unwrap_or_default();
        change(&mut known);
        self.show(known);
    }

    /// Has the mesh have these namespaces from now on.
    #[cfg(test)]
    pub(crate) fn set(&self, names: &[&str]) {
        self.show(names.iter().map(|name| ((*name).to_owned(), Arc::default())).collect());
    }

    fn show(&self, known: Known) {
        self.known.send_if_modified(|shown| {
            let is_new = shown.as_deref() != Some(&known);
            if is_new {
                *shown = Some(Arc::new(known));
            }
            is_new
        });
    }
}

fn entry(namespace: &PartialObjectMeta<Namespace>) -> Option<(String, Arc<NamespaceTexts>)> {
    Some((namespace.metadata.name.clone()?, Arc::new(texts(namespace))))
}

fn texts(namespace: &PartialObjectMeta<Namespace>) -> NamespaceTexts {
    NamespaceTexts {
        labels: namespace.metadata.labels.clone().unwrap_or_default(),
        annotations: namespace.metadata.annotations.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;
    use crate::testing::{Answer, server};

    #[tokio::test(start_paused = true)]
    async fn few_namespaces_are_asked_about_at_once_and_none_for_long() {
        let (server, asked) = server(|_| Answer::Never);
        let (namespaces, _driver) = MonitoredNamespaces::new(server, "osm");
        let begun = Instant::now();
        let names: Vec<String> = (0..MAX_QUESTIONS * 4).map(|number| format!("n{number}")).collect();
        let found = join_all(names.iter().map(|name| namespaces.find(name))).await;
        assert!(found.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), QUESTION);
        assert_eq!(asked.count(), MAX_QUESTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_of_the_mesh_is_known_also_while_strangers_ask() {
        let (server, _) = server(|_| Answer::Never);
        let (namespaces, _driver) = MonitoredNamespaces::of(server, &["shop"]);
        let strangers = join_all((0..MAX_QUESTIONS).map(|_| namespaces.find("elsewhere")));
        tokio::select! {
            biased;
            _ = strangers => panic!("nobody answers them"),
            found = namespaces.find("shop") => drop(found.expect("it is known")),
        }
    }
}
