//! What the API server says of pods and Secrets, as far as it decides.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::name::ObjectName;

use super::{PodCredentials, Proved, SecretFiles};
use crate::injector::{IDENTITY_VOLUME, SECRET_PREFIX, secret_name};
use crate::manifest::{DEFAULT_SERVICE_ACCOUNT, PROXY_UUID_LABEL};
use crate::trust_bundle::MANAGER;

/// The most bytes in a Secret that are read: twice four certificates with keys of RSA 4096, and a key, have a third of it.
const MOST_BYTES: usize = 64 * 1024;

/// Which object: its namespace and name.
pub(super) type Key = (String, String);

/// A pod whose proxy proves itself by a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The Secret that its volume names.
    pub(super) key: Key,
    /// Its proxy, and as whom it runs.
    pub(super) proxy: ProxyId,
    /// Its name.
    pub(super) pod: String,
    /// Its uid.
    pub(super) uid: String,
    /// When it was made.
    pub(super) made: Option<Timestamp>,
    /// Whether it has ended and never starts again.
    pub(super) is_over: bool,
}

impl Claim {
    /// What a pod claims: the Secret of the proxy that its label names, if that is the one
    /// that its volume names as well.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let (metadata, spec) = (&pod.metadata, pod.spec.as_ref()?);
        let uuid = metadata.labels.as_ref()?.get(PROXY_UUID_LABEL)?.parse().ok()?;
        let secret = secret_name(&uuid);
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == IDENTITY_VOLUME)?;
        let sources = volume.projected.as_ref()?.sources.iter().flatten();
        let mut named = sources.filter_map(|source| source.secret.as_ref());
        if !named.any(|source| source.name == secret) {
            return None;
        }
        let namespace = metadata.namespace.clone()?;
        let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
        let account: ObjectName = account.unwrap_or(DEFAULT_SERVICE_ACCOUNT).parse().ok()?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        Some(Self {
            proxy: ProxyId::new(uuid, ServiceIdentity::new(namespace.parse().ok()?, account)),
            key: (namespace, secret),
            pod: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            made: metadata.creation_timestamp.as_ref().map(|time| time.0),
            is_over: matches!(phase, Some("Succeeded" | "Failed")),
        })
    }
}

/// A Secret of the mesh as it is, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which one of those that had its name.
    pub(super) uid: String,
    /// Which state of it.
    pub(super) version: String,
    /// The uid of the pod that it belongs to, if it belongs to one.
    pub(super) owner: Option<String>,
    /// What it proves.
    pub(super) proved: Option<Proved>,
}

impl Seen {
    /// Reads a Secret that has the mesh's labels; `None` if it is not one of a proxy by its name. More than the mesh writes
    /// proves nothing and is not looked into.
    pub(super) fn of(secret: Secret, credentials: &dyn PodCredentials) -> Option<(Key, Self)> {
        let metadata = secret.metadata;
        let key = (metadata.namespace?, metadata.name.filter(|name| name.starts_with(SECRET_PREFIX))?);
        let written = written(&metadata.managed_fields.unwrap_or_default());
        let files = bounded(secret.data.unwrap_or_default());
        let owners = metadata.owner_references.unwrap_or_default();
        let owner = match owners.as_slice() {
            [owner] if owner.kind == "Pod" && owner.api_version == "v1" => Some(owner.uid.clone()),
            _ => None,
        };
        let seen = Self {
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            owner,
            proved: files.and_then(|files| credentials.read(&files, written)),
        };
        Some((key, seen))
    }
}

fn bounded(data: BTreeMap<String, ByteString>) -> Option<SecretFiles> {
    let size: usize = data.iter().map(|(name, bytes)| name.len() + bytes.0.len()).sum();
    let files = || data.into_iter().map(|(name, bytes)| (name, bytes.0)).collect();
    (size <= MOST_BYTES).then(|| SecretFiles(files()))
}

/// When the mesh last wrote an object, by the API server's own note.
fn written(notes: &[ManagedFieldsEntry]) -> Option<SystemTime> {
    let ours = notes.iter().filter(|note| note.manager.as_deref() == Some(MANAGER));
    ours.filter_map(|note| note.time.as_ref()).map(|time| time.0.into()).max()
}
