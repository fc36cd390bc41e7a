//! What the object of a pod says about its sidecar, and whether it should have one.

pub use osm_k8s::injector::PROXY_CONTAINER as CONTAINER;
use osm_k8s::injector::decision::{Decision, OfMesh, OfNamespace, Texts};
pub use osm_k8s::manifest::PROXY_UUID_LABEL as PROXY;
use serde::Serialize;
use serde_json::Value;

/// The sidecar of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Where the pod is.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// As whom it runs.
    pub service_account: String,
    /// The proxy, as the control plane knows it.
    pub proxy: String,
    /// Which Envoy it is.
    pub image: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u64,
}

impl Sidecar {
    /// The sidecar of a pod, if it has one: its label and its container.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        let metadata = &pod["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let proxy = metadata["labels"][PROXY].as_str()?.to_owned();
        let container = named(&pod["spec"], ["containers", "initContainers"])?;
        let status = named(&pod["status"], ["containerStatuses", "initContainerStatuses"]);
        Some(Self {
            namespace: text(&metadata["namespace"]),
            pod: text(&metadata["name"]),
            service_account: text(&pod["spec"]["serviceAccountName"]),
            proxy,
            image: text(&container["image"]),
            ready: status.is_some_and(|status| status["ready"] == true),
            restarts: status.and_then(|status| status["restartCount"].as_u64()).unwrap_or_default(),
        })
    }
}

/// The sidecar's entry in one of two lists: it is a container, or an init container that goes on.
fn named<'v>(object: &'v Value, lists: [&str; 2]) -> Option<&'v Value> {
    let entries = lists.into_iter().filter_map(|list| object[list].as_array()).flatten();
    entries.into_iter().find(|entry| entry["name"] == CONTAINER)
}

/// Whether a pod has ended or is about to, and needs nothing any more.
#[must_use]
pub fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        || !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Whether the webhook of a mesh gives a new pod a sidecar, in this namespace. One that it would refuse gets none.
#[must_use]
pub fn is_injected(mesh: &str, pod: &Value, namespace: &Value) -> bool {
    let texts = |value: &Value| -> Texts {
        let fields = value.as_object().into_iter().flatten();
        fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    };
    let metadata = &namespace["metadata"];
    let (labels, annotations) = (texts(&metadata["labels"]), texts(&metadata["annotations"]));
    let name = metadata["name"].as_str().unwrap_or_default();
    let namespace = OfNamespace { name, labels: &labels, annotations: &annotations };
    let pod_annotations = texts(&pod["metadata"]["annotations"]);
    let host_network = pod["spec"]["hostNetwork"] == true;
    // A namespace with a control plane is in no mesh, so that it needs not be told apart here.
    let mesh = OfMesh { name: mesh, namespace: None };
    Decision::of(mesh, namespace, &pod_annotations, host_network).is_ok_and(Decision::injects)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mesh_namespace::{INJECTION, MONITORED_BY};

    fn pod(lists: [&str; 2]) -> Value {
        let [containers, statuses] = lists;
        json!({
            "metadata": {"namespace": "shop", "name": "p", "labels": {(PROXY): "u"}},
            "spec": {"serviceAccountName": "till", (containers): [{"name": "envoy", "image": "envoy:1"}]},
            "status": {(statuses): [{"name": "envoy", "ready": true, "restartCount": 2}]},
        })
    }

    #[test]
    fn a_sidecar_is_found_in_both_forms() {
        for lists in [["containers", "containerStatuses"], ["initContainers", "initContainerStatuses"]] {
            let sidecar = Sidecar::of(&pod(lists)).unwrap();
            assert_eq!((sidecar.image.as_str(), sidecar.ready, sidecar.restarts), ("envoy:1", true, 2));
        }
    }

    #[test]
    fn a_label_alone_is_no_sidecar() {
        let mut pod = pod(["containers", "containerStatuses"]);
        pod["spec"]["containers"] = json!([{"name": "app"}]);
        assert_eq!(Sidecar::of(&pod), None);
        assert_eq!(Sidecar::of(&json!({"metadata": {}, "spec": {"containers": [{"name": "envoy"}]}})), None);
    }

    #[test]
    fn a_pod_is_injected_as_the_webhook_decides() {
        let namespace = json!({"metadata": {"name": "shop", "labels": {(MONITORED_BY): "osm"},
            "annotations": {(INJECTION): "enabled"}}});
        let injected = |mesh, pod: Value| is_injected(mesh, &pod, &namespace);
        assert!(injected("osm", json!({})));
        assert!(!injected("blue", json!({})), "another mesh's namespace");
        assert!(!injected("osm", json!({"metadata": {"annotations": {(INJECTION): "no"}}})));
        assert!(!injected("osm", json!({"spec": {"hostNetwork": true}})));
    }
}
