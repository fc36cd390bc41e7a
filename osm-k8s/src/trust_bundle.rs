//! The ConfigMap with the mesh's authorities, kept in every monitored namespace.
//!
//! Proxies verify their control plane by it. It is written anew when the authorities
//! change, when a namespace comes into the mesh, and when somebody edits or deletes it.
//! A namespace that leaves the mesh keeps it, for the pods that run there still.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{ANSWER, ApiClient, bounded, is_refusal};
use crate::namespaces::MonitoredNamespaces;
use crate::pace::{Pace, earlier, until};

/// The name of the ConfigMap.
pub const TRUST_CONFIG_MAP: &str = "osm-trust-bundle";

/// Who writes it, as `managedFields` says.
pub(crate) const MANAGER: &str = "osm-controller";
/// What the mesh's objects are found by.
pub(crate) const NAME_LABEL: (&str, &str) = ("app.kubernetes.io/name", "openservicemesh.io");
/// By which mesh.
pub(crate) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The files of the ConfigMap, by name; `None` until they are known.
pub type TrustFiles = watch::Receiver<Option<BTreeMap<String, String>>>;

/// Keeps the ConfigMap as these files say, in every namespace of a mesh, for ever.
#[derive(Debug)]
pub struct TrustBundles {
    server: ApiClient,
    mesh_name: String,
    namespaces: MonitoredNamespaces,
    files: TrustFiles,
    /// Where it is as it should be.
    right: BTreeSet<String>,
    /// When it may be written again, by namespace.
    paces: BTreeMap<String, Pace>,
    /// Whether what is there is being listed: until that is done nothing is missing.
    is_listing: bool,
}

impl TrustBundles {
    /// Nothing is written until [`run`](Self::run) is polled.
    #[must_use]
    pub fn new(
        server: ApiClient,
        mesh_name: &str,
        namespaces: MonitoredNamespaces,
        files: TrustFiles,
    ) -> Self {
        let mesh_name = mesh_name.to_owned();
        let (right, paces) = (BTreeSet::new(), BTreeMap::new());
        Self { server, mesh_name, namespaces, files, right, paces, is_listing: true }
    }

    /// Writes what differs whenever it does; where others write something else again and
    /// again, at a bounded pace. Ends when neither files nor namespaces can
    /// change any more.
    pub async fn run(mut self) {
        let all: Api<ConfigMap> = Api::all(self.server.kube());
        let config = Config::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"));
        let mut events = pin!(watcher(all, config).default_backoff());
        loop {
            let again = self.write_what_is_missing().await;
            tokio::select! {
                changed = self.files.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.right.clear();
                    self.paces.clear();
                }
                may_change = self.namespaces.changed() => if !may_change {
                    return;
                },
                Some(event) = events.next() => self.look(event),
                () = until(again) => {}
            }
        }
    }

    /// Takes in what somebody, maybe this, has done to one.
    fn look(&mut self, event: Result<Event<ConfigMap>, watcher::Error>) {
        match event {
            Ok(Event::Init) => {
                self.right.clear();
                self.is_listing = true;
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let is_right =
                    self.files.borrow().as_ref().is_some_and(|files| object.data.as_ref() == Some(files));
                let namespace = object.namespace().unwrap_or_default();
                if is_right {
                    self.right.insert(namespace);
                } else {
                    self.right.remove(&namespace);
                }
            }
            Ok(Event::Delete(object)) => {
                self.right.remove(&object.namespace().unwrap_or_default());
            }
            Ok(Event::InitDone) => self.is_listing = false,
            Err(error) => tracing::warn!(%error, "trust bundles cannot be watched"),
        }
    }

    /// Returns when to do so again, if anything is left to write.
    async fn write_what_is_missing(&mut self) -> Option<Instant> {
        let (files, names) = (self.files.borrow().clone()?, self.namespaces.names()?);
        if self.is_listing {
            return None;
        }
        self.right.retain(|name| names.contains(name));
        self.paces.retain(|name, _| names.contains(name));
        let missing: Vec<String> = names.into_iter().filter(|name| !self.right.contains(name)).collect();
        let mut again = None;
        for name in missing {
            let mut pace = self.paces.get(&name).copied().unwrap_or_default();
            if let Some(later) = pace.wait(Instant::now()) {
                again = earlier(again, Some(later));
                continue;
            }
            let written = self.write(&name, &files).await;
            let now = Instant::now();
            match written {
                Ok(()) => {
                    tracing::debug!(namespace = name, "trust bundle is written");
                    pace.on_written(now);
                    self.right.insert(name.clone());
                }
                // A namespace that is being deleted takes nothing new.
                Err(kube::Error::Api(status)) if status.code == 404 || is_ending(&status.message) => {
                    tracing::debug!(namespace = name, error = %status, "trust bundle is not taken");
                    pace.on_failed(false, now);
                }
                Err(error) => {
                    tracing::warn!(namespace = name, %error, "trust bundle cannot be written");
                    pace.on_failed(is_refusal(&error), now);
                    again = earlier(again, pace.wait(now));
                }
            }
            self.paces.insert(name, pace);
        }
        again
    }

    async fn write(&self, namespace: &str, files: &BTreeMap<String, String>) -> Result<(), kube::Error> {
        let labels = [NAME_LABEL, (INSTANCE_LABEL, self.mesh_name.as_str())];
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(TRUST_CONFIG_MAP.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(files.clone()),
            ..ConfigMap::default()
        };
        let objects: Api<ConfigMap> = Api::namespaced(self.server.kube(), namespace);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        // As a whole: what somebody has added goes as well.
        let writing = async {
            match objects.replace(TRUST_CONFIG_MAP, &params, &object).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    objects.create(&params, &object).await.map(drop)
                }
                replaced => replaced.map(drop),
            }
        };
        bounded(ANSWER, writing).await
    }
}

/// Whether a refusal says that the namespace is being deleted, and not that rights are missing.
fn is_ending(message: &str) -> bool {
    message.contains("because it is being terminated")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::pace;
    use crate::testing::{Answer, Log, server};

    const PUT: &str = "PUT /api/v1/namespaces/shop/configmaps/";

    /// Keeps the ConfigMap of a namespace `shop` for ten minutes on a server that has none,
    /// and that answers a write so.
    async fn keep(list: fn() -> Answer, put: impl Fn() -> Answer + Send + Sync + 'static) -> Log {
        let (edit, edits) = futures::channel::mpsc::unbounded();
        let edits = std::sync::Mutex::new(Some(edits));
        let (server, log) = server(move |asked| match asked.method.as_str() {
            "GET" => list(),
            "WATCH" => edits.lock().expect("nobody panicked").take().map_or(Answer::Never, Answer::Events),
            _ => {
                // Somebody undoes it at once.
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "data": { "ca-bundle.pem": "another" },
                    "metadata": { "name": TRUST_CONFIG_MAP, "namespace": "shop", "resourceVersion": "9" },
                });
                drop(edit.unbounded_send(json!({ "type": "MODIFIED", "object": object })));
                put()
            }
        });
        let (namespaces, _driver) = MonitoredNamespaces::of(server.clone(), &["shop"]);
        let files = BTreeMap::from([("ca-bundle.pem".to_owned(), "ours".to_owned())]);
        let (_sender, files) = watch::channel(Some(files));
        let bundles = TrustBundles::new(server, "osm", namespaces, files);
        let kept = tokio::time::timeout(Duration::from_secs(600), bundles.run()).await;
        kept.expect_err("it goes on for ever");
        log
    }

    fn none() -> Answer {
        Answer::ok(json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": { "resourceVersion": "1" }, "items": [],
        }))
    }

    fn taken() -> Answer {
        Answer::ok(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": TRUST_CONFIG_MAP } }),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_is_undone_and_who_edits_again_and_again_slows_both_down() {
        slow_down(&keep(none, taken).await.times(PUT));
    }

    /// That this is busy no more often than once a minute in the end.
    fn slow_down(times: &[Instant]) {
        let waits: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits[0] >= pace::LEAST && waits[0] < pace::LEAST * 2, "{waits:?}");
        assert!(*waits.last().expect("writes") >= pace::MOST && times.len() < 20, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_until_it_is_known_what_is_there() {
        let log = keep(|| Answer::Never, taken).await;
        assert!(log.count() > 0 && log.times(PUT).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_not_answered_is_tried_again_and_one_that_is_refused_more_and_more_rarely() {
        let silent = keep(none, || Answer::Never).await.times(PUT);
        assert_eq!(silent[1] - silent[0], ANSWER + pace::LEAST);
        let broken = keep(none, || Answer::refusal(StatusCode::INTERNAL_SERVER_ERROR)).await.times(PUT);
        assert!(broken[1] - broken[0] >= pace::LEAST && broken.len() > 200, "{}", broken.len());
        slow_down(&keep(none, || Answer::refusal(StatusCode::FORBIDDEN)).await.times(PUT));
    }
}
