//! Proxies that have proved themselves: how many may come, and which goes first.

use std::num::NonZeroU32;

use tonic::{Code, Status};

use crate::fixture::{Delta, Running, eventually, small_view, soon};

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

/// When a client is told to try again, in milliseconds.
fn hint(status: &Status) -> Option<u64> {
    status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()
}

fn rejected(server: &Running, reason: &str) -> Option<f64> {
    server.metric(&format!("osm_xds_rejected_total{{reason=\"{reason}\"}}"))
}

async fn connected(server: &Running, uuid: &str) -> Delta {
    let mut delta = server.delta(uuid).await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    delta
}

async fn refused(server: &Running, uuid: &str) -> Status {
    let mut delta = server.delta(uuid).await;
    delta.subscribe().await;
    delta.end().await
}

#[tokio::test]
async fn more_proxies_than_allowed_are_told_when_to_try_again_and_those_there_are_stay() {
    let server = Running::start_with(|options| options.max_proxies = 1).await;
    let mut first = connected(&server, "till-1").await;
    let status = refused(&server, "till-2").await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("connect to another one"), "{status}");
    assert!(hint(&status).is_some_and(|hint| (30_000..=60_000).contains(&hint)), "{status:?}");
    assert_eq!(rejected(&server, "too_many_proxies"), Some(1.0));
    eventually("the end of its connection", || server.metric("osm_xds_connections") == Some(1.0)).await;
    server.views.0.send(small_view(2, "c2"));
    first.accept_until("till").await;
    server.stop().await;
}

#[tokio::test]
async fn the_limit_is_exchanged_live_and_ends_nobody() {
    let server = Running::start().await;
    let mut clients = vec![connected(&server, "till-1").await, connected(&server, "till-2").await];
    server.limit.set(NonZeroU32::new(1));
    let status = refused(&server, "till-3").await;
    assert!(status.message().starts_with("1 proxies are connected"), "{status}");
    // One of those who are there may connect anew.
    clients.push(connected(&server, "till-2").await);
    server.views.0.send(small_view(2, "c2"));
    for client in &mut clients {
        client.accept_until("till").await;
    }
    server.limit.set(NonZeroU32::new(3));
    clients.push(connected(&server, "till-3").await);
    server.limit.set(None);
    clients.push(connected(&server, "till-4").await);
    server.stop().await;
}

#[tokio::test]
async fn those_who_come_while_too_many_start_are_told_when_to_try_again() {
    let server = Running::start_with(|options| options.max_starting_streams = 1).await;
    let mut first = server.delta("till-1").await;
    first.subscribe().await;
    let clusters = first.next().await.expect("clusters");
    let status = refused(&server, "till-2").await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(hint(&status).is_some_and(|hint| (1000..=2000).contains(&hint)), "{status:?}");
    assert_eq!(rejected(&server, "overloaded"), Some(1.0));

    first.answer(&clusters, None).await;
    first.accept_until("inbound").await;
    soon("convergence", server.registry.converged()).await;
    connected(&server, "till-2").await;
    server.stop().await;
}

/// Somebody who has a copy of a proxy's certificate, elsewhere, can't push the
/// proxy itself away; nor can the proxy be kept from connecting anew.
#[tokio::test]
async fn a_copied_certificate_does_not_cut_off_its_victim() {
    let server = Running::start_with(|options| options.max_streams_per_proxy = 2).await;
    let open = async |from| {
        let channel = server.channel_from(from, "till-1").await.expect("a connection");
        let mut delta = Delta::open(channel, "till-1").await;
        delta.subscribe().await;
        delta.accept_until("inbound").await;
        delta
    };
    let mut victim = open(ONE).await;
    let mut thieves = Vec::new();
    for _ in 0..3 {
        thieves.push(open(OTHER).await);
    }
    for thief in &mut thieves[..2] {
        let status = thief.end().await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("took the place"), "{status}");
    }
    assert_eq!(rejected(&server, "displaced"), Some(2.0));
    assert_eq!(server.metric("osm_xds_streams_elsewhere_total"), Some(3.0));
    server.views.0.send(small_view(2, "c2"));
    victim.accept_until("till").await;

    // Its old stream makes way for its new one, not the other way round.
    let mut anew = open(ONE).await;
    assert_eq!(victim.end().await.code(), Code::ResourceExhausted);
    server.views.0.send(small_view(3, "c3"));
    anew.accept_until("till").await;
    thieves[2].accept_until("till").await;
    server.stop().await;
}

#[tokio::test]
async fn more_streams_than_a_connection_may_have_are_refused_by_the_transport() {
    let server = Running::start_with(|options| options.max_streams_per_connection = 1).await;
    let channel = server.channel_from(ONE, "till-1").await.expect("a connection");
    let mut first = Delta::open(channel.clone(), "till-1").await;
    first.subscribe().await;
    first.accept_until("inbound").await;
    // The client knows the limit, and waits: the second stream never begins.
    let second = tokio::time::timeout(std::time::Duration::from_millis(100), Delta::open(channel, "till-1"));
    assert!(second.await.is_err());
    assert_eq!(server.registry.statuses().len(), 1);
    server.stop().await;
}
