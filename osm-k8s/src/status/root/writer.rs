//! Writes what a MeshRootCertificate says of itself.

use jiff::Timestamp;
use json_patch::{AddOperation, PatchOperation, TestOperation};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use thiserror::Error;

use super::{InvalidStatus, KnownRoot, RootStatus, wanted};
use crate::client::{ANSWER, ApiClient, bounded};
use crate::manifest::ManifestKind;

/// Writes the statuses of roots.
#[derive(Debug, Clone)]
pub struct RootStatusWriter {
    server: ApiClient,
}

/// Why a status is not written.
#[derive(Debug, Error)]
pub enum RootStatusError {
    /// The API server refuses, or does not answer.
    #[error("the API server does not take it: {0}")]
    Server(#[from] Box<kube::Error>),
    /// The status can't be written as JSON.
    #[error("it can't be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl RootStatusWriter {
    /// A writer at this API server.
    #[must_use]
    pub fn new(server: ApiClient) -> Self {
        Self { server }
    }

    /// Writes the status that a root should have, if it has another one. An object that is gone needs none.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn write(&self, known: KnownRoot<'_>) -> Result<(), RootStatusError> {
        let name = &known.root.name;
        let kind = ManifestKind::MeshRootCertificate.resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.server.kube(), name.namespace.as_str(), &kind);
        let there = bounded(ANSWER, api.get_opt(name.name.as_str())).await.map_err(Box::new)?;
        let Some(there) = there else { return Ok(()) };
        // What somebody else has written there is no reason to stop.
        let present: Result<RootStatus, InvalidStatus> = RootStatus::read(&there.data["status"]);
        let is_strange = present.is_err();
        let present = present.unwrap_or_default();
        let status = wanted(known, &present, &Timestamp::now().to_string());
        if status == present && !is_strange {
            return Ok(());
        }
        let patch = patch(there.uid().unwrap_or_default(), &serde_json::to_value(&status)?);
        let (params, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
        match bounded(ANSWER, api.patch_status(name.name.as_str(), &params, &patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Box::new(error).into()),
        }
    }
}

/// Puts a status in place of any other, of the object that was looked at and no later one of its name.
fn patch(uid: String, status: &Value) -> json_patch::Patch {
    let path = |text: &'static str| json_patch::jsonptr::PointerBuf::parse(text).expect("it is a path");
    json_patch::Patch(vec![
        PatchOperation::Test(TestOperation { path: path("/metadata/uid"), value: json!(uid) }),
        PatchOperation::Add(AddOperation { path: path("/status"), value: status.clone() }),
    ])
}
