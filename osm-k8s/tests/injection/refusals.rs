//! Pods that get no proxy, and pods that are not admitted.

use osm_k8s::injector::decision::Decision;
use serde_json::{Value, json};

use super::{Case, patched};

fn pod(annotations: Value, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "p", "annotations": annotations },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    });
    let members = spec.as_object().cloned().unwrap_or_default();
    members.into_iter().for_each(|(key, value)| pod["spec"][key] = value);
    pod
}

#[test]
fn a_pod_that_gets_no_proxy_is_left_as_it_is() {
    let yes = json!({ "openservicemesh.io/sidecar-injection": "enabled" });
    let no = json!({ "openservicemesh.io/sidecar-injection": "disabled" });
    for (pod, decision, warnings) in [
        (pod(yes, json!({ "hostNetwork": true })), Decision::HostNetwork, 1),
        (pod(json!({}), json!({ "hostNetwork": true })), Decision::HostNetwork, 0),
        (pod(no, json!({})), Decision::RefusedByPod, 0),
    ] {
        let injection = Case::default().decide(&pod).expect("admitted");
        assert_eq!((injection.decision, injection.warnings.len()), (decision, warnings));
        assert_eq!(patched(&pod, &injection), pod);
    }
}

#[test]
fn a_pod_that_cannot_be_admitted_is_told_which_field_is_at_fault() {
    let taken = |name: &str| json!({ "containers": [{ "name": name, "image": "app:1" }] });
    for (pod, expected) in [
        (
            pod(json!({ "openservicemesh.io/sidecar-injection": "maybe" }), json!({})),
            "metadata.annotations[openservicemesh.io/sidecar-injection]: `maybe` is neither",
        ),
        (
            pod(json!({ "openservicemesh.io/outbound-port-exclusion-list": "80,x" }), json!({})),
            "metadata.annotations[openservicemesh.io/outbound-port-exclusion-list]: `x`: it is not a port",
        ),
        (
            pod(json!({}), taken("envoy")),
            "spec.containers[0].name: `envoy` is the name of a container of the mesh",
        ),
        (pod(json!({}), taken("osm-init")), "spec.containers[0].name: `osm-init`"),
    ] {
        let refusal = Case::default().decide(&pod).expect_err("refused").to_string();
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    let mut case = Case::default();
    case.annotations.insert("openservicemesh.io/metrics".to_owned(), "of course".to_owned());
    let refusal = case.decide(&pod(json!({}), json!({}))).expect_err("refused").to_string();
    assert!(refusal.starts_with("namespace: metadata.annotations[openservicemesh.io/metrics]"), "{refusal}");
}

/// Whatever a pod says, injection ends, and what it makes can be applied.
#[test]
fn strange_pods_are_refused_or_patched_and_nothing_else() {
    let odd = [
        json!(null),
        json!([]),
        json!({ "spec": null }),
        json!({ "metadata": [], "spec": { "containers": {} } }),
        json!({ "metadata": { "labels": null, "annotations": 7 }, "spec": { "containers": [null, 1, {}] } }),
        json!({ "metadata": {}, "spec": { "containers": [{ "name": 1, "livenessProbe": [] }], "volumes": null } }),
        pod(
            json!({}),
            json!({ "containers": [{ "name": "a", "livenessProbe": { "httpGet": { "port": -1 } } }] }),
        ),
        pod(
            json!({}),
            json!({ "containers": [{ "name": "a", "livenessProbe": { "tcpSocket": { "port": "no" } } }] }),
        ),
        pod(
            json!({}),
            json!({ "containers": [{ "name": "a", "livenessProbe": { "grpc": { "port": 1e300 } } }] }),
        ),
    ];
    for pod in odd {
        if let Ok(injection) = Case::default().decide(&pod) {
            patched(&pod, &injection);
        }
    }
}
