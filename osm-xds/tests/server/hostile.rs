//! Bytes that no well-behaved client sends. Each ends what it came on, with a
//! status where there is somebody to read it, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use osm_xds::resource::ResourceKind;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Delta, Running, eventually, node, small_view, soon};

const ONE: [u8; 4] = [127, 0, 0, 1];
const METHOD: &str =
    "http://osm-controller/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// A bystander that must notice nothing.
async fn bystander(server: &Running) -> Delta {
    let mut delta = server.delta("bystander").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    delta
}

async fn end(server: Running, mut bystander: Delta) {
    server.views.0.send(small_view(2, "c2"));
    bystander.accept_until("till").await;
    eventually("only the bystander", || server.metric("osm_xds_connections") == Some(1.0)).await;
    assert_eq!(server.registry.statuses().len(), 1);
    server.stop().await;
}

/// A client of HTTP/2 that sends what it likes.
async fn raw(server: &Running, uuid: &str) -> SendRequest<Bytes> {
    let tls = server.tls_from(ONE, Some(server.authority.proxy(uuid))).await.expect("a handshake");
    let (client, connection) = h2::client::handshake(tls).await.expect("HTTP/2");
    tokio::spawn(connection);
    soon("HTTP/2 to be ready", client.ready()).await.expect("the server takes requests")
}

/// A stream on which frames can be sent that are none of gRPC's.
fn call(client: &mut SendRequest<Bytes>) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let request =
        http::Request::post(METHOD).header("content-type", "application/grpc").header("te", "trailers");
    client.send_request(request.body(()).expect("a request"), false).expect("it is sent")
}

fn frame(flag: u8, length: u32, body: &[u8]) -> Bytes {
    let mut frame = vec![flag];
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    frame.into()
}

fn request() -> Vec<u8> {
    let type_url = ResourceKind::Cluster.type_url().to_owned();
    DeltaDiscoveryRequest { node: node("till-1"), type_url, ..Default::default() }.encode_to_vec()
}

/// The status that a stream ends with, and what it says.
async fn status(response: h2::client::ResponseFuture) -> (String, String) {
    let response = soon("a response", response).await.expect("headers");
    let (parts, mut body): (_, RecvStream) = response.into_parts();
    let trailers = soon("the end of the stream", async {
        while let Some(data) = body.data().await {
            let data = data.expect("no reset");
            body.flow_control().release_capacity(data.len()).expect("it was received");
        }
        body.trailers().await.expect("no reset").unwrap_or_default()
    })
    .await;
    let of = |name| trailers.get(name).or_else(|| parts.headers.get(name));
    let text = |name| of(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn garbage_ends_its_connection_and_nothing_else() {
    let server = Running::start().await;
    let bystander = bystander(&server).await;
    let garbage: Vec<u8> = (0..4096_u32).map(|place| (place * 37 % 251) as u8).collect();
    let texts: [&[u8]; 3] = [&garbage, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", &[0; 4096]];
    for text in texts {
        let mut socket = server.socket_from(ONE).await.expect("a connection");
        let mut tls =
            server.tls_from(ONE, Some(server.authority.proxy("till-1"))).await.expect("a handshake");
        // Either may have been closed by the server before all is written.
        drop(socket.write_all(text).await);
        drop(tls.write_all(text).await);
        let mut answer = Vec::new();
        drop(soon("the end without TLS", socket.read_to_end(&mut answer)).await);
        drop(soon("the end within TLS", tls.read_to_end(&mut answer)).await);
    }
    end(server, bystander).await;
}

#[tokio::test]
async fn a_frame_that_is_no_request_is_answered_by_a_status() {
    let server = Running::start().await;
    let bystander = bystander(&server).await;
    let junk = [0xff; 64];
    let body = request();
    // The claimed length is enough: nothing of such a frame is waited for.
    for (what, frame, code, text) in [
        ("no protobuf", frame(0, 64, &junk), "3", "no%20discovery%20request"),
        ("larger than allowed", frame(0, 0x4000_0000, b""), "11", ""),
        ("compressed", frame(1, body.len() as u32, &body), "13", ""),
        ("of no known flag", frame(7, body.len() as u32, &body), "13", ""),
    ] {
        let mut client = raw(&server, "till-1").await;
        let (response, mut body) = call(&mut client);
        body.send_data(frame, false).expect("it is sent");
        let (found, message) = status(response).await;
        assert_eq!(found, code, "{what}: {message}");
        assert!(message.contains(text), "{what}: {message}");
    }
    end(server, bystander).await;
}

#[tokio::test]
async fn a_frame_that_never_ends_is_waited_for_a_bounded_time() {
    let server = Running::start_with(|options| {
        options.first_request_timeout = Duration::from_secs(1);
    })
    .await;
    let bystander = bystander(&server).await;
    let mut client = raw(&server, "till-1").await;
    let (response, mut body) = call(&mut client);
    body.send_data(frame(0, 1000, b"\x0a"), false).expect("it is sent");
    let (code, message) = status(response).await;
    assert_eq!(code, "4", "{message}");
    drop((client, body));
    end(server, bystander).await;
}

#[tokio::test]
async fn headers_that_are_too_large_end_the_stream() {
    let server = Running::start().await;
    let bystander = bystander(&server).await;
    let mut client = raw(&server, "till-1").await;
    let request = http::Request::post(METHOD).header("x-padding", "x".repeat(64 * 1024));
    let (response, _) = client.send_request(request.body(()).expect("a request"), true).expect("it is sent");
    match soon("an answer", response).await {
        Ok(response) => assert_eq!(response.status(), http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    drop(client);
    end(server, bystander).await;
}

/// Streams that are begun and cancelled without end cost their own connection.
#[tokio::test]
async fn a_flood_of_cancelled_streams_ends_its_connection() {
    const STREAMS: usize = 20_000;
    let server = Running::start().await;
    let bystander = bystander(&server).await;
    let mut open = Some(raw(&server, "till-1").await);
    let mut begun = 0;
    while let Some(client) = open.take().filter(|_| begun < STREAMS) {
        let Ok(mut client) = client.ready().await else { break };
        let request = http::Request::post(METHOD).body(()).expect("a request");
        let Ok((_, mut body)) = client.send_request(request, false) else { break };
        body.send_reset(Reason::CANCEL);
        open = Some(client);
        begun += 1;
        if begun % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    eventually("no stream of it", || server.registry.statuses().len() == 1).await;
    drop(open);
    end(server, bystander).await;
}
