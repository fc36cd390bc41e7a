//! Whether every pod that should have a sidecar has one that works: pods that slipped through are found here.

use serde_json::Value;

use super::Check;
use crate::sidecar::{Sidecar, is_injected, is_over};

/// Checks the pods of a namespace of this mesh: one check for the namespace, and one for each pod that is not as it should be.
#[must_use]
pub fn check(mesh: &str, namespace: &Value, pods: &[Value]) -> Vec<Check> {
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
    let mut sidecars = 0;
    let mut bad = Vec::new();
    for pod in pods.iter().filter(|pod| !is_over(pod)) {
        let pod_name = format!("{name}/{}", pod["metadata"]["name"].as_str().unwrap_or_default());
        match (Sidecar::of(pod), is_injected(mesh, pod, namespace)) {
            (Some(sidecar), _) if sidecar.ready => sidecars += 1,
            (Some(_), _) => bad.push(Check::bad(
                format!("the sidecar of {pod_name} is ready"),
                "it is not",
                format!("`osm proxy get clusters {} --namespace {name}` shows what it waits for", short(&pod_name)),
            )),
            (None, true) => bad.push(Check::bad(
                format!("{pod_name} has a sidecar"),
                "it has none: it is older than the namespace's place in the mesh, or came in while there was no webhook",
                format!("start it anew: `kubectl delete pod {} --namespace {name}`", short(&pod_name)),
            )),
            (None, false) => {}
        }
    }
    if bad.is_empty() {
        return vec![Check::good(format!(
            "all pods of {name} are as they should be, {sidecars} with a sidecar"
        ))];
    }
    bad
}

fn short(pod: &str) -> &str {
    pod.split_once('/').map_or(pod, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, sidecar: Option<bool>) -> Value {
        let mut pod = json!({"metadata": {"name": name}, "spec": {}, "status": {"phase": "Running"}});
        if let Some(ready) = sidecar {
            pod["metadata"]["labels"] = json!({"osm-proxy-uuid": "u"});
            pod["spec"]["initContainers"] = json!([{"name": "envoy"}]);
            pod["status"]["initContainerStatuses"] = json!([{"name": "envoy", "ready": ready}]);
        }
        pod
    }

    #[test]
    fn pods_that_slipped_through_and_sidecars_that_are_not_ready_are_named() {
        let annotations = json!({"openservicemesh.io/sidecar-injection": "enabled"});
        let labels = json!({"openservicemesh.io/monitored-by": "osm"});
        let namespace = json!({"metadata": {"name": "shop", "labels": labels, "annotations": annotations}});
        let good = [pod("a", Some(true))];
        let checks = check("osm", &namespace, &good);
        assert!(
            checks.len() == 1 && checks[0].ok && checks[0].what.contains("1 with a sidecar"),
            "{checks:?}"
        );
        let mut over = pod("d", None);
        over["status"]["phase"] = json!("Succeeded");
        let pods = [pod("a", Some(true)), pod("b", None), pod("c", Some(false)), over];
        let named: Vec<String> =
            check("osm", &namespace, &pods).into_iter().map(|check| check.what).collect();
        assert_eq!(named, ["shop/b has a sidecar", "the sidecar of shop/c is ready"]);
        let without = json!({"metadata": {"name": "shop"}});
        assert!(check("osm", &without, &[pod("b", None)])[0].ok, "nobody asked for a sidecar");
    }
}
