//! A gRPC service of two methods over texts, and its client; and the health checks of
//! gRPC, for probes.
//!
//! `Unary` answers with the name and the text; `Stream` with three messages and then
//! an error of its own, so that trailers after messages are seen.

use std::future::{Ready, ready};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc as Server;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::Service;

/// The metadata that the error at the end of a stream carries.
const AFTER: &str = "x-after";

type Codec = ProstCodec<String, String>;

/// Answers a call.
pub(super) async fn answer(request: Request<Incoming>, name: Arc<str>) -> Response<Body> {
    let mut server = Server::new(Codec::default());
    match request.uri().path() {
        "/grpc.health.v1.Health/Check" => Server::new(HealthCodec::default()).unary(Health, request).await,
        "/echo.Echo/Unary" => server.unary(Unary(name), request).await,
        "/echo.Echo/Stream" => server.server_streaming(Stream(name), request).await,
        _ => Status::unimplemented("there are Unary and Stream").into_http(),
    }
}

/// A health check has the name of a service in its first field, the answer a number.
type HealthCodec = ProstCodec<i32, String>;

/// Says of every service that it serves.
struct Health;

impl Service<tonic::Request<String>> for Health {
    type Response = tonic::Response<i32>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::Request<String>) -> Self::Future {
        const SERVING: i32 = 1;
        ready(Ok(tonic::Response::new(SERVING)))
    }
}

struct Unary(Arc<str>);

impl Service<tonic::Request<String>> for Unary {
    type Response = tonic::Response<String>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        ready(Ok(tonic::Response::new(format!("{} {}", self.0, request.into_inner()))))
    }
}

struct Stream(Arc<str>);

impl Service<tonic::Request<String>> for Stream {
    type Response = tonic::Response<BoxStream<'static, Result<String, Status>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let (name, text) = (Arc::clone(&self.0), request.into_inner());
        let mut metadata = MetadataMap::new();
        metadata.insert(AFTER, "three".parse().expect("plain ASCII"));
        let end = Status::with_metadata(Code::Aborted, "that is all", metadata);
        let messages = (1..=3).map(move |number| Ok(format!("{name} {text} {number}")));
        ready(Ok(tonic::Response::new(stream::iter(messages.chain([Err(end)])).boxed())))
    }
}

/// Calls a method at `host:port`, and tells what came: messages, and the code that
/// it ended with.
pub(super) async fn call(authority: &str, method: &str) -> Result<String> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).context("an address")?;
    let channel = endpoint.connect().await.context("connecting")?;
    let mut client = Client::new(channel);
    client.ready().await.context("connecting")?;
    let path: PathAndQuery = format!("/echo.Echo/{method}").parse().context("a method")?;
    let request = tonic::Request::new("hello".to_owned());
    let codec = Codec::default();
    if method != "Stream" {
        return Ok(match client.unary(request, path, codec).await {
            Ok(answer) => format!("{}, Ok", answer.into_inner()),
            Err(status) => format!("{:?}", status.code()),
        });
    }
    let mut said = Vec::new();
    let status = match client.server_streaming(request, path, codec).await {
        Err(status) => status,
        Ok(answer) => {
            let mut messages: tonic::Streaming<String> = answer.into_inner();
            loop {
                match messages.message().await {
                    Ok(Some(message)) => said.push(message),
                    Ok(None) => break Status::ok(""),
                    Err(status) => break status,
                }
            }
        }
    };
    let after = status.metadata().get(AFTER).and_then(|value| value.to_str().ok());
    said.push(format!("{:?}", status.code()));
    said.extend(after.map(|after| format!("{AFTER} {after}")));
    Ok(said.join(", "))
}
