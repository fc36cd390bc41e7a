//! Answers to HTTP requests: who served them, in which version, and what was
//! asked; WebSockets echo, and gRPC goes its own way.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tonic::body::Body;

use super::grpc;

/// The header that says who answered.
pub(super) const SERVED_BY: &str = "x-served-by";
/// The header that says in which version of HTTP the request arrived.
pub(super) const ARRIVED_AS: &str = "x-arrived-as";

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, name: Arc<str>) -> Result<Response<Body>, Infallible> {
    let version = format!("{:?}", request.version());
    let content_type = request.headers().get(CONTENT_TYPE);
    let mut response = if content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        grpc::answer(request, Arc::clone(&name)).await
    } else if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
        upgrade(request, Arc::clone(&name))
    } else {
        Response::new(Body::new(Full::from(format!("{name} {} {}\n", request.method(), request.uri()))))
    };
    for (header, text) in [(SERVED_BY, &*name), (ARRIVED_AS, &version)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            response.headers_mut().insert(header, value);
        }
    }
    Ok(response)
}

/// Goes over to a WebSocket that answers each text with the name and the text.
fn upgrade(mut request: Request<Incoming>, name: Arc<str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&key).ok()) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.to_text() else { continue };
            if !message.is_text() || socket.send(format!("{name} {text}").into()).await.is_err() {
                return;
            }
        }
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}
