//! What changes in a cluster is told, as the conformance kit for sources wants it.

use osm_core::testing::{SourceCheck, SourceStep, source_conformance};
use osm_k8s::ManifestKind;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::cluster::{Listener, Mesh, account, knows, service, target};
use crate::eventually::DEADLINE;

/// Waits for something in the middle of what does not wait.
fn wait<T>(work: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(work))
}

fn count(told: &SourceCheck, kind: &str) -> usize {
    told.objects().keys().filter(|object| object.kind.to_string() == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_api_server_keeps_what_a_source_promises() {
    let mut mesh = Mesh::new().await;
    mesh.add_namespace("other", false).await;
    let (a, other) = (mesh.namespace("a"), mesh.namespace("other"));
    mesh.apply(&account(&a, "first")).await;
    mesh.apply(&account(&other, "hidden")).await;
    let steps = vec![
        SourceStep::new(
            "a service is made",
            || wait(mesh.apply(&service(&a, "web", 80))),
            |told| knows(told, "Service web"),
        ),
        SourceStep::new(
            "its slice is made by the cluster",
            || {},
            |told| told.objects().keys().any(|one| one.to_string().contains("/web-")),
        ),
        SourceStep::new(
            "a target is made",
            || wait(mesh.apply(&target(&a, "t", &a))),
            |told| knows(told, "TrafficTarget t"),
        ),
        SourceStep::new(
            "it is made wrong",
            || wait(mesh.apply(&target(&a, "t", "elsewhere"))),
            |told| told.diagnostics().iter().any(|one| one.code == "destination-in-other-namespace"),
        ),
        SourceStep::new(
            "it is corrected",
            || wait(mesh.apply(&target(&a, "t", &a))),
            |told| told.diagnostics().is_empty() && knows(told, "TrafficTarget t"),
        ),
        SourceStep::new(
            "a pod is made",
            || {
                wait(mesh.apply(&json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": a },
                    "spec": {
                        "nodeSelector": { "no-such": "node" }, "automountServiceAccountToken": false,
                        "containers": [{ "name": "app", "image": "none" }],
                    },
                })));
            },
            |told| knows(told, "Pod p"),
        ),
        SourceStep::new(
            "settings are made",
            || {
                wait(mesh.apply(&json!({
                    "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshConfig",
                    "metadata": { "name": "osm-mesh-config", "namespace": a },
                    "spec": { "traffic": { "enableEgress": true } },
                })));
            },
            |told| knows(told, "MeshConfig osm-mesh-config"),
        ),
        SourceStep::new(
            "a root is made",
            || {
                wait(mesh.apply(&json!({
                    "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshRootCertificate",
                    "metadata": { "name": "first", "namespace": a },
                    "spec": { "role": "active", "provider": { "certManager": { "issuerName": "a" } } },
                })));
            },
            |told| knows(told, "MeshRootCertificate first"),
        ),
        SourceStep::new(
            "a service is deleted",
            || wait(mesh.delete(ManifestKind::Service, &a, "web")),
            |told| !knows(told, "Service web") && count(told, "EndpointSlice") == 0,
        ),
        SourceStep::new(
            "another namespace comes to the mesh",
            || {
                wait(mesh.apply(&json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": { "name": other, "labels": { "openservicemesh.io/monitored-by": mesh.name } },
                })));
            },
            |told| knows(told, "ServiceAccount hidden"),
        ),
        SourceStep::new(
            "and leaves it",
            || {
                wait(mesh.apply(&json!({
                    "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": other, "labels": {} },
                })));
            },
            |told| !knows(told, "ServiceAccount hidden") && count(told, "Namespace") == 1,
        ),
    ];
    let source = Box::new(mesh.source(mesh.client.clone()));
    let told = tokio::time::timeout(DEADLINE, source_conformance(source, steps)).await;
    let told = told.expect("everything is told in time").unwrap_or_else(|broken| panic!("{broken}"));
    assert!(knows(&told, "ServiceAccount first"));
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_object_of_a_megabyte_is_told() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    let matches: Vec<_> = (0..250)
        .map(|number| json!({ "name": format!("m{number}"), "pathRegex": format!("/{number}/{}", "x".repeat(4000)) }))
        .collect();
    let group = json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": { "name": "large", "namespace": a }, "spec": { "matches": matches },
    });
    assert!(group.to_string().len() > 1_000_000);
    let mut listener = Listener::new(mesh.source(mesh.client.clone()));
    listener.until("the start", SourceCheck::is_ready).await;
    // As an update: with server-side apply it would be there twice, and be too large.
    let api = mesh.api("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", Some(&a));
    let object = serde_json::from_value(group).expect("an object");
    api.create(&Default::default(), &object).await.expect("it is taken");
    listener.until("the large object", |told| knows(told, "HTTPRouteGroup large")).await;
    let mut anew = Listener::new(mesh.source(mesh.client.clone()));
    anew.until("the large object in a list", |told| told.is_ready() && knows(told, "HTTPRouteGroup large"))
        .await;
}
