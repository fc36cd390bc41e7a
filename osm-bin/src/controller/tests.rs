//! A control plane in a cluster, as an API server sees it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::{Json, Router};
use osm_core::source::MemorySource;
use osm_k8s::{ApiClient, KubernetesSource};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::cluster::status::Statuses;

/// The only lease of an API server.
type LeaseObject = Arc<Mutex<Option<Value>>>;

async fn answer(
    State(lease): State<LeaseObject>,
    method: Method,
    body: Option<Json<Value>>,
) -> (StatusCode, Json<Value>) {
    let mut lease = lease.lock();
    if let (Method::POST | Method::PUT, Some(Json(written))) = (method, body) {
        *lease = Some(written);
    }
    match &*lease {
        Some(lease) => (StatusCode::OK, Json(lease.clone())),
        None => {
            let refusal = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "not found", "reason": "NotFound", "code": 404,
            });
            (StatusCode::NOT_FOUND, Json(refusal))
        }
    }
}

/// An API server that has nothing but a lease.
async fn api_server() -> (ApiClient, LeaseObject) {
    let lease = LeaseObject::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let pages = Router::new().fallback(answer).with_state(Arc::clone(&lease));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "it", "user": {} }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
    });
    std::fs::write(&path, config.to_string()).expect("a file");
    (ApiClient::find(&[path]).await.expect("a client"), lease)
}

#[tokio::test]
async fn a_control_plane_that_ends_gives_up_its_lease() {
    let (server, lease) = api_server().await;
    let namespace: osm_core::name::NamespaceName = "osm-system".parse().expect("a name");
    let policies = KubernetesSource::new(server.clone(), "osm", namespace.clone()).policies();
    let statuses = Statuses { policies, namespace, replica: "this".to_owned(), pod: None };
    let cluster = ClusterOptions { server, webhooks: None, statuses: Some(statuses) };
    let options = ControllerOptions { cluster: Some(cluster), ..ControllerOptions::on_loopback() };
    let (source, _writer) = MemorySource::new([]);
    let mut controller = Controller::start(options, Box::new(source)).await.expect("it starts");

    let holder = || lease.lock().as_ref().map(|lease| lease["spec"]["holderIdentity"].clone());
    let deadline = Instant::now() + Duration::from_secs(20);
    while holder() != Some(json!("this")) {
        assert!(Instant::now() < deadline, "the lease is taken: {:?}", holder());
        tokio::select! {
            failed = controller.failed() => panic!("{failed}"),
            () = sleep(Duration::from_millis(5)) => {}
        }
    }
    controller.shutdown().await;
    assert_eq!(holder(), Some(Value::Null));
}

#[test]
fn a_host_without_ipv6_listens_on_all_its_addresses_of_ipv4() {
    let everywhere: SocketAddr = "[::]:15128".parse().expect("an address");
    let error = |errno: Errno| std::io::Error::from_raw_os_error(errno as i32);
    let instead = without_ipv6(everywhere, &error(Errno::EAFNOSUPPORT)).map(|one| one.to_string());
    assert_eq!(instead.as_deref(), Some("0.0.0.0:15128"));
    assert_eq!(without_ipv6(everywhere, &error(Errno::EADDRINUSE)), None, "the port is taken");
    let one = "[::1]:15128".parse().expect("an address");
    assert_eq!(without_ipv6(one, &error(Errno::EADDRNOTAVAIL)), None, "that address alone was meant");
}

#[tokio::test]
async fn everywhere_is_every_address_of_both_versions_of_ip() {
    let listener = listen("[::]:0".parse().expect("an address"), "a test").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for address in ["127.0.0.1", "::1"] {
        let address: IpAddr = address.parse().expect("an address");
        let connected = tokio::net::TcpStream::connect((address, port)).await;
        // A host may have no IPv6.
        assert!(connected.is_ok() || address.is_ipv6() && listener.local_addr().expect("one").is_ipv4());
    }
}
