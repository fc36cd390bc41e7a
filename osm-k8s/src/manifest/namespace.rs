//! Namespace (v1).

use osm_core::model;
use osm_core::name::{Kind, ObjectRef};
use serde::Deserialize;

use super::conversion::Findings;
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
        let name = &self.metadata.name;
        let mut findings =
            Findings::about(ObjectRef { kind: Kind::Namespace, namespace: None, name: name.clone() });
        let Ok(name) = name.as_str().parse() else {
            let message = "the name of a namespace is one DNS label of at most 63 bytes, without dots";
            findings.error("bad-name", "metadata.name", message);
            return findings.without_fact();
        };
        let mut fact = model::Namespace::new(name);
        fact.meta = self.metadata.meta();
        fact.monitored_by = self.metadata.labels.get(MONITORED_BY_LABEL).cloned();
        findings.with(fact)
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings};
    use osm_core::model::MeshObject;

    #[test]
    fn a_name_that_no_namespace_can_have_is_refused() {
        let text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop.one}}";
        assert_eq!(findings(text), ["bad-name metadata.name"]);
        assert_eq!(convert(text).objects, []);
    }

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
