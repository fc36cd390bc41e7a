//! Requests to a port of a pod, through the API server.
//!
//! A port that listens on the pod's loopback address only, as Envoy's
//! administration does, is reached like this too. Whoever may forward ports of
//! the pod may ask.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use thiserror::Error;

use crate::client::ApiClient;

/// How long an answer may take.
const BOUND: Duration = Duration::from_secs(30);

/// A port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodPort<'a> {
    /// Where the pod is.
    pub namespace: &'a str,
    /// Its name.
    pub pod: &'a str,
    /// The port.
    pub port: u16,
}

/// Why a pod did not answer.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The API server does not lead there: no such pod, no permission, nobody who listens.
    #[error("port {port} of the pod {pod} can't be reached: {message}")]
    Unreachable {
        /// Which pod.
        pod: String,
        /// Which port.
        port: u16,
        /// What is said about it.
        message: String,
    },
    /// The pod was reached and did not answer over HTTP.
    #[error("port {port} of the pod {pod} does not answer: {message}")]
    NoAnswer {
        /// Which pod.
        pod: String,
        /// Which port.
        port: u16,
        /// What is said about it.
        message: String,
    },
    /// The request is none.
    #[error("{path:?} can't be asked for: {message}")]
    BadRequest {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

/// What a pod answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is one of success.
    pub is_success: bool,
    /// The status of HTTP.
    pub status: u16,
    /// What it says.
    pub body: Vec<u8>,
}

/// Asks a pod for a path, by this method.
///
/// # Errors
/// When the pod can't be reached or does not answer in time. An answer that is an error is an answer.
pub async fn ask(
    client: &ApiClient,
    to: PodPort<'_>,
    method: &str,
    path: &str,
) -> Result<Answer, ForwardError> {
    let bad = |message: String| ForwardError::BadRequest { path: path.to_owned(), message };
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| bad(error.to_string()))?;
    let request = Request::builder()
        .method(method)
        .uri(format!("/{}", path.trim_start_matches('/')))
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    match tokio::time::timeout(BOUND, exchange(client, to, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(no_answer(to, &format!("nothing came within {} s", BOUND.as_secs()))),
    }
}

async fn exchange(
    client: &ApiClient,
    to: PodPort<'_>,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, ForwardError> {
    let pods: Api<Pod> = Api::namespaced(client.kube(), to.namespace);
    let unreachable = |message: String| ForwardError::Unreachable {
        pod: format!("{}/{}", to.namespace, to.pod),
        port: to.port,
        message,
    };
    let mut forwarder =
        pods.portforward(to.pod, &[to.port]).await.map_err(|error| unreachable(error.to_string()))?;
    let stream =
        forwarder.take_stream(to.port).ok_or_else(|| unreachable("there is no stream".to_owned()))?;
    let trouble = forwarder.take_error(to.port);
    let conversation = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        // The connection is driven here and not by a task of its own, which would have to be ended.
        tokio::pin!(answer);
        tokio::pin!(connection);
        let mut connected = true;
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                ended = &mut connection, if connected => { ended?; connected = false; }
            }
        }
    };
    let answered: Result<(StatusCode, Bytes), hyper::Error> = conversation.await;
    forwarder.abort();
    match answered {
        Ok((status, body)) => {
            Ok(Answer { is_success: status.is_success(), status: status.as_u16(), body: body.to_vec() })
        }
        Err(error) => {
            // The kubelet says what was wrong beside the stream.
            let said = match trouble {
                Some(trouble) => tokio::time::timeout(Duration::from_secs(1), trouble).await.ok().flatten(),
                None => None,
            };
            Err(said.map_or_else(
                || no_answer(to, &error.to_string()),
                |said| unreachable(said.trim().to_owned()),
            ))
        }
    }
}

fn no_answer(to: PodPort<'_>, message: &str) -> ForwardError {
    ForwardError::NoAnswer {
        pod: format!("{}/{}", to.namespace, to.pod),
        port: to.port,
        message: message.to_owned(),
    }
}
