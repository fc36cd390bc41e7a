//! One connection: handshake, HTTP/2, and which method starts which stream.
//!
//! HTTP/2 is set up for many connections with one long stream each: little is
//! buffered for a stream, and a peer that is gone is found by pings.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures::Stream;
use http::{HeaderMap, header};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};

use super::dialect::Protocol;
use super::stream::{Peer, Shared, responses};
use super::wire::DiscoveryCodec;
use super::{ServerOptions, account};
use crate::session::{DeltaSession, Response, SotwSession};

const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Serves a connection until it or the server ends.
pub(super) async fn serve(
    shared: Arc<Shared>,
    config: Arc<ServerConfig>,
    socket: TcpStream,
    address: SocketAddr,
) {
    let closing = shared.closing.clone();
    let accepted = tokio::select! {
        () = closing.cancelled() => return,
        accepted = handshake(&shared.options, config, socket) => accepted,
    };
    match accepted {
        Ok(tls) => {
            let (_, session) = tls.get_ref();
            let certificates = session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
            let peer = Arc::new(Peer { address, certificates });
            talk(shared, tls, peer).await;
        }
        Err((reason, error)) => {
            account::connection_failed(&shared.metrics, reason);
            tracing::debug!(%address, reason, error, "connection fails");
        }
    }
}

async fn handshake(
    options: &ServerOptions,
    config: Arc<ServerConfig>,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>, (&'static str, String)> {
    socket.set_nodelay(true).map_err(|error| ("socket", error.to_string()))?;
    match tokio::time::timeout(options.handshake_timeout, TlsAcceptor::from(config).accept(socket)).await {
        Ok(accepted) => accepted.map_err(|error| ("handshake", error.to_string())),
        Err(elapsed) => Err(("handshake_timeout", elapsed.to_string())),
    }
}

/// Speaks HTTP/2. On the server's end, and when there was no stream for a while,
/// the client is told to go away; the connection ends with its last stream.
async fn talk(shared: Arc<Shared>, tls: TlsStream<TcpStream>, peer: Arc<Peer>) {
    let closing = shared.closing.clone();
    let idle_timeout = shared.options.idle_timeout;
    let settings = http2_settings(&shared.options);
    // The service has a clone of the peer, and so has every stream.
    let present = Arc::downgrade(&peer);
    let service = service_fn(move |request| dispatch(Arc::clone(&shared), Arc::clone(&peer), request));
    let mut connection = pin!(settings.serve_connection(TokioIo::new(tls), service));
    let mut leaving = false;
    loop {
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = closing.cancelled(), if !leaving => None,
            () = tokio::time::sleep(idle_timeout), if !leaving => {
                if present.strong_count() > 1 {
                    continue;
                }
                None
            }
        };
        match ended {
            None => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            Some(Ok(())) => return,
            Some(Err(error)) => {
                tracing::debug!(%error, "connection breaks");
                return;
            }
        }
    }
}

fn http2_settings(options: &ServerOptions) -> http2::Builder<TokioExecutor> {
    let mut settings = http2::Builder::new(TokioExecutor::new());
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams_per_connection)
        .max_send_buf_size(options.send_buffer)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(128 * 1024)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    settings
}

async fn dispatch(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: http::Request<Incoming>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    Ok(match request.uri().path() {
        DELTA => start::<DeltaSession>(shared, peer, request).await,
        SOTW => start::<SotwSession>(shared, peer, request).await,
        _ => Status::unimplemented("only the aggregated discovery service is served here").into_http(),
    })
}

async fn start<P: Protocol>(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let bearer = bearer(request.headers());
    let limit = shared.options.max_request_bytes;
    let mut grpc = Grpc::new(DiscoveryCodec::<P::Request>::new()).max_decoding_message_size(limit);
    grpc.streaming(Method::<P>(shared, peer, bearer, std::marker::PhantomData), request).await
}

/// The token in an `authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// One call of one of the two methods.
struct Method<P>(Arc<Shared>, Arc<Peer>, Option<String>, std::marker::PhantomData<fn() -> P>);

impl<P: Protocol> StreamingService<P::Request> for Method<P> {
    type Response = Response;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<P::Request>>) -> Self::Future {
        let (shared, peer) = (Arc::clone(&self.0), Arc::clone(&self.1));
        let stream = responses::<P>(shared, peer, self.2.take(), request.into_inner());
        ready(Ok(tonic::Response::new(Box::pin(stream) as Self::ResponseStream)))
    }
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
