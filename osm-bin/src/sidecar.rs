//! What the object of a pod says about its sidecar, and whether it should have one.

use serde::Serialize;
use serde_json::Value;

use crate::mesh_namespace::{self, INJECTION};

/// The label of a pod that has a sidecar; its value is the proxy.
pub const PROXY: &str = "osm-proxy-uuid";
/// The name of the sidecar's container.
pub const CONTAINER: &str = "envoy";

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

/// Whether the webhook gives a new pod a sidecar, in this namespace of the mesh.
#[must_use]
pub fn is_injected(pod: &Value, namespace: &Value) -> bool {
    if pod["spec"]["hostNetwork"] == true
        || !namespace["metadata"]["labels"][mesh_namespace::IGNORE].is_null()
    {
        return false;
    }
    let says = |object: &Value| {
        let value = object["metadata"]["annotations"][INJECTION].as_str()?.to_ascii_lowercase();
        match value.as_str() {
            "enabled" | "yes" | "true" => Some(true),
            "disabled" | "no" | "false" => Some(false),
            _ => None,
        }
    };
    says(pod).or_else(|| says(namespace)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn the_annotation_of_the_pod_counts_more_than_that_of_its_namespace() {
        let annotated = |value: Option<&str>| json!({"metadata": {"annotations": {(INJECTION): value}}});
        for (pod, namespace, expected) in [
            (None, Some("enabled"), true),
            (Some("Yes"), None, true),
            (Some("disabled"), Some("enabled"), false),
            (Some("enabled"), Some("disabled"), true),
            (None, None, false),
        ] {
            assert_eq!(
                is_injected(&annotated(pod), &annotated(namespace)),
                expected,
                "{pod:?} {namespace:?}"
            );
        }
        let mut host = annotated(Some("enabled"));
        host["spec"] = json!({"hostNetwork": true});
        assert!(!is_injected(&host, &annotated(Some("enabled"))));
    }
}
