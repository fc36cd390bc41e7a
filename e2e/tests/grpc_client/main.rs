//! gRPC's own xDS client against our control plane: it finds services by name,
//! balances over their endpoints, follows splits and policy, and accepts only
//! servers of the right identity, without a sidecar of its own. The server may
//! have one.

mod mesh;
mod peer;
mod sidecar;

use mesh::Mesh;
use peer::{Answers, Caller, Server};

/// The two endpoints of the service, and the one that a split leads to.
const STOCK: [&str; 2] = ["127.0.1.1", "127.0.1.2"];
const NEXT: &str = "127.0.1.3";
const TARGET: &str = "xds:///stock.shop.svc.cluster.local:9000";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs gRPC for Python: run by `cargo xtask test`"]
async fn grpcs_own_client_resolves_balances_and_follows_the_mesh() {
    let port = peer::free_port(&[STOCK[0], STOCK[1], NEXT]);
    let mesh = Mesh::start(port, &[("stock", STOCK[0]), ("stock", STOCK[1]), ("next", NEXT)]).await;
    let stock = mesh.workload("stock").await;
    let _servers = [
        Server::start(&stock, "one", STOCK[0], port),
        Server::start(&stock, "two", STOCK[1], port),
        Server::start(&mesh.workload("next").await, "three", NEXT, port),
    ];
    let mut buyer = Caller::start(&mesh.client("buyer").await);

    // Every form of the name is a way to the same service.
    for target in [TARGET, "xds:///stock.shop:9000", "xds:///stock:9000"] {
        buyer.until(target, |seen| *seen == Answers::of(&[("one", 10), ("two", 10)]));
    }

    mesh.remove_pod("stock", STOCK[1]);
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("one", 20)]));
    mesh.add_pod("stock", STOCK[1]);
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("one", 10), ("two", 10)]));

    mesh.split("stock", &[("next", 100)]);
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("three", 20)]));
    mesh.no_split("stock");
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("one", 10), ("two", 10)]));

    mesh.let_in("stock", &[]);
    let refused = buyer.until(TARGET, |seen| seen.answers.is_empty());
    assert!(refused.refusals.keys().all(|status| status.starts_with("UNAVAILABLE")), "{refused:?}");
    mesh.let_in("stock", &["buyer"]);
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("one", 10), ("two", 10)]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs gRPC for Python: run by `cargo xtask test`"]
async fn grpcs_own_client_talks_to_servers_of_the_right_identity_only() {
    let port = peer::free_port(&STOCK);
    let mesh = Mesh::start(port, &[("stock", STOCK[0]), ("stock", STOCK[1])]).await;
    let _right = Server::start(&mesh.workload("stock").await, "right", STOCK[0], port);
    let _wrong = Server::start(&mesh.workload("thief").await, "wrong", STOCK[1], port);
    let mut buyer = Caller::start(&mesh.client("buyer").await);
    buyer.until(TARGET, |seen| *seen == Answers::of(&[("right", 20)]));
    mesh.remove_pod("stock", STOCK[0]);
    let refused = buyer.until(TARGET, |seen| seen.answers.is_empty());
    assert!(refused.refusals.keys().all(|status| status.starts_with("UNAVAILABLE")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs gRPC for Python: run by `cargo xtask test`"]
async fn a_grpc_client_that_policy_does_not_name_finds_no_service() {
    let port = peer::free_port(&STOCK);
    let mesh = Mesh::start(port, &[("stock", STOCK[0])]).await;
    let _server = Server::start(&mesh.workload("stock").await, "one", STOCK[0], port);
    let mut thief = Caller::start(&mesh.client("thief").await);
    let seen = thief.call(TARGET, 1);
    assert!(seen.answers.is_empty(), "{seen:?}");
    mesh.let_in("stock", &["buyer", "thief"]);
    thief.until(TARGET, |seen| *seen == Answers::of(&[("one", 20)]));
}

#[test]
#[ignore = "needs root, Envoy and gRPC for Python: run by `cargo xtask test`"]
fn grpcs_own_client_reaches_a_server_behind_its_sidecar() {
    sidecar::in_own_network(|| async {
        let port = peer::free_port(&["127.0.0.1"]);
        let mesh = Mesh::start(port, &[("stock", STOCK[0])]).await;
        sidecar::intercept(STOCK[0], port, sidecar::INBOUND);
        let _application = Server::plaintext("behind", "127.0.0.1", port);
        let _sidecar = sidecar::Envoy::start(&mesh.sidecar("stock", STOCK[0]).await);
        let mut buyer = Caller::start(&mesh.client("buyer").await);
        buyer.until(TARGET, |seen| *seen == Answers::of(&[("behind", 20)]));
    });
}
