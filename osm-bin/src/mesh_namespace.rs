//! The marks by which a namespace is part of a mesh, and what they mean.

pub use osm_k8s::injector::METRICS_ANNOTATION as METRICS;
pub use osm_k8s::injector::decision::{IGNORE_LABEL as IGNORE, INJECTION_ANNOTATION as INJECTION};
pub use osm_k8s::manifest::MONITORED_BY_LABEL as MONITORED_BY;
use serde::Serialize;
use serde_json::{Value, json};

/// The fields of a namespace that is added to a mesh.
#[must_use]
pub fn added(mesh: &str, injects: bool) -> Value {
    let injection = if injects { "enabled" } else { "disabled" };
    json!({"metadata": {"labels": {(MONITORED_BY): mesh}, "annotations": {(INJECTION): injection}}})
}

/// The fields of a namespace that is taken out of its mesh.
#[must_use]
pub fn removed() -> Value {
    json!({"metadata": {
        "labels": {(MONITORED_BY): null, (IGNORE): null},
        "annotations": {(INJECTION): null, (METRICS): null},
    }})
}

/// The fields of a namespace that webhooks leave alone from now on.
#[must_use]
pub fn ignored() -> Value {
    json!({"metadata": {"labels": {(IGNORE): "true"}}})
}

/// The fields of a namespace whose sidecars' metrics are scraped, or not any more.
#[must_use]
pub fn metrics(enabled: bool) -> Value {
    let value = if enabled { Value::from("enabled") } else { Value::Null };
    json!({"metadata": {"annotations": {(METRICS): value}}})
}

/// What becomes of a namespace that is to be added to a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addition {
    /// It is added.
    Add,
    /// It stays as it is, for this reason.
    Skip(String),
    /// It must not be added, for this reason.
    Refuse(String),
}

/// Decides about a namespace that is to be added to a mesh, where control planes are in these namespaces.
#[must_use]
pub fn addition(namespace: &Value, mesh: &str, control_planes: &[String]) -> Addition {
    let name = name(namespace);
    let labels = &namespace["metadata"]["labels"];
    if control_planes.contains(&name.to_owned()) {
        return Addition::Skip("it has a control plane, which gets no sidecar".to_owned());
    }
    if !labels[IGNORE].is_null() {
        return Addition::Refuse(format!(
            "{name} is ignored; `kubectl label namespace {name} {IGNORE}-` ends that"
        ));
    }
    match labels[MONITORED_BY].as_str() {
        Some(other) if other != mesh => Addition::Refuse(format!(
            "{name} is in the mesh {other}; `osm namespace remove {name} --mesh-name {other}` takes it out"
        )),
        _ => Addition::Add,
    }
}

/// Whether a namespace is in a mesh.
#[must_use]
pub fn is_in(namespace: &Value, mesh: &str) -> bool {
    namespace["metadata"]["labels"][MONITORED_BY] == mesh
}

/// A namespace as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshNamespace {
    /// Its name.
    pub namespace: String,
    /// The mesh that it is in.
    pub mesh: Option<String>,
    /// What its annotation says of sidecars.
    pub sidecar_injection: Option<String>,
    /// Whether webhooks leave it alone.
    pub ignored: bool,
    /// What its annotation says of metrics.
    pub metrics: Option<String>,
}

impl MeshNamespace {
    /// What the marks of a namespace say.
    #[must_use]
    pub fn of(namespace: &Value) -> Self {
        let metadata = &namespace["metadata"];
        let annotation = |name: &str| metadata["annotations"][name].as_str().map(str::to_owned);
        Self {
            namespace: name(namespace).to_owned(),
            mesh: metadata["labels"][MONITORED_BY].as_str().map(str::to_owned),
            sidecar_injection: annotation(INJECTION),
            ignored: !metadata["labels"][IGNORE].is_null(),
            metrics: annotation(METRICS),
        }
    }

    /// What people read of sidecars.
    #[must_use]
    pub fn injection(&self) -> &str {
        match (self.ignored, &self.sidecar_injection) {
            (true, _) => "disabled (ignored)",
            (false, Some(value)) => value,
            (false, None) => "-",
        }
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(labels: Value) -> Value {
        json!({"metadata": {"name": "shop", "labels": labels}})
    }

    #[test]
    fn a_namespace_is_added_unless_it_is_somebody_elses() {
        let decide =
            |labels: Value, control_planes: &[String]| addition(&namespace(labels), "osm", control_planes);
        assert_eq!(decide(json!({}), &[]), Addition::Add);
        assert_eq!(decide(json!({(MONITORED_BY): "osm"}), &[]), Addition::Add);
        assert!(matches!(decide(json!({}), &["shop".to_owned()]), Addition::Skip(_)));
        let ignored = decide(json!({(IGNORE): "true"}), &[]);
        assert!(matches!(&ignored, Addition::Refuse(why) if why.contains("ignored")), "{ignored:?}");
        let other = decide(json!({(MONITORED_BY): "blue"}), &[]);
        assert!(matches!(&other, Addition::Refuse(why) if why.contains("--mesh-name blue")), "{other:?}");
    }

    #[test]
    fn a_list_shows_what_the_marks_say() {
        let shown = |labels: Value, annotations: Value| {
            let object = json!({"metadata": {"name": "shop", "labels": labels, "annotations": annotations}});
            MeshNamespace::of(&object).injection().to_owned()
        };
        assert_eq!(shown(json!({}), json!({(INJECTION): "enabled"})), "enabled");
        assert_eq!(shown(json!({}), json!(null)), "-");
        assert_eq!(shown(json!({(IGNORE): "true"}), json!({(INJECTION): "enabled"})), "disabled (ignored)");
    }

    #[test]
    fn taking_out_undoes_everything_that_adding_and_others_did() {
        let removed = removed();
        for change in [added("osm", true), ignored(), metrics(true)] {
            for part in ["labels", "annotations"] {
                for name in change["metadata"][part].as_object().into_iter().flatten().map(|(name, _)| name) {
                    assert_eq!(removed["metadata"][part].get(name), Some(&Value::Null), "{name}");
                }
            }
        }
    }
}
