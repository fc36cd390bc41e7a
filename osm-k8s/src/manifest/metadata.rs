//! What every manifest carries: its name, namespace, labels and annotations.

use std::collections::BTreeMap;

use osm_core::name::{NamespaceName, ObjectName, QualifiedName};
use serde::Deserialize;

use super::field;

/// The namespace of a namespaced object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The `metadata` of an object, as far as the mesh reads it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The object's name.
    #[serde(deserialize_with = "field::parsed")]
    pub name: ObjectName,
    /// Its namespace; `None` where none is written. See [`Metadata::namespace`].
    #[serde(default, deserialize_with = "field::parsed_option")]
    pub namespace: Option<NamespaceName>,
    /// Its labels.
    #[serde(default, deserialize_with = "field::nullable")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default, deserialize_with = "field::nullable")]
    pub annotations: BTreeMap<String, String>,
    /// What tells it from others that had or will have its name; empty where the
    /// source has none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub uid: String,
    /// The generation of its wishes; 0 where the source has none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub generation: i64,
}

impl Metadata {
    /// The metadata of an object that has only a name and a namespace.
    #[must_use]
    pub fn new(namespace: NamespaceName, name: ObjectName) -> Self {
        Self {
            name,
            namespace: Some(namespace),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            uid: String::new(),
            generation: 0,
        }
    }

    /// The namespace, [`DEFAULT_NAMESPACE`] where none is written.
    #[must_use]
    pub fn namespace(&self) -> NamespaceName {
        match &self.namespace {
            Some(namespace) => namespace.clone(),
            None => DEFAULT_NAMESPACE.parse().expect("`default` is a DNS label"),
        }
    }

    /// The namespace and name of a namespaced object.
    #[must_use]
    pub fn qualified_name(&self) -> QualifiedName {
        QualifiedName::new(self.namespace(), self.name.clone())
    }

    /// What a fact made of this object carries. The source adds the location.
    #[must_use]
    pub(crate) fn meta(&self) -> osm_core::model::Meta {
        osm_core::model::Meta { generation: self.generation, location: None }
    }
}
