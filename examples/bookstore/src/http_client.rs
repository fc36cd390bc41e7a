//! A small HTTP/1.1 client: one request, one bounded answer or one kind of failure.
//!
//! It neither retries a request that was sent nor follows redirects: what the demo counts is what happened on the wire.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;

use crate::settings::CallSettings;

/// The `user-agent` of every request of the demo.
pub const USER_AGENT: &str = "bookstore-http-client/1.0";
/// Largest response body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Why there was no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// No connection: refused, unreachable, or no such name.
    #[error("no connection")]
    Connect,
    /// The other side closed or reset the connection before the response was complete.
    #[error("connection closed before the response")]
    Closed,
    /// Nothing within the time limit.
    #[error("no response in time")]
    Timeout,
    /// Anything else, such as bytes that are not HTTP or a body that is too large.
    #[error("no usable response")]
    Other,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// Returns the first value of a header, when it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    #[cfg(test)]
    pub(crate) fn for_test(status: u16, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), value.parse().expect("a header value"))
            })
            .collect();
        Self { status: StatusCode::from_u16(status).expect("a status"), headers, body: Bytes::new() }
    }
}

/// A client with its connections; clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl HttpClient {
    /// Returns a client that keeps idle connections, or none with `new_connections`.
    pub fn new(settings: &CallSettings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30));
        if settings.new_connections {
            builder.pool_max_idle_per_host(0);
        }
        Self { client: builder.build(connector), timeout: settings.timeout() }
    }

    /// Sends one request and reads its whole response within the time limit.
    ///
    /// # Errors
    /// The kind of failure when there is no complete response; any status is a response.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        tokio::time::timeout(self.timeout, self.exchange(request)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Failure::Connect } else { kind(&error) })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| kind(error.as_ref()))?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}

fn kind(error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let closed = match (current.downcast_ref::<hyper::Error>(), current.downcast_ref::<io::Error>()) {
            (Some(error), _) => error.is_incomplete_message() || error.is_closed() || error.is_canceled(),
            (None, Some(error)) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
            ),
            (None, None) => false,
        };
        if closed {
            return Failure::Closed;
        }
        cause = current.source();
    }
    Failure::Other
}
