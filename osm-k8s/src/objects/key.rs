//! Which object.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ObjectsError;

/// What names an object in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectKey {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Where it is, unless it is the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// An object of the cluster as a whole.
    #[must_use]
    pub fn of_cluster(api_version: &str, kind: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// An object in a namespace.
    #[must_use]
    pub fn namespaced(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::of_cluster(api_version, kind, name) }
    }

    /// The same whichever version of its API an object is read in: group, kind, namespace and name.
    #[must_use]
    pub fn without_version(&self) -> (&str, &str, Option<&str>, &str) {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        (group, &self.kind, self.namespace.as_deref(), &self.name)
    }

    /// The namespace of that name.
    #[must_use]
    pub fn of_namespace(name: &str) -> Self {
        Self::of_cluster("v1", "Namespace", name)
    }

    /// What names an object.
    ///
    /// # Errors
    /// When it has no kind or no name.
    pub fn of(object: &Value) -> Result<Self, ObjectsError> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let field = |name: &str, value: &Value| {
            text(value).ok_or_else(|| ObjectsError::NoObject(format!("it has no {name}")))
        };
        Ok(Self {
            api_version: field("apiVersion", &object["apiVersion"])?,
            kind: field("kind", &object["kind"])?,
            namespace: text(&object["metadata"]["namespace"]),
            name: field("metadata.name", &object["metadata"]["name"])?,
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_named_by_kind_namespace_and_name() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}});
        let key = ObjectKey::of(&object).unwrap();
        assert_eq!(key, ObjectKey::namespaced("v1", "Pod", "n", "p"));
        assert_eq!(key.to_string(), "Pod n/p");
        assert_eq!(ObjectKey::of_namespace("n").to_string(), "Namespace n");
    }

    #[test]
    fn an_object_is_the_same_in_each_version_of_its_group() {
        let of = |api_version| ObjectKey::namespaced(api_version, "Deployment", "n", "d");
        assert_eq!(of("apps/v1").without_version(), of("apps/v1beta1").without_version());
        assert_ne!(of("apps/v1").without_version(), of("extensions/v1").without_version());
        assert_ne!(of("apps/v1").without_version(), of("v1").without_version());
    }

    #[test]
    fn what_has_no_name_is_no_object() {
        let error = ObjectKey::of(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap_err();
        assert!(error.to_string().contains("metadata.name"), "{error}");
    }
}
