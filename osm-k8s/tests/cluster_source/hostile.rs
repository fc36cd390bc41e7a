//! What a real API server takes from people who mean harm, and what it does not.

use futures::stream::{self, StreamExt};
use osm_core::model::MeshObject;
use osm_core::testing::SourceCheck;
use osm_k8s::ManifestKind;
use serde_json::json;

use crate::cluster::{Listener, Mesh, knows, service, target};

/// How many bad objects.
const COUNT: usize = 5_000;
/// How many are made at once.
const AT_ONCE: usize = 32;

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn thousands_of_objects_that_are_not_valid_are_named_and_stop_nothing() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    let mut listener = Listener::new(mesh.source(mesh.client.clone()));
    listener.until("the start", SourceCheck::is_ready).await;
    let bad = (0..COUNT).map(|number| target(&a, &format!("bad-{number}"), "elsewhere"));
    let making = stream::iter(bad).map(|object| {
        let mesh = &mesh;
        async move { mesh.create(&object).await }
    });
    listener.during(making.buffer_unordered(AT_ONCE).collect::<Vec<()>>()).await;
    listener.until("each bad object", |told| told.diagnostics().len() == COUNT).await;
    mesh.apply(&target(&a, "good", &a)).await;
    listener.until("the good one", |told| knows(told, "TrafficTarget good")).await;
    assert!(!listener.names().iter().any(|name| name.contains("bad-")), "none of them is in force");
    let mut anew = Listener::new(mesh.source(mesh.client.clone()));
    anew.until("all of them in a list", |told| told.is_ready() && told.diagnostics().len() == COUNT).await;
    assert!(anew.knows("TrafficTarget good"));
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_address_of_a_service_is_given_to_no_other_and_what_is_outside_is_carried_for_none() {
    let mut mesh = Mesh::new().await;
    mesh.add_namespace("b", true).await;
    let (a, b) = (mesh.namespace("a"), mesh.namespace("b"));
    let api = mesh.api("v1", "Service", Some(&b));
    mesh.apply(&service(&b, "store", 80)).await;
    let theirs = api.get("store").await.expect("it is there").data["spec"]["clusterIP"].clone();
    let mut stolen = service(&a, "store", 80);
    stolen["spec"]["clusterIP"] = theirs.clone();
    let refused = mesh.try_apply(&stolen).await.expect_err("the address is given to one service");
    assert!(refused.to_string().contains("already allocated"), "{refused}");
    // What a tenant may ask for besides is none of the mesh's business.
    let mut outside = service(&a, "outside", 80);
    outside["spec"]["externalIPs"] = json!([theirs]);
    mesh.apply(&outside).await;
    let name = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "alias", "namespace": a },
        "spec": { "type": "ExternalName", "externalName": format!("store.{b}.svc.cluster.local") },
    });
    mesh.apply(&name).await;
    let mut listener = Listener::new(mesh.source(mesh.client.clone()));
    listener.until("the start", |told| told.is_ready() && knows(told, "Service outside")).await;
    assert!(!listener.knows("Service alias"), "{:?}", listener.names());
    let theirs: std::net::IpAddr = theirs.as_str().and_then(|text| text.parse().ok()).expect("an address");
    let owners = listener.told.objects().values().filter(|object| match object {
        MeshObject::Service(service) => service.addresses.contains(&theirs),
        _ => false,
    });
    assert_eq!(
        owners.map(|one| one.object_ref().to_string()).collect::<Vec<_>>(),
        [format!("Service {b}/store")]
    );
    mesh.delete(ManifestKind::Service, &b, "store").await;
}
