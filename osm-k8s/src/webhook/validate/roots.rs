//! What an API server has to be asked before a root is decided about: the other roots, and how far the mesh is.

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use osm_certs::rotation::Stage;
use osm_core::diagnostic::Diagnostic;
use osm_core::model::RootCertificate;
use osm_core::name::NamespaceName;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::client::{ApiClient, bounded};
use crate::manifest::{Manifest, ManifestKind};
use crate::status::root::{InvalidStatus, RootStatus};
use crate::webhook::review::Request;
use crate::webhook::roots::RootChange;

/// How many lists are asked for at once. Anybody may have them asked for.
const MAX_QUESTIONS: usize = 4;
/// How long a list may take, with the wait for a place: less than whoever asks waits.
const QUESTION: Duration = Duration::from_secs(4);
/// The most roots that a mesh is expected to have, used and unused.
const MAX_ROOTS: u32 = 500;

/// The roots that an API server has.
#[derive(Debug, Clone)]
pub struct RootObjects {
    server: ApiClient,
    questions: Arc<Semaphore>,
}

/// One root that there is.
struct Present {
    root: RootCertificate,
    stage: Option<Stage>,
}

/// Why nothing can be decided.
pub(super) enum Undecided {
    /// Until somebody corrects what there is.
    Refuse(String),
    /// For a while.
    Unavailable(String),
}

impl RootObjects {
    /// The roots of this server. Nothing is asked yet.
    #[must_use]
    pub fn new(server: ApiClient) -> Self {
        Self { server, questions: Arc::new(Semaphore::new(MAX_QUESTIONS)) }
    }

    /// What is to be said of a root that is to be made, changed or, with `None`, deleted.
    pub(super) async fn findings(
        &self,
        request: &Request,
        after: Option<&RootCertificate>,
    ) -> Result<Vec<Diagnostic>, Undecided> {
        // It becomes a part of a path, and anybody may ask.
        let Ok(namespace) = request.namespace.parse::<NamespaceName>() else {
            return Err(Undecided::Refuse("the request's namespace is no name of one".to_owned()));
        };
        let before = present(&request.old_object).transpose();
        let before = match before {
            // What does not read relies on nothing that could be known; it may be corrected or go.
            Ok(before) => before,
            Err(status) if after.is_none() => return Err(Undecided::Refuse(unclear(&status))),
            Err(_) => None,
        };
        let others = self.list(&namespace).await.map_err(|error| {
            let message =
                format!("the API server does not say what other roots there are: {error}; try again");
            Undecided::Unavailable(message)
        })?;
        if others.len() > MAX_ROOTS as usize {
            let message = format!("there are more than {MAX_ROOTS} roots; delete those that are unused");
            return Err(Undecided::Refuse(message));
        }
        let others = others.iter().filter(|other| other["metadata"]["name"] != request.name.as_str());
        let others: Vec<Present> = others.filter_map(|other| present(other)?.ok()).collect();
        let stages = before.iter().chain(&others).filter_map(|present| present.stage.as_ref());
        let stage = stages.max_by_key(|stage| stage.number);
        let before = before.as_ref().map(|present| &present.root);
        let roots: Vec<RootCertificate> = others.iter().map(|present| present.root.clone()).collect();
        Ok(RootChange { before, after, others: &roots, stage }.findings())
    }

    async fn list(&self, namespace: &NamespaceName) -> kube::Result<Vec<Value>> {
        let resource = ManifestKind::MeshRootCertificate.resource();
        let objects: Api<DynamicObject> =
            Api::namespaced_with(self.server.kube(), namespace.as_str(), &resource);
        let question = async {
            let _place = self.questions.acquire().await.expect("nobody closes the places");
            objects.list(&ListParams::default().limit(MAX_ROOTS + 1)).await
        };
        let list = bounded(QUESTION, question).await?;
        Ok(list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
    }
}

/// A root that there is, with the stage in its status; nothing of what is no root.
fn present(object: &Value) -> Option<Result<Present, InvalidStatus>> {
    let Ok(Manifest::MeshRootCertificate(manifest)) =
        Manifest::read(ManifestKind::MeshRootCertificate, object)
    else {
        return None;
    };
    let stage = RootStatus::read(&object["status"])
        .and_then(|status| status.stage.map(|stage| stage.stage()).transpose());
    Some(stage.map(|stage| Present { root: manifest.root(), stage }))
}

fn unclear(status: &InvalidStatus) -> String {
    format!(
        "{status}; whether the mesh relies on the root is not known, so that it is not deleted (root-in-use)"
    )
}

#[cfg(test)]
mod tests;
