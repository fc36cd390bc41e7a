//! Certificates that are not good enough any more.

use std::time::Duration;

use osm_xds::resource::ResourceKind;
use tonic::Code;

use crate::fixture::{Authority, Delta, Running, eventually, resource, small_view, view};

/// A server that trusts a second authority as well, and ends streams soon after
/// a root is withdrawn.
async fn server_of_two(second: &Authority) -> Running {
    let server = Running::start_with(|options| {
        options.distrust_spread = Duration::from_millis(100);
        options.drain_timeout = Duration::from_millis(50);
    })
    .await;
    trust(&server, &[&server.authority, second]);
    server
}

fn trust(server: &Running, clients: &[&Authority]) {
    server.tls.set(server.authority.server_trusting(clients)).expect("good material");
}

async fn open(server: &Running, authority: &Authority, uuid: &str) -> Delta {
    let channel = server.channel(Some(authority.proxy(uuid))).await.expect("a connection");
    Delta::open(channel, uuid).await
}

#[tokio::test]
async fn a_stream_ends_when_the_root_of_its_certificate_is_withdrawn() {
    let second = Authority::new();
    let server = server_of_two(&second).await;
    let mut stays = open(&server, &server.authority, "till-1").await;
    let mut goes = open(&server, &second, "till-2").await;
    for delta in [&mut stays, &mut goes] {
        delta.subscribe().await;
        delta.accept_until("inbound").await;
    }
    // A root that is added, and the same ones again, end nothing.
    trust(&server, &[&server.authority, &second, &Authority::new()]);
    trust(&server, &[&server.authority, &second]);
    server.views.0.send(small_view(2, "c2"));
    for delta in [&mut stays, &mut goes] {
        delta.accept_until("till").await;
    }

    trust(&server, &[&server.authority]);
    let status = goes.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("no longer trusted"), "{status}");
    eventually("the end of its connection", || server.metric("osm_xds_connections") == Some(1.0)).await;
    assert_eq!(server.metric("osm_xds_rejected_total{reason=\"distrusted\"}"), Some(1.0));
    server.views.0.send(small_view(3, "c3"));
    stays.accept_until("till").await;
    server.stop().await;
}

#[tokio::test]
async fn a_withdrawn_root_ends_a_client_that_takes_nothing_as_well() {
    let second = Authority::new();
    let server = server_of_two(&second).await;
    server.views.0.send(view(2, [resource(ResourceKind::Cluster, "till", vec![b'x'; 1_000_000])]));
    let silent = open(&server, &second, "till-2").await;
    silent.subscribe().await;
    let sent = "osm_xds_resources_total{kind=\"cluster\"}";
    eventually("that it is sent", || server.metric(sent) == Some(1.0)).await;
    trust(&server, &[&server.authority]);
    eventually("the end of its connection", || server.metric("osm_xds_connections") == Some(0.0)).await;
    eventually("nobody", || server.registry.statuses().is_empty()).await;
    server.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_does_not_pass_the_handshake() {
    let server = Running::start().await;
    let expired = server.authority.proxy_until("till-1", time::Duration::seconds(-60));
    // In TLS 1.3 the client learns of it only when it reads for the first time.
    drop(server.channel(Some(expired)).await);
    let failures = "osm_xds_connection_failures_total{reason=\"handshake\"}";
    eventually("a failed handshake", || server.metric(failures) >= Some(1.0)).await;
    assert!(server.registry.statuses().is_empty());
    server.stop().await;
}
