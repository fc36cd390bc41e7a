//! One connection: handshake, HTTP/2, and which method starts which stream.
//!
//! HTTP/2 is set up for many connections with one long stream each: little is
//! buffered for a stream, and a peer that is gone is found by pings.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::Status;

use super::dialect::Protocol;
use super::farewell::Reason;
use super::grpc::Requests;
use super::peer::Peer;
use super::shared::Shared;
use super::strangers::Stranger;
use super::stream::responses;
use super::tls::Trust;
use super::{ServerOptions, account, grpc, watch};
use crate::session::{DeltaSession, SotwSession};

const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Serves a connection until it or the server ends.
pub(super) async fn serve(
    shared: Arc<Shared>,
    trust: Trust,
    socket: TcpStream,
    address: SocketAddr,
    stranger: Stranger,
) {
    let begun = watch::now();
    // Boxed: what a handshake needs is not kept for as long as the connection is open.
    let handshake = Box::pin(handshake(&shared.options, trust.config(), socket));
    let accepted = tokio::select! {
        biased;
        () = shared.closing.cancelled() => return,
        () = stranger.displaced() => return account::rejected(&shared.metrics, Reason::StrangerDisplaced),
        accepted = handshake => accepted,
    };
    let tls = match accepted {
        Ok(tls) => tls,
        Err(Failed { reason, error, was_shown }) => {
            if was_shown {
                trust.failed(address.ip(), watch::now(), shared.options.trial_pause);
            }
            account::connection_failed(&shared.metrics, reason);
            tracing::debug!(%address, reason, error, "connection fails");
            return;
        }
    };
    let certificates = tls.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let mut places = vec![stranger];
    if certificates.is_empty() {
        match shared.anonymous.enter(address.ip()) {
            Some(place) => places.push(place),
            None => return account::rejected(&shared.metrics, Reason::TooManyStrangers),
        }
    }
    let strangers = (Arc::clone(&shared.strangers), places);
    let idle_timeout = shared.options.idle_timeout;
    let until = begun + shared.options.proof_timeout;
    let shown = (trust.server(), certificates);
    let peer = Arc::new(Peer::new(address, shown, strangers, until, idle_timeout));
    talk(shared, tls, peer, trust).await;
}

/// A handshake that came to nothing.
struct Failed {
    reason: &'static str,
    error: String,
    /// Whether the client may have seen the server's certificate.
    was_shown: bool,
}

async fn handshake(
    options: &ServerOptions,
    config: Arc<ServerConfig>,
    socket: TcpStream,
) -> Result<Box<TlsStream<TcpStream>>, Failed> {
    let mut was_shown = false;
    let attempt = async {
        let failed = |reason| move |error: std::io::Error| (reason, error.to_string());
        socket.set_nodelay(true).map_err(failed("socket"))?;
        // One that goes without a word was shown nothing: who looks for open ports believes or not.
        if socket.peek(&mut [0]).await.map_err(failed("handshake"))? > 0 {
            was_shown = true;
        }
        TlsAcceptor::from(config).accept(socket).await.map_err(failed("handshake"))
    };
    let accepted = tokio::time::timeout(options.handshake_timeout, attempt).await;
    let accepted = accepted.unwrap_or_else(|elapsed| Err(("handshake_timeout", elapsed.to_string())));
    accepted.map(Box::new).map_err(|(reason, error)| Failed { reason, error, was_shown })
}

/// Speaks HTTP/2. On the server's end, and when there is a reason to end the
/// connection, the client is told to go away and its streams end with a status;
/// one that takes neither is cut off.
async fn talk(shared: Arc<Shared>, tls: Box<TlsStream<TcpStream>>, peer: Arc<Peer>, trust: Trust) {
    let settings = http2_settings(&shared.options, &peer);
    let (of_service, of_peer) = (Arc::clone(&shared), Arc::clone(&peer));
    let service = service_fn(move |request| {
        ready(Ok::<_, Infallible>(dispatch(Arc::clone(&of_service), Arc::clone(&of_peer), request)))
    });
    // Boxed: a future has room for whatever it is made from, beside what it becomes.
    let mut connection = Box::pin(settings.serve_connection(TokioIo::new(tls), service));
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = shared.closing.cancelled() => {}
        reason = watch::ends(&shared, &peer, trust) => {
            // What a stream was refused for is counted already.
            if !reason.is_of_this_replica() {
                account::rejected(&shared.metrics, reason);
            }
            tracing::debug!(address = %peer.address, ?reason, "connection is ended");
            if reason == Reason::StrangerDisplaced {
                return;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(shared.options.drain_timeout, connection).await {
        log_end(ended);
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection breaks");
    }
}

fn http2_settings(options: &ServerOptions, peer: &Peer) -> http2::Builder<TokioExecutor> {
    // Who has shown nothing has one stream to prove itself on.
    let streams = if peer.certificates.is_empty() { 1 } else { options.max_streams_per_connection };
    let mut settings = http2::Builder::new(TokioExecutor::new());
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_send_buf_size(options.send_buffer)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(128 * 1024)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    settings
}

fn dispatch(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: http::Request<Incoming>,
) -> http::Response<grpc::Responses> {
    let started = match request.uri().path() {
        DELTA => start::<DeltaSession>(shared, peer, request),
        SOTW => start::<SotwSession>(shared, peer, request),
        _ => Err(Status::unimplemented("only the aggregated discovery service is served here")),
    };
    started.unwrap_or_else(Status::into_http)
}

fn start<P: Protocol>(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: http::Request<Incoming>,
) -> Result<http::Response<grpc::Responses>, Status> {
    let bearer = bearer(request.headers());
    let ServerOptions { max_request_bytes, max_unproved_request_bytes, .. } = shared.options;
    let limit = if peer.certificates.is_empty() { max_unproved_request_bytes } else { max_request_bytes };
    let requests = Requests::<P::Request>::new(request, limit)?;
    Ok(grpc::streaming(responses::<P>(shared, peer, bearer, requests)))
}

/// The token in an `authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_taken_from_its_header_only() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a value"))]);
            assert_eq!(bearer(&headers).as_deref(), expected, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
