//! The control plane goes and comes back: proxies go on with what they have,
//! and are sent only what is different.

use std::collections::BTreeMap;
use std::time::Duration;

use osm_bin::local::api::{Sent, Status};

use crate::SHOP;
use crate::mesh::{Mesh, TestFolder};

/// Two further services of the store: one to be deleted, one to be changed.
const MORE: &str = "
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {selector: {app: store}, ports: [{name: http, port: 14001}]}
";
const GONE: &str = "
apiVersion: v1
kind: Service
metadata: {name: gone, namespace: shop}
spec: {selector: {app: store}, ports: [{name: http, port: 14001}]}
";
/// Changes where requests to `other` go, and nothing else.
const SPLIT: &str = "
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: other, namespace: shop}
spec: {service: other, backends: [{service: store, weight: 1}]}
";

/// What each proxy was sent since it connected, once all are connected and have it.
async fn sent(mesh: &Mesh<'_>) -> BTreeMap<String, Sent> {
    let all = |status: &Status| {
        let proxies = status.pods.iter().filter_map(|pod| pod.proxy.as_ref());
        status.control_plane.running
            && proxies.clone().count() == 2
            && proxies.clone().all(|p| p.connected && p.in_sync)
    };
    mesh.until("all proxies are back", async || all(&mesh.client.status().await.expect("a status"))).await;
    let status = mesh.client.status().await.expect("a status");
    status.pods.into_iter().filter_map(|pod| Some((pod.pod, pod.proxy?.sent))).collect()
}

fn fetch<'a>(mesh: &Mesh<'a>, service: &str) -> bool {
    let url = format!("http://{service}:14001/books-bought");
    mesh.osm(&["exec", "buyer-0", "--", "bookstore-app", "fetch", &url]).status.success()
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn i7_a_restarted_controller_sends_only_what_changed_while_it_was_down() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("more.yaml", MORE), ("gone.yaml", GONE)]);
    let mesh = Mesh::up(&folder).await;
    mesh.until("the buyer buys", async || mesh.counter("shop/buyer-0", "booksBought").await > 3).await;
    for service in ["store", "other", "gone"] {
        assert!(fetch(&mesh, service), "{service} answers");
    }
    let failures = mesh.counter("shop/buyer-0", "failures").await;

    mesh.client.restart_controller(Duration::ZERO).await.expect("it is restarted");
    for (pod, sent) in sent(&mesh).await {
        // Its own leaf certificate, whose key died with the old control plane.
        assert_eq!((sent.resources, sent.removed), (1, 0), "{pod}: {sent:?}");
    }

    let down = Duration::from_secs(2);
    let (restarted, ()) = tokio::join!(mesh.client.restart_controller(down), async {
        mesh.until("it is down", async || {
            !mesh.client.status().await.expect("a status").control_plane.running
        })
        .await;
        folder.remove("gone.yaml");
        folder.write("split.yaml", SPLIT);
    });
    restarted.expect("it is restarted");
    let sent = sent(&mesh).await;
    // The buyer: its leaf, and the routes of `other`; a listener, routes, a cluster and its endpoints
    // are gone, some of which Envoy may have stopped to ask for before it is told.
    let buyer = sent["shop/buyer-0"];
    assert_eq!(buyer.resources, 2, "{buyer:?}");
    assert!((2..=4).contains(&buyer.removed), "{buyer:?}");
    // The store: its leaf, and its listener without the chain of `gone`, whose cluster and routes are gone.
    let store = sent["shop/store-0"];
    assert_eq!(store.resources, 2, "{store:?}");
    assert!((1..=2).contains(&store.removed), "{store:?}");

    assert_eq!(mesh.counter("shop/buyer-0", "failures").await, failures, "requests went on all the time");
    assert!(fetch(&mesh, "store") && fetch(&mesh, "other"), "what is left answers");
    assert!(!fetch(&mesh, "gone"), "what was deleted does not");
    mesh.down().await;
}
