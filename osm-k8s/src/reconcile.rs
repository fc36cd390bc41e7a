//! Objects of the installation that are kept as they were installed: the configurations of
//! the webhooks, and the definitions of kinds.
//!
//! The authorities in the configurations are kept in any case, since they follow the root
//! of the mesh. All else is restored on demand ([`Reconciler::restoring`]): what somebody
//! edits, and what somebody deletes. Whether there is anything to do is decided in `decision` (pure).
//!
//! Every replica does it. They want the same, each writes only over what it has seen, and each
//! waits longer the more often it has to, so that they agree without asking each other. What
//! is to be there is what their own version has installed, of the values that they were started
//! with: none touches what another version has or other values make, which an upgrade brings while
//! older replicas run. What is installed is told by `anchor`, which also sees to it that what is restored ends with the mesh.

mod anchor;
mod decision;
mod keep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use kube::core::ApiResource;
use serde_json::Value;

use crate::client::ApiClient;
use crate::metrics::Metrics;
use crate::webhook::{CaPem, WebhookNames};
use anchor::Anchor;
use keep::{Kept, Restoring};

pub use anchor::{VALUES_ANNOTATION, VERSION_LABEL};

/// What a version of the mesh has installed.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The name of the ClusterRole that was installed with it, and is taken away with it.
    pub cluster_role: String,
    /// The version, as the label [`VERSION_LABEL`] of that one tells it.
    pub version: String,
    /// The values that the objects were made of, as its annotation [`VALUES_ANNOTATION`] tells them.
    pub values: String,
    /// The objects that are restored: configurations of webhooks and definitions of kinds.
    pub objects: Vec<Value>,
}

/// Keeps objects of the installation as they are to be, for ever.
#[derive(Debug)]
pub struct Reconciler {
    server: ApiClient,
    names: WebhookNames,
    authorities: CaPem,
    metrics: Metrics,
    installation: Option<Installation>,
}

impl Reconciler {
    /// Keeps the authorities in the configurations of these names, and nothing else. Nothing
    /// is written until [`run`](Self::run) is polled.
    #[must_use]
    pub fn new(server: ApiClient, names: WebhookNames, authorities: CaPem, metrics: Metrics) -> Self {
        Self { server, names, authorities, metrics, installation: None }
    }

    /// Restores these objects as well.
    #[must_use]
    pub fn restoring(self, installation: Installation) -> Self {
        Self { installation: Some(installation), ..self }
    }

    /// Writes what differs whenever it does; where others write something else again and
    /// again, at a bounded pace. A configuration that is not there and not to be restored is waited for.
    pub async fn run(self) {
        let Self { server, names, authorities, metrics, installation } = self;
        let anchor = installation.as_ref().map(|installed| Arc::new(Anchor::new(server.clone(), installed)));
        let objects = installation.map(|installed| installed.objects).unwrap_or_default();
        let restoring = |wanted: &Value| {
            Some(Restoring::new(wanted.clone(), Arc::clone(anchor.as_ref()?), metrics.clone()))
        };
        let mut kept = Vec::new();
        for (kind, name) in [
            (kind::<MutatingWebhookConfiguration>(), names.mutating),
            (kind::<ValidatingWebhookConfiguration>(), names.validating),
        ] {
            let wanted =
                objects.iter().find(|one| one["kind"] == kind.kind && one["metadata"]["name"] == name);
            let restoring = wanted.and_then(restoring);
            kept.push(Kept::new(&server, &kind, &name, Some(authorities.clone()), restoring));
        }
        let definition = kind::<CustomResourceDefinition>();
        for wanted in objects.iter().filter(|one| one["kind"] == definition.kind) {
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            kept.push(Kept::new(&server, &definition, name, None, restoring(wanted)));
        }
        join_all(kept.into_iter().map(Kept::run)).await;
    }
}

fn kind<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}
