//! One object as an API server sends it, before anything is known of it.
//!
//! Reading one never fails, so that an object that nobody understands can't stop a
//! watch. What it means is decided by [`Object::read`], with the same manifests as
//! files.

use std::fmt;

use osm_core::name::{NamespaceName, ObjectName};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::document::{self, Outcome, Problem};
use crate::manifest::{Manifest, ManifestKind, ManifestRef};
use crate::status::PolicyStatus;

/// The annotation of that mark.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// An object of an API server, as it was sent.
#[derive(Clone, PartialEq)]
pub(super) struct Object {
    value: Value,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

impl Object {
    /// An object, without what others noted about its fields, which is often the
    /// greater part of it.
    pub(super) fn new(mut value: Value) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Self { value }
    }

    fn metadata(&self, field: &str) -> Option<&str> {
        self.value.get("metadata")?.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// Its namespace, if it has one that can be read.
    pub(super) fn namespace(&self) -> Option<NamespaceName> {
        self.metadata("namespace")?.parse().ok()
    }

    /// What tells it from another one of the same name.
    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata("uid")
    }

    /// Its version, as the server writes it.
    pub(super) fn resource_version(&self) -> Option<&str> {
        self.metadata("resourceVersion")
    }

    /// Whether it is the mark by which the server ends the list at the start of a
    /// stream.
    pub(super) fn ends_list(&self) -> bool {
        let annotations = self.value.get("metadata").and_then(|metadata| metadata.get("annotations"));
        annotations.and_then(|all| all.get(LIST_ENDS)).is_some_and(|value| value == "true")
    }

    /// The generation of its wishes; 0 where it has none.
    pub(super) fn generation(&self) -> i64 {
        let generation = self.value.get("metadata").and_then(|metadata| metadata.get("generation"));
        generation.and_then(Value::as_i64).unwrap_or(0)
    }

    /// The status that stands there; an empty one if it is none of ours.
    pub(super) fn status(&self) -> PolicyStatus {
        let status = self.value.get("status").map(PolicyStatus::deserialize);
        status.and_then(Result::ok).unwrap_or_default()
    }

    /// How new it is. Versions of one kind are numbers that grow; 0 where the
    /// server has something else, which can't be compared.
    pub(super) fn version(&self) -> u64 {
        self.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Which object of a kind it is; `None` if it has no name that can be read.
    pub(super) fn reference(&self, kind: ManifestKind) -> Option<ManifestRef> {
        let name: ObjectName = self.metadata("name")?.parse().ok()?;
        let namespace = if kind.is_namespaced() { Some(self.namespace()?) } else { None };
        Some(ManifestRef { kind, namespace, name })
    }

    /// The manifest that it is. The server leaves out the version and kind in lists,
    /// and has another one where only metadata was asked for.
    pub(super) fn read(mut self, kind: ManifestKind, api_version: &str) -> Result<Manifest, Problem> {
        if let Some(fields) = self.value.as_object_mut() {
            fields.insert("apiVersion".to_owned(), api_version.into());
            fields.insert("kind".to_owned(), kind.name().into());
        }
        match document::read_value(&self.value, 0).outcome {
            Outcome::Manifest(manifest) => Ok(manifest),
            Outcome::Unreadable(problem) => Err(problem),
            Outcome::Other(text) | Outcome::NotYet(text) => Err(Problem {
                code: "bad-object",
                line: 0,
                object: None,
                field: "kind".to_owned(),
                message: format!("`{text}` was sent for a {kind}"),
            }),
        }
    }
}

impl fmt::Debug for Object {
    /// The name only: an object may hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |field| self.metadata(field).unwrap_or_default();
        write!(f, "{}/{}@{}", of("namespace"), of("name"), of("resourceVersion"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: Value) -> Object {
        Object::new(json)
    }

    #[test]
    fn an_object_of_a_list_has_no_kind_and_reads_all_the_same() {
        let object = pod(serde_json::json!({
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "managedFields": [{ "manager": "kubelet" }],
            },
            "spec": {},
        }));
        assert!(object.value["metadata"].get("managedFields").is_none());
        assert_eq!((object.version(), object.uid()), (7, Some("u")));
        let reference = object.reference(ManifestKind::Pod).expect("a name");
        assert_eq!(reference.to_string(), "Pod shop/a");
        assert_eq!(object.read(ManifestKind::Pod, "v1").expect("a pod").reference(), reference);
    }

    #[test]
    fn metadata_alone_is_enough_for_a_kind_that_has_nothing_else() {
        let object = pod(serde_json::json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "shop" },
        }));
        let manifest = object.read(ManifestKind::Namespace, "v1").expect("a namespace");
        assert_eq!(manifest.reference().to_string(), "Namespace shop");
    }

    #[test]
    fn what_does_not_read_is_named_by_field_and_anything_at_all_is_taken() {
        let object = pod(serde_json::json!({
            "metadata": { "name": "t", "namespace": "shop" }, "spec": { "destination": 3 },
        }));
        let problem =
            object.read(ManifestKind::TrafficTarget, "access.smi-spec.io/v1alpha3").expect_err("no target");
        assert_eq!((problem.code, problem.field.as_str()), ("bad-object", "spec.destination"));
        for odd in [Value::Null, serde_json::json!([1]), serde_json::json!({ "metadata": 3 })] {
            let object = Object::new(odd);
            assert_eq!((object.reference(ManifestKind::Pod), object.version()), (None, 0));
            assert!(object.read(ManifestKind::Pod, "v1").is_err());
        }
    }
}
