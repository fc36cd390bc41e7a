//! The Secrets in the API server: how they are found, written and taken away.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::events::Recorder;

use super::SecretFiles;
use super::claim::{Claim, Key, Seen};
use crate::client::{ANSWER, ApiClient, bounded};
use crate::event::{self, AboutPod};
use crate::trust_bundle::{INSTANCE_LABEL, MANAGER, NAME_LABEL};

/// The reason of the Event about a pod whose Secret is somebody else's.
const FOREIGN: &str = "SecretNotOfMesh";

/// The Secrets of one mesh.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) server: ApiClient,
    pub(super) mesh_name: String,
}

/// What became of a Secret. Not to be printed: a Secret shows what is in it.
pub(super) enum Outcome {
    /// It was made.
    Made(Box<Secret>),
    /// It was written over.
    Renewed(Box<Secret>),
    /// It was taken away.
    Removed,
    /// There is one of this name without the mesh's labels.
    Foreign,
    /// It is another one than was seen, or is gone: the watch says more.
    Changed,
    /// The API server does not take it, or does not answer.
    Failed(kube::Error),
    /// There is nothing to write.
    NotIssued,
}

impl Store {
    /// What the mesh's Secrets are found by: others are never read.
    pub(super) fn selector(&self) -> String {
        format!("{}={},{INSTANCE_LABEL}={}", NAME_LABEL.0, NAME_LABEL.1, self.mesh_name)
    }

    /// Writes the Secret of a pod: over the one that was seen and no other, or where there is none.
    pub(super) async fn write(&self, claim: &Claim, files: SecretFiles, seen: Option<&Seen>) -> Outcome {
        let api = self.api(&claim.key);
        let mut secret = self.secret(claim, files);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let Some(seen) = seen else {
            return match bounded(ANSWER, api.create(&params, &secret)).await {
                Ok(made) => Outcome::Made(Box::new(made)),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Outcome::Foreign,
                Err(error) => Outcome::Failed(error),
            };
        };
        secret.metadata.resource_version = Some(seen.version.clone());
        match bounded(ANSWER, api.replace(&claim.key.1, &params, &secret)).await {
            Ok(renewed) => Outcome::Renewed(Box::new(renewed)),
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Outcome::Changed,
            // Somebody has made it immutable, or of another type: only a new one helps.
            Err(kube::Error::Api(status)) if status.code == 422 => self.remove(&claim.key, seen).await,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// What keeps the Secret of a pod from being made, if anything does. Nothing is written, and nothing read.
    pub(super) async fn obstacle(&self, claim: &Claim) -> Option<Outcome> {
        let secret = self.secret(claim, SecretFiles::default());
        let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        match bounded(ANSWER, self.api(&claim.key).create(&params, &secret)).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) if status.is_already_exists() => Some(Outcome::Foreign),
            Err(error) => Some(Outcome::Failed(error)),
        }
    }

    /// Takes away the Secret that was seen, and no other.
    pub(super) async fn remove(&self, key: &Key, seen: &Seen) -> Outcome {
        let seen =
            Preconditions { uid: Some(seen.uid.clone()), resource_version: Some(seen.version.clone()) };
        let params = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
        match bounded(ANSWER, self.api(key).delete(&key.1, &params)).await {
            Ok(_) => Outcome::Removed,
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Outcome::Changed,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Tells the owner of a pod, by an Event, that another Secret is in the way of the pod's own.
    pub(super) async fn tell(&self, claim: &Claim) {
        let Claim { key: (namespace, secret), pod, uid, .. } = claim;
        let note = format!("Secret {secret} is not the mesh's; delete it, so that the pod gets its own");
        let recorder = Recorder::new(self.server.kube(), MANAGER.to_owned().into());
        event::warn(&recorder, AboutPod { namespace, name: pod, uid: Some(uid) }, FOREIGN, "Write", &note)
            .await;
    }

    fn secret(&self, claim: &Claim, files: SecretFiles) -> Secret {
        let labels = [NAME_LABEL, (INSTANCE_LABEL, self.mesh_name.as_str())];
        let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: claim.pod.clone(),
            uid: claim.uid.clone(),
            ..OwnerReference::default()
        };
        Secret {
            metadata: ObjectMeta {
                namespace: Some(claim.key.0.clone()),
                name: Some(claim.key.1.clone()),
                labels: Some(labels),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(files.0.into_iter().map(|(name, bytes)| (name, ByteString(bytes))).collect()),
            ..Secret::default()
        }
    }

    fn api(&self, key: &Key) -> Api<Secret> {
        Api::namespaced(self.server.kube(), &key.0)
    }
}
