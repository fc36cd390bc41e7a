//! The definitions of the mesh's own kinds, as an API server takes them.
//!
//! The schemas are made from the structs that read the objects, so that both know the
//! same fields. What a schema refuses never gets to the mesh; what it lets pass is
//! still checked there.

mod kinds;
pub(crate) mod schema;

use serde_json::{Map, Value, json};

use crate::manifest::ManifestKind;
use kinds::{Defined, Version};

/// The definition of one kind (a CustomResourceDefinition).
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The kind.
    pub kind: ManifestKind,
    /// The definition, as it is applied.
    pub object: Value,
}

impl Definition {
    /// Its name in the API server, such as `meshconfigs.config.openservicemesh.io`.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.kind)
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}.yaml", self.kind.group(), self.kind.plural())
    }
}

/// The definitions of all kinds that are the mesh's or that it reads of others'.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    kinds::all().iter().map(define).collect()
}

fn name(kind: ManifestKind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

fn define(defined: &Defined) -> Definition {
    let kind = defined.kind;
    let singular = kind.name().to_ascii_lowercase();
    let versions: Vec<Value> = defined
        .versions
        .iter()
        .enumerate()
        .map(|(index, version)| version_of(defined, version, index == 0))
        .collect();
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name(kind),
            "labels": {
                "app.kubernetes.io/name": "openservicemesh.io",
                // Several versions of the mesh may share a cluster: the newest definitions count.
                "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
            },
        },
        "spec": {
            "group": kind.group(),
            "scope": "Namespaced",
            "names": {
                "kind": kind.name(),
                "listKind": format!("{}List", kind.name()),
                "plural": kind.plural(),
                "singular": singular,
                "shortNames": [defined.short_name],
            },
            "conversion": { "strategy": "None" },
            "versions": versions,
        },
    });
    Definition { kind, object }
}

/// One version; the newest is the one that is stored, since it has all fields.
fn version_of(defined: &Defined, version: &Version, is_stored: bool) -> Value {
    let mut properties = Map::new();
    properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
    properties.insert("kind".to_owned(), json!({ "type": "string" }));
    properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    properties.insert("spec".to_owned(), version.spec.clone());
    properties.insert("status".to_owned(), defined.status.clone());
    let mut schema = json!({ "type": "object", "properties": properties });
    if defined.needs_spec {
        schema["required"] = json!(["spec"]);
    }
    let age = json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" });
    let columns: Vec<Value> = defined.columns.iter().map(|column| column.json()).chain([age]).collect();
    json!({
        "name": version.name,
        "served": true,
        "storage": is_stored,
        "schema": { "openAPIV3Schema": schema },
        "subresources": { "status": {} },
        "additionalPrinterColumns": columns,
    })
}

#[cfg(test)]
mod tests;
