//! One HTTP/1.1 request over a stream that is open already.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::api::FetchResponse;

/// How large an answer may be.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Sends a request and reads the whole answer. The stream is closed afterwards.
///
/// # Errors
/// When the other side ends it, does not speak HTTP, or answers at too great a length.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.context("greeting")?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let response = sender.send_request(request).await.context("no answer")?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?.to_bytes();
    drop(connection);
    Ok(Response::from_parts(parts, body))
}

struct AbortOnDrop(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request without a body.
///
/// # Errors
/// When method, path or a header is none.
pub(super) fn request(
    method: &str,
    path: &str,
    host: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Request<Full<Bytes>>> {
    ensure!(path.is_empty() || path.starts_with('/'), "the path {path:?} does not start with `/`");
    let mut request = Request::builder()
        .method(if method.is_empty() { "GET" } else { method })
        .uri(if path.is_empty() { "/" } else { path });
    if !headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", host);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::new())).context("the request makes no sense")
}

/// An answer as the control socket tells it.
pub(super) fn told(response: &Response<Bytes>) -> FetchResponse {
    let headers = response.headers().iter();
    FetchResponse {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(response.body()).into_owned(),
    }
}
