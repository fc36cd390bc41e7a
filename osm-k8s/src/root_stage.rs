//! The stage of the mesh's roots in one ConfigMap beside the control plane, where all replicas read it.
//!
//! It is one object of its own, and not the status of a MeshRootCertificate, since a compare-and-swap needs one object, and
//! people may delete any of those at any time. What stands there shows in the status of each (`status::root`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta, PostParams};
use osm_certs::issuer::async_trait;
use osm_certs::rotation::{Stage, StageStore, StoreError};
use osm_core::name::NamespaceName;

use crate::client::{ANSWER, ApiClient, bounded};
use crate::manifest::ManifestKind;
use crate::status::root::{RootStatus, StageStatus};

/// The name of the ConfigMap.
pub const STAGE_CONFIG_MAP: &str = "osm-mesh-roots";
/// Under which name the stage is there.
pub const STAGE_FIELD: &str = "stage.json";
/// What the ConfigMap is part of.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "openservicemesh.io");

/// A ConfigMap that says which roots are in use.
#[derive(Debug, Clone)]
pub struct StageConfigMap {
    server: ApiClient,
    namespace: NamespaceName,
}

impl StageConfigMap {
    /// The one in this namespace.
    #[must_use]
    pub fn new(server: ApiClient, namespace: NamespaceName) -> Self {
        Self { server, namespace }
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.server.kube(), self.namespace.as_str())
    }

    fn error(&self, doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        let what = format!("{doing} ConfigMap {}/{STAGE_CONFIG_MAP}", self.namespace);
        StoreError { what, source: source.into() }
    }

    async fn read(&self) -> Result<Option<ConfigMap>, StoreError> {
        let read = bounded(ANSWER, self.api().get_opt(STAGE_CONFIG_MAP)).await;
        read.map_err(|error| self.error("reading", error))
    }

    /// The newest stage that a MeshRootCertificate shows in its status: what is known where somebody has deleted the ConfigMap. A
    /// mesh that began again then would trust none of what is in use.
    async fn of_statuses(&self) -> Result<Option<Stage>, StoreError> {
        let kind = ManifestKind::MeshRootCertificate.resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.server.kube(), self.namespace.as_str(), &kind);
        let roots = match bounded(ANSWER, api.list(&ListParams::default())).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            listed => listed.map_err(|error| {
                self.error("reading the statuses of MeshRootCertificates instead of", error)
            })?,
        };
        let shown = roots.items.iter().filter_map(|root| RootStatus::read(&root.data["status"]).ok()?.stage);
        let newest = shown.max_by_key(|stage| stage.number);
        let damaged = "reading the statuses of MeshRootCertificates instead of";
        newest.map(|stage| stage.stage().map_err(|error| self.error(damaged, error))).transpose()
    }

    /// The stage of a ConfigMap.
    fn stage(&self, map: &ConfigMap) -> Result<Stage, StoreError> {
        let damaged = "reading, which is damaged (restore it from a copy),";
        let text = map.data.as_ref().and_then(|data| data.get(STAGE_FIELD));
        let text = text.ok_or_else(|| self.error(damaged, format!("it has no {STAGE_FIELD}")))?;
        let status: StageStatus = serde_json::from_str(text).map_err(|error| self.error(damaged, error))?;
        status.stage().map_err(|error| self.error(damaged, error))
    }

    fn map(&self, stage: &Stage, version: Option<String>) -> Result<ConfigMap, StoreError> {
        let text = serde_json::to_string_pretty(&StageStatus::of(stage));
        let text = text.map_err(|error| self.error("writing", error))?;
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(STAGE_CONFIG_MAP.to_owned()),
                namespace: Some(self.namespace.to_string()),
                labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
                resource_version: version,
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(STAGE_FIELD.to_owned(), text)])),
            ..ConfigMap::default()
        })
    }
}

#[async_trait]
impl StageStore for StageConfigMap {
    async fn load(&self) -> Result<Option<Stage>, StoreError> {
        match self.read().await? {
            Some(map) => self.stage(&map).map(Some),
            None => self.of_statuses().await,
        }
    }

    async fn swap(&self, number: Option<u64>, next: &Stage) -> Result<bool, StoreError> {
        let there = self.read().await?;
        let known = match &there {
            Some(map) => Some(self.stage(map)?),
            None => self.of_statuses().await?,
        };
        if known.map(|stage| stage.number) != number {
            return Ok(false);
        }
        let wanted = self.map(next, there.and_then(|map| map.metadata.resource_version))?;
        let params = PostParams::default();
        let written = match wanted.metadata.resource_version {
            Some(_) => bounded(ANSWER, self.api().replace(STAGE_CONFIG_MAP, &params, &wanted)).await,
            None => bounded(ANSWER, self.api().create(&params, &wanted)).await,
        };
        match written {
            Ok(_) => Ok(true),
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(self.error("writing", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Answer, Log, server};

    /// An API server that has one object at most, and checks versions as a real one does.
    fn one_object() -> (StageConfigMap, Log, Arc<Mutex<Option<Value>>>) {
        one_object_and(Vec::new())
    }

    /// The same, with MeshRootCertificates.
    fn one_object_and(roots: Vec<Value>) -> (StageConfigMap, Log, Arc<Mutex<Option<Value>>>) {
        let kept: Arc<Mutex<Option<Value>>> = Arc::default();
        let object = Arc::clone(&kept);
        let (server, log) = server(move |asked| {
            let mut object = object.lock().expect("nobody panicked");
            if asked.path.contains("meshrootcertificates") {
                return Answer::ok(json!({ "metadata": {}, "items": roots }));
            }
            match (asked.method.as_str(), object.as_ref()) {
                ("GET", Some(there)) => Answer::ok(there.clone()),
                ("GET", None) => Answer::refusal(StatusCode::NOT_FOUND),
                ("POST", Some(_)) => Answer::refusal(StatusCode::CONFLICT),
                (_, there) => {
                    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                    if there.is_some_and(|there| version(there) != version(&asked.body)) {
                        return Answer::refusal(StatusCode::CONFLICT);
                    }
                    let number = there.map_or(1, |there| {
                        version(there).as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1
                    });
                    let mut written = asked.body.clone();
                    written["metadata"]["resourceVersion"] = json!(number.to_string());
                    *object = Some(written.clone());
                    Answer::ok(written)
                }
            }
        });
        (StageConfigMap::new(server, "osm-system".parse().expect("a name")), log, kept)
    }

    fn stage(number: u64) -> Stage {
        let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_764_000_000);
        Stage { number, ..Stage::first("a".parse().expect("a name"), since) }
    }

    #[tokio::test]
    async fn a_stage_replaces_only_the_one_that_was_meant() {
        let (store, _, _) = one_object();
        assert_eq!(store.load().await.expect("nothing"), None);
        assert!(store.swap(None, &stage(1)).await.expect("written"));
        assert!(!store.swap(None, &stage(2)).await.expect("one is there"));
        assert!(!store.swap(Some(4), &stage(2)).await.expect("another one is there"));
        assert!(store.swap(Some(1), &stage(2)).await.expect("written"));
        assert_eq!(store.load().await.expect("read"), Some(stage(2)));
    }

    #[tokio::test]
    async fn of_two_replicas_that_write_at_once_one_is_told_no() {
        let (store, _, kept) = one_object();
        assert!(store.swap(None, &stage(1)).await.expect("written"));
        let before = store.read().await.expect("read").expect("it is there");
        assert!(store.swap(Some(1), &stage(2)).await.expect("written"));
        // What the other one would write, which has read before.
        let late = store.map(&stage(9), before.metadata.resource_version).expect("text");
        let refused = store.api().replace(STAGE_CONFIG_MAP, &PostParams::default(), &late).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.is_conflict()));
        assert!(
            kept.lock().expect("nobody panicked").as_ref().expect("it is there").to_string().contains("2")
        );
    }

    #[tokio::test]
    async fn what_is_damaged_is_no_beginning() {
        let (store, log, kept) = one_object();
        for data in [json!({}), json!({ STAGE_FIELD: "{" }), json!({ STAGE_FIELD: "{\"number\":1}" })] {
            *kept.lock().expect("nobody panicked") = Some(
                json!({ "metadata": { "name": STAGE_CONFIG_MAP, "resourceVersion": "3" }, "data": data }),
            );
            let error = store.load().await.expect_err("damaged").to_string();
            assert!(error.contains("ConfigMap osm-system/osm-mesh-roots"), "{error}");
            store.swap(None, &stage(1)).await.expect_err("damaged");
        }
        assert!(log.texts().iter().all(|text| text.starts_with("GET ")), "{:?}", log.texts());
    }

    #[tokio::test]
    async fn where_the_object_was_deleted_the_newest_stage_that_a_root_shows_is_in_force() {
        let root = |number| {
            json!({
                "metadata": { "name": format!("root-{number}") },
                "status": { "stage": StageStatus::of(&stage(number)) },
            })
        };
        let (store, _, kept) =
            one_object_and(vec![root(3), root(7), json!({ "metadata": { "name": "new" } })]);
        assert_eq!(store.load().await.expect("it is shown"), Some(stage(7)));
        assert!(!store.swap(None, &stage(1)).await.expect("a stage is in force"), "nothing begins again");
        assert!(store.swap(Some(7), &stage(8)).await.expect("written"));
        assert!(kept.lock().expect("nobody panicked").is_some());
        assert_eq!(store.load().await.expect("read"), Some(stage(8)));
    }
}
