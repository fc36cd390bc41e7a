//! An API server that has forgotten what happened, or does not have what others have.
//! The server is real; what it is asked is changed on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Uri;
use kube::Client;
use kube::client::Body;
use osm_core::source::SourceEvent;
use osm_core::testing::SourceCheck;
use osm_k8s::ManifestKind;

use crate::cluster::{Listener, Mesh, account, knows};

/// A client whose requests are changed before they are sent.
fn changing(
    client: Client,
    change: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static,
) -> Client {
    let service = tower::service_fn(move |mut request: http::Request<Body>| {
        let (client, change) = (client.clone(), change.clone());
        async move {
            let path = request.uri().path_and_query().expect("a path").as_str();
            if let Some(other) = change(path) {
                *request.uri_mut() = other.parse::<Uri>().expect("a path");
            }
            client.send(request).await
        }
    });
    Client::new(service, "default")
}

/// The request with another version than it has, if it has any.
fn since(path: &str, version: &str) -> Option<String> {
    let (before, after) = path.split_once("resourceVersion=")?;
    let rest = after.split_once('&').map(|(_, rest)| format!("&{rest}")).unwrap_or_default();
    Some(format!("{before}resourceVersion={version}{rest}"))
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn what_the_server_has_forgotten_is_told_anew_without_a_deletion() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    for name in ["stays", "goes"] {
        mesh.apply(&account(&a, name)).await;
    }
    // Watches end after two seconds and then ask for changes since the first of all versions.
    let forgetful = Arc::new(AtomicBool::new(false));
    let is_forgetful = Arc::clone(&forgetful);
    let client = changing(mesh.client.clone(), move |path| {
        let path = path.replace("timeoutSeconds=290", "timeoutSeconds=2");
        let is_list = path.contains("sendInitialEvents");
        if !is_list && is_forgetful.load(Ordering::Relaxed) { since(&path, "1") } else { Some(path) }
    });
    let mut listener = Listener::new(mesh.source(client));
    listener.until("the start", |told| told.is_ready() && knows(told, "ServiceAccount goes")).await;
    listener.said.clear();
    // From here on a watch that ends can't go on where it was.
    forgetful.store(true, Ordering::Relaxed);
    listener.until_said("everything anew", |event| *event == SourceEvent::Reset).await;
    forgetful.store(false, Ordering::Relaxed);
    mesh.delete(ManifestKind::ServiceAccount, &a, "goes").await;
    mesh.apply(&account(&a, "comes")).await;
    listener
        .until("what changed", |told| {
            knows(told, "ServiceAccount comes") && !knows(told, "ServiceAccount goes")
        })
        .await;
    assert!(listener.knows("ServiceAccount stays"));
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_server_without_streaming_lists_is_read_page_by_page() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    for number in 0..7 {
        mesh.apply(&account(&a, &format!("a{number}"))).await;
    }
    // The server refuses this value of the parameter, as an older one does the parameter.
    let client = changing(mesh.client.clone(), |path| {
        if path.contains("sendInitialEvents=true") {
            return Some(path.replace("&resourceVersionMatch=NotOlderThan", ""));
        }
        Some(path.replace("limit=500", "limit=2"))
    });
    let mut listener = Listener::new(mesh.source(client));
    listener.until("the start", |told| told.is_ready() && knows(told, "ServiceAccount a6")).await;
    mesh.apply(&account(&a, "later")).await;
    listener.until("a change", |told| knows(told, "ServiceAccount later")).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_kind_that_is_not_installed_is_empty_and_its_objects_are_told_once_it_is() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    mesh.apply(&crate::cluster::target(&a, "t", &a)).await;
    let is_installed = Arc::new(AtomicBool::new(false));
    let installed = Arc::clone(&is_installed);
    let client = changing(mesh.client.clone(), move |path| {
        let is_hidden = path.contains("/access.smi-spec.io/") && !installed.load(Ordering::Relaxed);
        is_hidden.then(|| path.replace("/access.smi-spec.io/", "/access.example.org/"))
    });
    let source = mesh.source(client);
    let freshness = source.freshness();
    let mut listener = Listener::new(source);
    listener.until("the start", SourceCheck::is_ready).await;
    assert!(freshness.absent().contains(&ManifestKind::TrafficTarget) && !listener.knows("TrafficTarget t"));
    is_installed.store(true, Ordering::Relaxed);
    listener.until("the target", |told| knows(told, "TrafficTarget t")).await;
    assert!(freshness.absent().is_empty());
}
