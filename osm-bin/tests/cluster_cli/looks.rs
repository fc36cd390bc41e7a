//! What is found out about a mesh.

use osm_k8s::objects::ObjectKey;
use serde_json::json;

use crate::osm::Mesh;

/// Makes a pod that never runs. The labels are those that a webhook would give it.
async fn make_pod(mesh: &Mesh, namespace: &str, name: &str, proxy: Option<&str>) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace}});
    mesh.objects.create_if_absent(&account).await.expect("an account");
    let image = "example.invalid/none:1";
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"serviceAccountName": name, "containers": [
            {"name": "app", "image": image, "imagePullPolicy": "Never",
             "env": [{"name": "DATABASE", "value": "confidential"}]},
        ]},
    });
    if let Some(proxy) = proxy {
        pod["metadata"]["labels"]["osm-proxy-uuid"] = proxy.into();
        let sidecar = json!({"name": "envoy", "image": image, "imagePullPolicy": "Never"});
        pod["spec"]["containers"].as_array_mut().expect("a list").push(sidecar);
    }
    mesh.objects.create_if_absent(&pod).await.expect("a pod");
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn pods_that_slipped_through_are_found_and_policy_says_who_may_call_whom() {
    let mut mesh = Mesh::named("look").await;
    let shop = mesh.make_namespace("shop").await;
    // Before the namespace is in the mesh: then nobody keeps them out.
    make_pod(&mesh, &shop, "buyer", Some("0a2e9b5c-0000-4000-8000-000000000001")).await;
    make_pod(&mesh, &shop, "seller", Some("0a2e9b5c-0000-4000-8000-000000000002")).await;
    make_pod(&mesh, &shop, "stranger", None).await;
    mesh.install(&[]).success();
    mesh.osm(&["namespace", "add", &shop]).success();

    let found = mesh.osm(&["verify", "injection", "--output=json"]);
    assert!(!found.ok, "a pod without a sidecar is not as it should be");
    let named: Vec<String> = serde_json::from_str::<Vec<serde_json::Value>>(&found.out)
        .unwrap()
        .iter()
        .map(|check| check["what"].as_str().unwrap().to_owned())
        .collect();
    assert!(named.contains(&format!("{shop}/stranger has a sidecar")), "{named:?}");
    assert!(named.contains(&format!("the sidecar of {shop}/buyer is ready")), "{named:?}");

    let list = mesh.osm(&["proxy", "list", "--namespace", &shop, "--output=json"]).json();
    let pods: Vec<&str> = list.as_array().unwrap().iter().map(|each| each["pod"].as_str().unwrap()).collect();
    assert_eq!(pods, ["buyer", "seller"]);
    let asked = mesh.osm(&["proxy", "get", "clusters", "stranger", "--namespace", &shop]).failure();
    assert!(asked.contains("no sidecar"), "{asked}");

    let (buyer, seller) = (format!("{shop}/buyer"), format!("{shop}/seller"));
    let check = ["policy", "check-pods", &buyer, &seller];
    assert!(mesh.osm(&check).success().contains("may call"), "permissive");
    let config = ObjectKey::namespaced(
        "config.openservicemesh.io/v1alpha2",
        "MeshConfig",
        &mesh.namespace,
        "osm-mesh-config",
    );
    let closed = json!({"spec": {"traffic": {"enablePermissiveTrafficPolicyMode": false}}});
    mesh.objects.merge(&config, &closed).await.unwrap();
    let refused = mesh.osm(&check);
    assert!(!refused.ok && refused.out.contains("no TrafficTarget"), "{refused:?}");
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_control_plane_that_is_not_up_fails_its_checks_and_its_report_has_no_secret() {
    let mut mesh = Mesh::named("ill").await;
    let shop = mesh.make_namespace("shop").await;
    make_pod(&mesh, &shop, "buyer", Some("0a2e9b5c-0000-4000-8000-000000000003")).await;
    mesh.install(&["--set=osm.image.registry=no-such-registry.invalid"]).success();
    mesh.osm(&["namespace", "add", &shop]).success();

    let checks = mesh.osm(&["verify", "control-plane"]);
    assert!(!checks.ok, "{checks:?}");
    assert!(checks.out.contains("of 1 pods are ready"), "{}", checks.out);
    assert!(checks.out.contains("[ok] the MeshConfig"), "{}", checks.out);

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let out = out.to_str().unwrap();
    mesh.osm(&["support", "bug-report", "--out", out]).success();
    let pods = std::fs::read_to_string(format!("{out}/{shop}/Pod.yaml")).unwrap();
    assert!(pods.contains("DATABASE") && !pods.contains("confidential"), "{pods}");
    assert!(std::path::Path::new(&format!("{out}/{}/Deployment.yaml", mesh.namespace)).is_file());
    let again = mesh.osm(&["support", "bug-report", "--out", out]).failure();
    assert!(again.contains("--out"), "{again}");
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn the_version_names_that_of_each_mesh() {
    let mesh = Mesh::named("version").await;
    mesh.install(&[]).success();
    let version = mesh.osm(&["version", "--output=json"]).json();
    assert_eq!(version["client"]["version"], env!("CARGO_PKG_VERSION"));
    let meshes = version["meshes"].as_array().unwrap();
    let own = meshes.iter().find(|each| each["mesh"] == mesh.name.as_str()).unwrap();
    assert_eq!(own["version"], env!("CARGO_PKG_VERSION"));
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    mesh.clear().await;
}
