//! The object that says what of a mesh is installed: its ClusterRole, by a version and values.
//!
//! An upgrade and a removal change it before they end the control plane. A removal takes
//! its version off first, or it away: either ends all restoring. It owns what is restored of the
//! webhooks, so that they are collected if they come back just before it goes.

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use serde_json::{Value, json};

use super::Installation;
use super::decision::is_definition;
use crate::client::{ANSWER, ApiClient, bounded};

/// The label of all objects of an installation that tells its version.
pub const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// The annotation of the ClusterRole that tells what else the webhook configurations were made of.
pub const VALUES_ANNOTATION: &str = "openservicemesh.io/installed-with";

/// Marks by which helm knows what is its own.
const HELM_ANNOTATIONS: &str = "meta.helm.sh/";
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Asks for the ClusterRole of a mesh.
#[derive(Debug)]
pub(super) struct Anchor {
    server: ApiClient,
    name: String,
    version: String,
    values: String,
}

impl Anchor {
    /// The one of a mesh of which this is to be installed.
    pub(super) fn new(server: ApiClient, installation: &Installation) -> Self {
        let Installation { cluster_role, version, values, objects: _ } = installation.clone();
        Self { server, name: cluster_role, version, values }
    }

    /// What is restored as a part of, if it is what is installed.
    pub(super) async fn look(&self) -> kube::Result<Option<Installed>> {
        let api: Api<ClusterRole> = Api::all(self.server.kube());
        let found = bounded(ANSWER, api.get_metadata_opt(&self.name)).await?;
        Ok(found.and_then(|found| Installed::of(found.metadata, &self.version, &self.values)))
    }
}

/// The ClusterRole of what is installed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Installed(ObjectMeta);

impl Installed {
    fn of(metadata: ObjectMeta, version: &str, values: &str) -> Option<Self> {
        let is_version = metadata.labels.as_ref()?.get(VERSION_LABEL)? == version;
        let made_of = metadata.annotations.as_ref().and_then(|all| all.get(VALUES_ANNOTATION));
        let is_same = is_version && made_of.map_or("", String::as_str) == values;
        (is_same && metadata.deletion_timestamp.is_none()).then_some(Self(metadata))
    }

    /// The object as it is created anew, a part of what is installed. A definition stays when
    /// the mesh goes, as with it all objects of its kind would go.
    pub(super) fn part(&self, wanted: &Value) -> Value {
        let mut part = wanted.clone();
        let metadata = &mut part["metadata"];
        let annotations = self.0.annotations.iter().flatten();
        for (name, value) in annotations.filter(|(name, _)| name.starts_with(HELM_ANNOTATIONS)) {
            metadata["annotations"][name] = json!(value);
        }
        if let Some(manager) = self.0.labels.iter().flatten().find(|(name, _)| *name == MANAGED_BY_LABEL) {
            metadata["labels"][MANAGED_BY_LABEL] = json!(manager.1);
        }
        if !is_definition(wanted) {
            metadata["ownerReferences"] = json!([self.reference()]);
        }
        part
    }

    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: self.0.name.clone().unwrap_or_default(),
            uid: self.0.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(labels: Value, more: Value) -> ObjectMeta {
        let mut metadata = json!({ "name": "osm-controller-osm", "uid": "u", "labels": labels });
        more.as_object().into_iter().flatten().for_each(|(name, value)| metadata[name] = value.clone());
        serde_json::from_value(metadata).expect("metadata")
    }

    #[test]
    fn nothing_is_restored_of_another_version_or_of_what_is_being_removed() {
        let ours = json!({ (VERSION_LABEL): "1.2.0" });
        let is_installed = |metadata| Installed::of(metadata, "1.2.0", "").is_some();
        assert!(is_installed(metadata(ours.clone(), json!({}))));
        assert!(!is_installed(metadata(json!({ (VERSION_LABEL): "1.3.0" }), json!({}))), "an upgrade");
        assert!(!is_installed(metadata(json!({ (VERSION_LABEL): "1.1.0" }), json!({}))), "back to before");
        assert!(!is_installed(metadata(json!({}), json!({}))), "its version was taken off");
        assert!(!is_installed(metadata(ours, json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }))));
    }

    #[test]
    fn nothing_is_restored_that_was_made_of_other_values() {
        let made_of = |annotations: Value| {
            metadata(json!({ (VERSION_LABEL): "1.2.0" }), json!({ "annotations": annotations }))
        };
        let is_installed = |metadata| Installed::of(metadata, "1.2.0", "timeout=20").is_some();
        assert!(is_installed(made_of(json!({ (VALUES_ANNOTATION): "timeout=20", "other": "x" }))));
        assert!(!is_installed(made_of(json!({ (VALUES_ANNOTATION): "timeout=5" }))), "an upgrade");
        assert!(!is_installed(made_of(json!({}))), "it is not known");
    }

    #[test]
    fn what_is_created_anew_goes_with_the_installation_and_a_definition_stays() {
        let labels = json!({ (VERSION_LABEL): "1", (MANAGED_BY_LABEL): "Helm", "other": "x" });
        let helm = json!({ "annotations": { "meta.helm.sh/release-name": "osm", "other": "x" } });
        let installed = Installed::of(metadata(labels, helm), "1", "").expect("installed");
        let wanted =
            |kind: &str| json!({ "kind": kind, "metadata": { "name": "w", "labels": { "a": "b" } } });
        let webhooks = installed.part(&wanted("MutatingWebhookConfiguration"));
        let metadata = &webhooks["metadata"];
        assert_eq!(metadata["labels"], json!({ "a": "b", (MANAGED_BY_LABEL): "Helm" }));
        assert_eq!(metadata["annotations"], json!({ "meta.helm.sh/release-name": "osm" }));
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u");
        let definition = installed.part(&wanted("CustomResourceDefinition"));
        assert_eq!(definition["metadata"]["ownerReferences"], Value::Null);
    }
}
