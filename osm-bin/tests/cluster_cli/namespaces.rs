//! Namespaces in a mesh and out of it.

use serde_json::{Value, json};

use osm_k8s::objects::ObjectKey;

use crate::osm::Mesh;

async fn metadata(mesh: &Mesh, name: &str) -> Value {
    let found = mesh.objects.get(&ObjectKey::of_namespace(name)).await.expect("the API server answers");
    found.expect("there is such a namespace")["metadata"].take()
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_namespace_is_added_listed_ignored_and_taken_out() {
    let mut mesh = Mesh::named("space").await;
    let shop = mesh.make_namespace("shop").await;
    let early = mesh.osm(&["namespace", "add", &shop]).failure();
    assert!(early.contains("mesh"), "{early}");
    mesh.install(&[]).success();

    mesh.osm(&["namespace", "add", &shop, &mesh.namespace]).success();
    let added = metadata(&mesh, &shop).await;
    assert_eq!(added["labels"]["openservicemesh.io/monitored-by"], mesh.name.as_str());
    assert_eq!(added["annotations"]["openservicemesh.io/sidecar-injection"], "enabled");
    let own = metadata(&mesh, &mesh.namespace).await;
    assert!(own["labels"]["openservicemesh.io/monitored-by"].is_null(), "the control plane gets no sidecar");

    let list = ["namespace", "list", "--mesh-name", &mesh.name, "--output=json"];
    assert_eq!(mesh.osm(&list).json()[0]["namespace"], shop.as_str());
    mesh.osm(&["metrics", "enable", "--namespace", &shop]).success();
    assert_eq!(metadata(&mesh, &shop).await["annotations"]["openservicemesh.io/metrics"], "enabled");
    let missing = mesh.osm(&["namespace", "add", "no-such-namespace"]).failure();
    assert!(missing.contains("kubectl create namespace"), "{missing}");

    mesh.osm(&["namespace", "ignore", &shop]).success();
    assert!(mesh.osm(&list[..4]).success().contains("disabled (ignored)"));
    mesh.osm(&["namespace", "remove", &shop]).success();
    let removed = metadata(&mesh, &shop).await.to_string();
    assert!(!removed.contains("\"openservicemesh.io/"), "{removed}");
    let twice = mesh.osm(&["namespace", "remove", &shop]).failure();
    assert!(twice.contains("namespace list"), "{twice}");

    mesh.osm(&["namespace", "add", &shop, "--disable-sidecar-injection"]).success();
    let annotations = metadata(&mesh, &shop).await["annotations"].take();
    assert_eq!(annotations["openservicemesh.io/sidecar-injection"], "disabled");
    // What the control plane makes there goes with it.
    let bundle = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "osm-trust-bundle", "namespace": shop}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "envoy-bootstrap-config-6f1a", "namespace": shop,
        "labels": {"app.kubernetes.io/instance": mesh.name},
    }});
    let mut theirs = secret.clone();
    theirs["metadata"]["name"] = "password".into();
    for object in [&bundle, &secret, &theirs] {
        mesh.objects.create_if_absent(object).await.unwrap();
    }
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    let there = async |object| mesh.objects.get(&ObjectKey::of(object).unwrap()).await.unwrap().is_some();
    assert!(!there(&bundle).await && !there(&secret).await && there(&theirs).await);
    let left = metadata(&mesh, &shop).await.to_string();
    assert!(!left.contains("\"openservicemesh.io/"), "{left}");
    mesh.clear().await;
}
