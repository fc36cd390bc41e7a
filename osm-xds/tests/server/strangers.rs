//! Clients that prove nothing: they have a room of their own, for a bounded time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::fixture::{Delta, Running, eventually, small_view, soon, until};

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

async fn connect(server: &Running, from: [u8; 4], uuid: &str) -> Delta {
    let channel = server.channel_from(from, uuid).await.expect("a connection");
    let mut delta = Delta::open(channel, uuid).await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    delta
}

fn rejected(server: &Running, reason: &str) -> f64 {
    server.metric(&format!("osm_xds_rejected_total{{reason=\"{reason}\"}}")).unwrap_or_default()
}

/// Connections that say nothing.
async fn silent(server: &Running, from: [u8; 4], count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(server.socket_from(from).await.expect("a connection"));
    }
    sockets
}

#[tokio::test]
async fn strangers_do_not_shut_out_proxies_however_many_there_are() {
    let server = Running::start_with(|options| {
        options.max_strangers = 8;
        options.max_proxies = 3;
    })
    .await;
    let mut there = connect(&server, ONE, "till-1").await;
    let sockets = silent(&server, OTHER, 50).await;
    eventually("a full room", || rejected(&server, "too_many_strangers") >= 42.0).await;
    assert_eq!(server.metric("osm_xds_connections"), Some(9.0));

    // Who comes from elsewhere finds a place, at the cost of the flood.
    let mut came = connect(&server, ONE, "till-2").await;
    eventually("one that goes", || rejected(&server, "stranger_displaced") >= 1.0).await;
    // Once proved, it takes none of it.
    let mut last = connect(&server, ONE, "till-3").await;
    server.views.0.send(small_view(2, "c2"));
    for client in [&mut there, &mut came, &mut last] {
        client.accept_until("till").await;
    }
    drop(sockets);
    server.stop().await;
}

#[tokio::test]
async fn from_the_same_address_a_proxy_finds_a_place_when_the_time_of_the_strangers_is_up() {
    let server = Running::start_with(|options| {
        options.max_strangers = 4;
        options.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    let _sockets = silent(&server, ONE, 4).await;
    eventually("a full room", || server.metric("osm_xds_connections") == Some(4.0)).await;
    assert!(server.channel(Some(server.authority.proxy("till-1"))).await.is_err(), "there is no place");
    let channel =
        until("a place", async || server.channel(Some(server.authority.proxy("till-1"))).await.ok());
    let mut delta = Delta::open(channel.await, "till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    server.stop().await;
}

#[tokio::test]
async fn clients_without_a_certificate_have_a_smaller_room() {
    let server = Running::start_with(|options| options.max_anonymous = 2).await;
    let mut let_in = Vec::new();
    for _ in 0..2 {
        let channel = server.channel(None).await.expect("a place");
        let delta = Delta::open(channel, "till-1").await;
        let_in.push(delta);
    }
    // The handshake is done before it is known that nothing is shown.
    let mut third = server.tls_from(ONE, None).await.expect("a handshake");
    let mut answer = Vec::new();
    drop(soon("the end", third.read_to_end(&mut answer)).await);
    assert_eq!(rejected(&server, "too_many_strangers"), 1.0);
    connect(&server, ONE, "till-1").await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_may_not_send_much() {
    let server = Running::start_with(|options| options.max_unproved_request_bytes = 1000).await;
    for (shown, code) in [(false, Code::OutOfRange), (true, Code::PermissionDenied)] {
        let shown = shown.then(|| server.authority.proxy("till-1"));
        let channel = server.channel(shown).await.expect("a connection");
        let mut delta = Delta::open(channel, &"x".repeat(2000)).await;
        delta.subscribe().await;
        let status = delta.end().await;
        assert_eq!(status.code(), code, "{status}");
    }
    server.stop().await;
}

/// Neither a handshake nor talk of HTTP/2 keeps a connection open on which nobody
/// proves who it is.
#[tokio::test]
async fn who_proves_nothing_is_sent_away_after_a_bound() {
    let server = Running::start_with(|options| options.proof_timeout = Duration::from_millis(300)).await;
    let mut tls = server.tls_from(ONE, Some(server.authority.proxy("till-1"))).await.expect("a handshake");
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is taken");
    // A ping, again and again.
    let ping = b"\0\0\x08\x06\0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08";
    let mut answer = [0; 1024];
    until("the end", async || {
        let is_over = tls.write_all(ping).await.is_err() || !matches!(tls.read(&mut answer).await, Ok(1..));
        is_over.then_some(())
    })
    .await;
    eventually("nothing open", || server.metric("osm_xds_connections") == Some(0.0)).await;
    server.stop().await;
}
