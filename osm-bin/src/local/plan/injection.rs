//! Which pods get a proxy: the rules of Open Service Mesh's injector.

use osm_k8s::injector::decision::{Decision, OfMesh, OfNamespace, UnclearAnnotation};
use osm_k8s::manifest::{Namespace, Pod};

/// The field that findings name.
pub(super) const FIELD: &str = "metadata.annotations.openservicemesh.io/sidecar-injection";

/// Whether a pod gets a proxy: its namespace must be monitored by this mesh; then
/// the pod's own annotation decides, else that of its namespace, else no.
///
/// # Errors
/// When an annotation is neither yes nor no: such a pod is not admitted.
pub(super) fn wants_proxy(namespace: Option<&Namespace>, pod: &Pod, mesh_name: &str) -> Result<bool, String> {
    let Some(Namespace { metadata }) = namespace else { return Ok(false) };
    let namespace = OfNamespace {
        name: metadata.name.as_str(),
        labels: &metadata.labels,
        annotations: &metadata.annotations,
    };
    // A pod on this machine has a network of its own whatever it says.
    let decision = Decision::of(
        OfMesh { name: mesh_name, namespace: None },
        namespace,
        &pod.metadata.annotations,
        false,
    );
    decision.map(Decision::injects).map_err(|UnclearAnnotation { value, .. }| {
        format!("`{value}` is neither `enabled` nor `disabled`; the pod does not run until it is corrected")
    })
}

/// The annotations of a pod that ask for connections to bypass its proxy: here
/// none do yet.
pub(super) fn exclusions(pod: &Pod) -> impl Iterator<Item = &String> {
    let is_exclusion = |name: &&String| {
        let name = name.strip_prefix("openservicemesh.io/").unwrap_or_default();
        name.ends_with("clusion-list")
    };
    pod.metadata.annotations.keys().filter(is_exclusion)
}

#[cfg(test)]
mod tests {
    use crate::local::plan::testing::plan_of;

    fn has_proxy(labels: &str, namespace: &str, pod: &str) -> Option<bool> {
        let plan = plan_of(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: shop, labels: {{{labels}}}, annotations: {{{namespace}}}}}}}\n\
             ---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: shop, annotations: {{{pod}}}}}, \
             spec: {{containers: [{{name: c}}]}}}}"
        ));
        plan.pods.values().next().map(|pod| pod.has_proxy)
    }

    #[test]
    fn the_pod_decides_then_its_namespace_and_only_in_a_namespace_of_the_mesh() {
        let osm = "openservicemesh.io/monitored-by: osm";
        let yes = "openservicemesh.io/sidecar-injection: enabled";
        let no = "openservicemesh.io/sidecar-injection: 'No'";
        for (labels, namespace, pod, expected) in [
            (osm, yes, "", true),
            (osm, "", yes, true),
            (osm, yes, no, false),
            (osm, no, yes, true),
            (osm, "", "", false),
            ("", yes, yes, false),
            ("openservicemesh.io/monitored-by: other", yes, yes, false),
            ("openservicemesh.io/monitored-by: osm, openservicemesh.io/ignore: 'no'", yes, yes, false),
        ] {
            assert_eq!(has_proxy(labels, namespace, pod), Some(expected), "{labels} | {namespace} | {pod}");
        }
    }

    #[test]
    fn an_annotation_that_has_no_effect_here_is_named() {
        let plan = plan_of(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, annotations: {openservicemesh.io/outbound-port-exclusion-list: '80'}}, \
             spec: {containers: [{name: c}]}}",
        );
        assert_eq!(plan.diagnostics[0].code, "annotation-without-effect");
        assert_eq!(
            plan.diagnostics[0].field,
            "metadata.annotations.openservicemesh.io/outbound-port-exclusion-list"
        );
    }

    #[test]
    fn a_pod_whose_annotation_means_nothing_does_not_run() {
        let osm = "openservicemesh.io/monitored-by: osm";
        assert_eq!(has_proxy(osm, "", "openservicemesh.io/sidecar-injection: perhaps"), None);
    }
}
