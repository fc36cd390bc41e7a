//! Certificates that change, limits, and the end.

use std::time::Duration;

use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use osm_xds::resource::ResourceKind;
use tonic::Code;

use crate::fixture::{Authority, Delta, Running, eventually, resource, small_view, view};

#[tokio::test]
async fn certificate_and_trust_are_exchanged_while_streams_go_on() {
    let server = Running::start().await;
    let mut old = server.delta("till-1").await;
    old.subscribe().await;
    old.accept_until("inbound").await;

    let new_authority = Authority::new();
    let material = new_authority.server_trusting(&[&server.authority, &new_authority]);
    server.tls.set(material).expect("good material");
    let shown = Some(new_authority.proxy("till-2"));
    let channel = server.channel_believing(&new_authority, shown).await.expect("the new certificate");
    let mut new = Delta::open(channel, "till-2").await;
    new.subscribe().await;
    new.accept_until("inbound").await;
    let shown = Some(server.authority.proxy("till-3"));
    assert!(server.channel(shown).await.is_err(), "the old root does not vouch for the new certificate");

    server.views.0.send(small_view(2, "c2"));
    for client in [&mut old, &mut new] {
        client.accept_until("till").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn shutdown_ends_streams_with_a_reason_and_leaves_nothing() {
    let mut server = Running::start().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    server.shutdown.take().expect("it runs").send(()).expect("it listens");
    let status = delta.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    let registry = server.registry.clone();
    server.stop().await;
    eventually("that all are gone", || registry.statuses().is_empty()).await;
}

#[tokio::test]
async fn a_client_that_does_not_let_go_is_cut_off_after_the_drain() {
    let server = Running::start_with(|options| {
        options.drain_timeout = Duration::from_millis(50);
        options.handshake_timeout = Duration::from_secs(3600);
    })
    .await;
    // It reads nothing, and what is sent fills its window, so that the reason for
    // the end cannot be delivered.
    let large = resource(ResourceKind::Cluster, "till", vec![b'x'; 1_000_000]);
    server.views.0.send(view(2, [large]));
    let silent = server.delta("till-1").await;
    silent.subscribe().await;
    let half_open = tokio::net::TcpStream::connect(server.address).await.expect("a connection");
    eventually("both", || server.metric("osm_xds_connections") == Some(2.0)).await;
    let sent = "osm_xds_resources_total{kind=\"cluster\"}";
    eventually("that it is sent", || server.metric(sent) == Some(1.0)).await;
    let begin = tokio::time::Instant::now();
    server.stop().await;
    assert!(begin.elapsed() >= Duration::from_millis(50), "it was not waited for");
    drop((silent, half_open));
}

#[tokio::test]
async fn a_request_that_is_too_large_ends_the_stream() {
    let server = Running::start_with(|options| options.max_request_bytes = 10_000).await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    let names = vec!["x".repeat(100); 200];
    let type_url = ResourceKind::Endpoints.type_url().to_owned();
    delta
        .send(DeltaDiscoveryRequest { type_url, resource_names_subscribe: names, ..Default::default() })
        .await;
    let status = delta.end().await;
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    server.stop().await;
}

#[tokio::test]
async fn too_many_names_end_the_stream() {
    let server = Running::start_with(|options| options.session.max_names = 10).await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    let names = (0..11).map(|place| format!("ns/{place}")).collect();
    let type_url = ResourceKind::Endpoints.type_url().to_owned();
    delta
        .send(DeltaDiscoveryRequest { type_url, resource_names_subscribe: names, ..Default::default() })
        .await;
    let status = delta.end().await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("at most 10"), "{status}");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_without_a_request_and_a_connection_without_a_stream_are_ended() {
    let server = Running::start_with(|options| {
        options.first_request_timeout = Duration::from_millis(50);
        options.idle_timeout = Duration::from_millis(50);
        options.proof_timeout = Duration::from_millis(300);
        options.handshake_timeout = Duration::from_millis(50);
    })
    .await;
    let mut delta = server.delta("till-1").await;
    let status = delta.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    eventually("the end of the idle connection", || server.metric("osm_xds_connections") == Some(0.0)).await;
    let _half_open = tokio::net::TcpStream::connect(server.address).await.expect("a connection");
    let failures = "osm_xds_connection_failures_total{reason=\"handshake_timeout\"}";
    eventually("the end of the handshake", || server.metric(failures) == Some(1.0)).await;
    server.stop().await;
}

#[tokio::test]
async fn other_methods_are_not_implemented() {
    let server = Running::start().await;
    let channel = server.channel(Some(server.authority.proxy("till-1"))).await.expect("a connection");
    let mut client = ClusterDiscoveryServiceClient::new(channel);
    let status = client.fetch_clusters(DiscoveryRequest::default()).await.expect_err("it is not served");
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    server.stop().await;
}
