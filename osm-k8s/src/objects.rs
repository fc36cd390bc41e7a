//! Objects of any kind in a cluster: put there, looked at, waited for, taken away.
//!
//! This is how an installer acts on a cluster, one object after the other. What
//! is to be there is somebody else's decision, and so is what an object means.

mod error;
mod key;
mod patience;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::Scope;
use parking_lot::Mutex;
use serde_json::Value;

pub use error::ObjectsError;
pub use key::ObjectKey;
pub use progress::{Progress, progress};

use crate::client::ApiClient;
use patience::{in_time, wait};

/// The objects of a cluster, as one who writes them under a name of his own.
pub struct Objects {
    client: kube::Client,
    /// Which fields are whose is remembered by the server under this name.
    manager: String,
    kinds: Mutex<BTreeMap<(String, String), Kind>>,
}

#[derive(Clone)]
struct Kind {
    resource: ApiResource,
    is_namespaced: bool,
}

/// What applying an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// There was none.
    Created,
    /// It was different.
    Changed,
    /// It was like this.
    Unchanged,
}

impl Objects {
    /// The objects of a cluster; what is applied is applied as `manager`.
    #[must_use]
    pub fn new(client: &ApiClient, manager: &str) -> Self {
        Self { client: client.kube(), manager: manager.to_owned(), kinds: Mutex::default() }
    }

    /// An object, if there is one.
    ///
    /// # Errors
    /// When the server can't be asked or refuses. A kind that it does not know has no objects.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ObjectsError> {
        let api = match self.api(key).await {
            Err(error) if error.is_not_found() => return Ok(None),
            api => api?,
        };
        let found = in_time(api.get_opt(&key.name)).await.map_err(|error| refused(key, error))?;
        found.as_ref().map(value).transpose()
    }

    /// The objects of a kind, of one namespace or of all, that have these labels (`a=b,c`).
    ///
    /// # Errors
    /// When the server can't be asked or refuses. A kind that it does not know has no objects.
    pub async fn list(
        &self,
        (api_version, kind): (&str, &str),
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, ObjectsError> {
        let what = format!("objects of the kind {kind}");
        let kind = match self.kind(api_version, kind).await {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            kind => kind?,
        };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource),
            None => Api::all_with(self.client.clone(), &kind.resource),
        };
        let found = in_time(api.list(&ListParams::default().labels(labels))).await;
        let found = found.map_err(|error| refused(&what, error))?;
        // Items of a list do not say what they are.
        let types = |mut object: Value| {
            object["apiVersion"] = kind.resource.api_version.clone().into();
            object["kind"] = kind.resource.kind.clone().into();
            object
        };
        found.items.iter().map(|object| value(object).map(types)).collect()
    }

    /// The objects of a kind, of all namespaces, in the first of these versions of its API that the server has. In another
    /// one they would be the same objects, maybe without what that one has no fields for.
    ///
    /// # Errors
    /// When the server can't be asked or refuses. A kind that it does not know has no objects.
    pub async fn list_first(&self, api_versions: &[&str], kind: &str) -> Result<Vec<Value>, ObjectsError> {
        for api_version in api_versions {
            match self.kind(api_version, kind).await {
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
                Ok(_) => return self.list((api_version, kind), None, "").await,
            }
        }
        Ok(Vec::new())
    }

    /// Sees to it that an object is as it is given: its fields are this manager's from now on, those that were his and
    /// are not given any more are taken away, and what others have added stays.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn apply(&self, object: &Value) -> Result<Applied, ObjectsError> {
        let key = ObjectKey::of(object)?;
        let api = self.api(&key).await?;
        let before = in_time(api.get_metadata_opt(&key.name)).await.map_err(|error| refused(&key, error))?;
        let params = PatchParams::apply(&self.manager).force();
        let after = in_time(api.patch(&key.name, &params, &Patch::Apply(object))).await;
        let after = after.map_err(|error| refused(&key, error))?;
        Ok(match before {
            None => Applied::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
                Applied::Unchanged
            }
            Some(_) => Applied::Changed,
        })
    }

    /// Makes an object if there is none of that name. One that is there stays as it is.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn create_if_absent(&self, object: &Value) -> Result<Applied, ObjectsError> {
        let key = ObjectKey::of(object)?;
        let api = self.api(&key).await?;
        let new: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| ObjectsError::NoObject(error.to_string()))?;
        let params = PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        match in_time(api.create(&params, &new)).await {
            Ok(_) => Ok(Applied::Created),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(Applied::Unchanged),
            Err(error) => Err(refused(&key, error)),
        }
    }

    /// Merges fields into an object; `null` takes one away.
    ///
    /// # Errors
    /// When there is no such object, or the server can't be asked or refuses.
    pub async fn merge(&self, key: &ObjectKey, fields: &Value) -> Result<(), ObjectsError> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let api = self.api(key).await?;
        let merged = in_time(api.patch(&key.name, &params, &Patch::Merge(fields))).await;
        merged.map(drop).map_err(|error| refused(key, error))
    }

    /// Merges fields into the status of an object.
    ///
    /// # Errors
    /// When there is no such object, or the server can't be asked or refuses.
    pub async fn merge_status(&self, key: &ObjectKey, status: &Value) -> Result<(), ObjectsError> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let api = self.api(key).await?;
        let fields = serde_json::json!({ "status": status });
        let merged = in_time(api.patch_status(&key.name, &params, &Patch::Merge(&fields))).await;
        merged.map(drop).map_err(|error| refused(key, error))
    }

    /// Takes an object away, and what belongs to it. Says whether there was one.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        let api = match self.api(key).await {
            Err(error) if error.is_not_found() => return Ok(false),
            api => api?,
        };
        match in_time(api.delete(&key.name, &DeleteParams::foreground())).await {
            Ok(_) => Ok(true),
            Err(error) => match refused(key, error) {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Waits until all objects are as they are to be, telling what is still missing whenever that changes.
    ///
    /// # Errors
    /// When that takes longer than `bound`, whoever is slow, can't happen any more, or the server refuses.
    pub async fn ready(
        &self,
        keys: &[ObjectKey],
        bound: Duration,
        mut tell: impl FnMut(&str),
    ) -> Result<(), ObjectsError> {
        let mut told = String::new();
        wait(bound, async || {
            let mut waiting = Vec::new();
            for key in keys {
                match self.progress(key).await? {
                    Progress::Ready => {}
                    Progress::Waiting(what) => waiting.push(format!("{key}: {what}")),
                    Progress::Failed(why) => return Err(ObjectsError::Failed(format!("{key}: {why}"))),
                }
            }
            let now = waiting.join("; ");
            if !now.is_empty() && now != told {
                tell(&now);
                told = now;
            }
            Ok(waiting)
        })
        .await
    }

    /// Waits until none of these objects is there any more.
    ///
    /// # Errors
    /// When that takes longer than `bound`, whoever is slow, or the server refuses.
    pub async fn gone(&self, keys: &[ObjectKey], bound: Duration) -> Result<(), ObjectsError> {
        wait(bound, async || {
            let mut waiting = Vec::new();
            for key in keys {
                if self.get(key).await?.is_some() {
                    waiting.push(format!("{key} is still there"));
                }
            }
            Ok(waiting)
        })
        .await
    }

    /// The end of the log of a container, so many lines of it.
    ///
    /// # Errors
    /// When the server can't be asked or refuses: there is no such container, or it has not started.
    pub async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: i64,
    ) -> Result<String, ObjectsError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        let what = format!("the log of {container} in Pod {namespace}/{pod}");
        in_time(pods.logs(pod, &params)).await.map_err(|error| refused(&what, error))
    }

    async fn progress(&self, key: &ObjectKey) -> Result<Progress, ObjectsError> {
        let Some(object) = self.get(key).await? else {
            return Ok(Progress::Waiting("is not there".to_owned()));
        };
        let labels = progress::selector(&object);
        let pods = match (&labels, &key.namespace) {
            (Some(labels), Some(namespace)) => self.list(("v1", "Pod"), Some(namespace), labels).await?,
            _ => Vec::new(),
        };
        Ok(progress(&object, &pods))
    }

    async fn api(&self, key: &ObjectKey) -> Result<Api<DynamicObject>, ObjectsError> {
        let kind = self.kind(&key.api_version, &key.kind).await?;
        Ok(match &key.namespace {
            Some(namespace) if kind.is_namespaced => {
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
            }
            _ => Api::all_with(self.client.clone(), &kind.resource),
        })
    }

    /// Asks once for each kind. One that is not known may become so, when its definition is applied.
    async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, ObjectsError> {
        let name = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.lock().get(&name) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let found = match in_time(kube::discovery::pinned_kind(&self.client, &gvk)).await {
            Ok((resource, capabilities)) => {
                Kind { resource, is_namespaced: capabilities.scope == Scope::Namespaced }
            }
            Err(kube::Error::Discovery(_)) => return Err(unknown(api_version, kind)),
            Err(error) => match refused(&format!("the kind {kind}"), error) {
                error if error.is_not_found() => return Err(unknown(api_version, kind)),
                error => return Err(error),
            },
        };
        self.kinds.lock().insert(name, found.clone());
        Ok(found)
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds credentials.
        f.debug_struct("Objects").field("manager", &self.manager).finish_non_exhaustive()
    }
}

fn unknown(api_version: &str, kind: &str) -> ObjectsError {
    ObjectsError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
}

fn refused(what: &impl ToString, error: kube::Error) -> ObjectsError {
    let what = what.to_string();
    match error {
        kube::Error::Api(status) => {
            ObjectsError::Refused { what, code: status.code, message: status.message.clone() }
        }
        error => ObjectsError::Unavailable { what, source: Box::new(error) },
    }
}

fn value(object: &DynamicObject) -> Result<Value, ObjectsError> {
    serde_json::to_value(object).map_err(|error| ObjectsError::NoObject(error.to_string()))
}

/// The entries of a Secret that are texts.
///
/// # Errors
/// When it is no Secret.
pub fn secret_texts(secret: &Value) -> Result<BTreeMap<String, String>, ObjectsError> {
    let secret: k8s_openapi::api::core::v1::Secret =
        serde_json::from_value(secret.clone()).map_err(|error| ObjectsError::NoObject(error.to_string()))?;
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(data.filter_map(|(name, bytes)| Some((name, String::from_utf8(bytes.0).ok()?))).collect())
}
