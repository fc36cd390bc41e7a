//! Namespace (v1).

use osm_core::model;
use serde::Deserialize;

use super::{Conversion, Metadata};

/// The label that puts a namespace into the mesh of its value.
pub const MONITORED_BY_LABEL: &str = "openservicemesh.io/monitored-by";

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: Metadata,
}

impl Namespace {
    /// The namespace as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.name.as_str().parse();
        let mut fact =
            model::Namespace::new(name.expect("names of objects and of namespaces follow the same rule"));
        fact.meta = self.metadata.meta();
        fact.monitored_by = self.metadata.labels.get(MONITORED_BY_LABEL).cloned();
        Conversion::of(fact)
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::fact;
    use osm_core::model::MeshObject;

    #[test]
    fn the_label_names_the_mesh() {
        let MeshObject::Namespace(namespace) = fact(
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop, generation: 3, \
             labels: {openservicemesh.io/monitored-by: osm}}}",
        ) else {
            panic!("not a namespace")
        };
        assert_eq!(namespace.monitored_by.as_deref(), Some("osm"));
        assert_eq!((namespace.name.as_str(), namespace.meta.generation), ("shop", 3));
    }

    #[test]
    fn a_namespace_without_labels_belongs_to_no_mesh() {
        let MeshObject::Namespace(namespace) = fact(
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: null}, spec: {finalizers: [x]}}",
        ) else {
            panic!("not a namespace")
        };
        assert_eq!(namespace.monitored_by, None);
    }
}
