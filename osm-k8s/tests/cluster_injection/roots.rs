//! What a real API server takes and refuses of roots, because of the webhook.

use std::sync::Arc;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use osm_k8s::{ManifestKind, crds};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::mesh::Mesh;

fn object(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshRootCertificate",
        "metadata": { "name": name },
        "spec": { "role": role, "provider": { "tresor": { "ca": { "secretRef": { "name": name } } } } },
    })
}

/// The roots of the mesh's namespace, as soon as the server knows the kind.
async fn roots(mesh: &Mesh) -> Api<DynamicObject> {
    let kind = ManifestKind::MeshRootCertificate;
    let params = PatchParams::apply("osm-tests").force();
    let definition = crds::definitions().into_iter().find(|one| one.kind == kind).expect("it is defined");
    let of_kinds = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let kinds: Api<DynamicObject> = Api::all_with(mesh.client.clone(), &ApiResource::from_gvk(&of_kinds));
    kinds.patch(&definition.name(), &params, &Patch::Apply(&definition.object)).await.expect("it is defined");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), "v1alpha2", kind.name()));
    let roots = Api::namespaced_with(mesh.client.clone(), &mesh.shop(), &resource);
    eventually("the kind is served", || async { roots.list(&Default::default()).await.ok() }).await;
    roots
}

/// Makes or changes a root; what the server says if it does not.
async fn apply(roots: &Api<DynamicObject>, name: &str, role: &str) -> Result<(), String> {
    apply_by(roots, &PatchParams::apply("osm-tests").force(), name, role).await
}

async fn apply_by(
    roots: &Api<DynamicObject>,
    params: &PatchParams,
    name: &str,
    role: &str,
) -> Result<(), String> {
    let applied = roots.patch(name, params, &Patch::Apply(object(name, role))).await;
    applied.map(drop).map_err(|error| error.to_string())
}

async fn delete(roots: &Api<DynamicObject>, name: &str) -> Result<(), String> {
    roots.delete(name, &DeleteParams::default()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_real_api_server_lets_roots_be_exchanged_and_refuses_what_the_mesh_would_not_come_through() {
    Mesh::with("roots", |mesh: Arc<Mesh>| async move {
        let roots = roots(&mesh).await;
        // The API server takes a moment until it asks a webhook that was just configured, and to verify it.
        eventually("a first root", || async { apply(&roots, "first", "active").await.ok() }).await;
        eventually("the webhook refuses", || async {
            let dry_run = PatchParams { dry_run: true, ..PatchParams::apply("osm-tests").force() };
            let error = apply_by(&roots, &dry_run, "first", "inactive").await.err()?;
            let subject = format!("MeshRootCertificate {}/first: spec.role: ", mesh.shop());
            (error.contains(&subject) && error.contains("(no-active-root)")).then_some(())
        })
        .await;

        apply(&roots, "second", "active").await.expect("two may be active");
        let error = apply(&roots, "third", "passive").await.expect_err("three are too many");
        assert!(error.contains("(too-many-roots)"), "{error}");
        let error = delete(&roots, "first").await.expect_err("it is active");
        assert!(error.contains("(root-in-use)"), "{error}");
        apply(&roots, "first", "inactive").await.expect("the other one signs");
        let stage = json!({
            "number": 2, "issuing": "second", "serving": "second", "trusted": ["first", "second"], "revision": "1",
            "since": "2026-01-01T00:00:00Z",
        });
        let mut status = json!({ "status": { "stage": stage } });
        let write = async |status: &Value| {
            let written = roots.patch_status("second", &PatchParams::default(), &Patch::Merge(status)).await;
            written.expect("nobody is asked about a status");
        };
        write(&status).await;
        let error = delete(&roots, "first").await.expect_err("it is trusted");
        assert!(error.contains("the mesh still trusts the root"), "{error}");
        status["status"]["stage"]["trusted"] = json!(["second"]);
        write(&status).await;
        delete(&roots, "first").await.expect("nobody relies on it");
    })
    .await;
}
