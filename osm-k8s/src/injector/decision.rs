//! Which pods get a proxy: the rules of Open Service Mesh, in their order.

use std::collections::BTreeMap;

use crate::manifest::MONITORED_BY_LABEL;

/// The annotation, on namespaces and pods, that asks for a proxy or refuses one.
pub const INJECTION_ANNOTATION: &str = "openservicemesh.io/sidecar-injection";
/// The label that keeps a namespace out of every mesh, whatever its value.
pub const IGNORE_LABEL: &str = "openservicemesh.io/ignore";

/// Namespaces in which no pod gets a proxy, beside that of the control plane.
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Labels or annotations of an object.
pub type Texts = BTreeMap<String, String>;

/// A namespace, as far as it decides.
#[derive(Debug, Clone, Copy)]
pub struct OfNamespace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Texts,
    /// Its annotations.
    pub annotations: &'a Texts,
}

/// A mesh, as far as it decides.
#[derive(Debug, Clone, Copy)]
pub struct OfMesh<'a> {
    /// Its name.
    pub name: &'a str,
    /// The namespace of its control plane; `None` where that runs elsewhere.
    pub namespace: Option<&'a str>,
}

/// Why a pod gets a proxy or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The pod asks for one.
    ByPod,
    /// Its namespace asks for one, and the pod does not refuse.
    ByNamespace,
    /// It shares the network of its node, which must not be redirected.
    HostNetwork,
    /// Its namespace is part of Kubernetes or of the mesh itself.
    SystemNamespace,
    /// Its namespace is not in this mesh, or kept out of it.
    NotMonitored,
    /// The pod refuses.
    RefusedByPod,
    /// Nobody asks for one.
    NotAsked,
}

impl Decision {
    /// Decides.
    ///
    /// # Errors
    /// When an annotation is neither yes nor no. The text says which one, as a field.
    pub fn of(
        mesh: OfMesh<'_>,
        namespace: OfNamespace<'_>,
        pod: &Texts,
        host_network: bool,
    ) -> Result<Self, UnclearAnnotation> {
        if host_network {
            return Ok(Self::HostNetwork);
        }
        if SYSTEM_NAMESPACES.contains(&namespace.name) || mesh.namespace == Some(namespace.name) {
            return Ok(Self::SystemNamespace);
        }
        let is_monitored = namespace.labels.get(MONITORED_BY_LABEL).is_some_and(|name| name == mesh.name);
        if !is_monitored || namespace.labels.contains_key(IGNORE_LABEL) {
            return Ok(Self::NotMonitored);
        }
        let of_pod = answer(pod, INJECTION_ANNOTATION, "pod")?;
        let of_namespace = answer(namespace.annotations, INJECTION_ANNOTATION, "namespace")?;
        Ok(match (of_pod, of_namespace) {
            (Some(true), _) => Self::ByPod,
            (Some(false), _) => Self::RefusedByPod,
            (None, Some(true)) => Self::ByNamespace,
            (None, _) => Self::NotAsked,
        })
    }

    /// Whether the pod gets a proxy.
    #[must_use]
    pub fn injects(self) -> bool {
        matches!(self, Self::ByPod | Self::ByNamespace)
    }
}

/// An annotation that is neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclearAnnotation {
    /// Its name.
    pub annotation: &'static str,
    /// On what kind of object it stands.
    pub on: &'static str,
    /// Its value, short and harmless.
    pub value: String,
}

/// What an annotation with OSM's words for yes and no says, in any case of letters.
///
/// # Errors
/// When it says neither.
pub fn answer(
    annotations: &Texts,
    annotation: &'static str,
    on: &'static str,
) -> Result<Option<bool>, UnclearAnnotation> {
    let Some(text) = annotations.get(annotation) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "enabled" | "yes" | "true" => Ok(Some(true)),
        "disabled" | "no" | "false" => Ok(Some(false)),
        _ => {
            let value = text.escape_debug().take(40).collect();
            Err(UnclearAnnotation { annotation, on, value })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[(&str, &str)]) -> Texts {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn decide(
        name: &str,
        labels: &[(&str, &str)],
        namespace: Option<&str>,
        pod: Option<&str>,
    ) -> Result<Decision, UnclearAnnotation> {
        let annotation = |value: Option<&str>| {
            texts(&value.map(|v| (INJECTION_ANNOTATION, v)).into_iter().collect::<Vec<_>>())
        };
        let mesh = OfMesh { name: "osm", namespace: Some("osm-system") };
        let (labels, annotations) = (texts(labels), annotation(namespace));
        let namespace = OfNamespace { name, labels: &labels, annotations: &annotations };
        Decision::of(mesh, namespace, &annotation(pod), false)
    }

    #[test]
    fn the_pod_decides_then_its_namespace_and_only_in_a_namespace_of_the_mesh() {
        use Decision::{ByNamespace, ByPod, NotAsked, NotMonitored, RefusedByPod, SystemNamespace};
        let osm = &[(MONITORED_BY_LABEL, "osm")][..];
        let ignored = &[(MONITORED_BY_LABEL, "osm"), (IGNORE_LABEL, "no")][..];
        let (yes, no) = (Some("Enabled"), Some("NO"));
        for (name, labels, namespace, pod, expected) in [
            ("shop", osm, yes, None, ByNamespace),
            ("shop", osm, None, yes, ByPod),
            ("shop", osm, yes, no, RefusedByPod),
            ("shop", osm, no, yes, ByPod),
            ("shop", osm, no, None, NotAsked),
            ("shop", osm, None, None, NotAsked),
            ("shop", &[], yes, yes, NotMonitored),
            ("shop", &[(MONITORED_BY_LABEL, "other")], yes, yes, NotMonitored),
            ("shop", ignored, yes, yes, NotMonitored),
            ("kube-system", osm, yes, yes, SystemNamespace),
            ("osm-system", osm, yes, yes, SystemNamespace),
        ] {
            let decided = decide(name, labels, namespace, pod);
            assert_eq!(decided, Ok(expected), "{name} {labels:?} {namespace:?} {pod:?}");
        }
    }

    #[test]
    fn an_answer_that_is_neither_yes_nor_no_is_named() {
        let osm = &[(MONITORED_BY_LABEL, "osm")][..];
        let of_pod = decide("shop", osm, None, Some("perhaps\n")).expect_err("it is unclear");
        assert_eq!((of_pod.on, of_pod.value.as_str()), ("pod", "perhaps\\n"));
        let of_namespace = decide("shop", osm, Some(""), Some("yes")).expect_err("it is unclear");
        assert_eq!(of_namespace.on, "namespace");
        assert_eq!(
            decide("shop", &[], None, Some("perhaps")),
            Ok(Decision::NotMonitored),
            "not ours to judge"
        );
    }
}
