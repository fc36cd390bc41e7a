//! An API server for unit tests: a function from requests to answers, and a note of what it
//! was asked and when.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::ApiClient;

/// What is answered.
pub(crate) enum Answer {
    /// An object, or whatever else.
    Json(StatusCode, Value),
    /// A stream that these events begin and others follow, one object each.
    Events(futures::channel::mpsc::UnboundedReceiver<Value>),
    /// Nothing at all.
    Never,
}

impl Answer {
    /// What was asked for.
    pub(crate) fn ok(object: Value) -> Self {
        Self::Json(StatusCode::OK, object)
    }

    /// A refusal.
    pub(crate) fn refusal(code: StatusCode) -> Self {
        // The client library goes by these words.
        let reason = match code {
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::FORBIDDEN => "Forbidden",
            _ => "Refused",
        };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "refused", "reason": reason, "code": code.as_u16(),
        });
        Self::Json(code, status)
    }
}

/// A request, as far as tests look at it.
pub(crate) struct Asked {
    /// `GET`, or `WATCH` where a stream is asked for.
    pub(crate) method: String,
    /// Where.
    pub(crate) path: String,
    /// Whether nothing is to come of it.
    pub(crate) is_dry: bool,
    /// What was sent; `Null` for nothing.
    pub(crate) body: Value,
    /// When.
    pub(crate) at: Instant,
}

/// Everything that was asked so far. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, Instant)>>>);

impl Log {
    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().expect("nobody panicked").len()
    }

    /// All of them, as method and path.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.lock().expect("nobody panicked").iter().map(|(text, _)| text.clone()).collect()
    }

    /// When something was asked that begins so.
    pub(crate) fn times(&self, beginning: &str) -> Vec<Instant> {
        let all = self.0.lock().expect("nobody panicked");
        all.iter().filter(|(text, _)| text.starts_with(beginning)).map(|(_, at)| *at).collect()
    }
}

/// A server that answers so.
pub(crate) fn server(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (ApiClient, Log) {
    let log = Log::default();
    let (noted, answer) = (log.clone(), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (noted, answer) = (noted.clone(), Arc::clone(&answer));
        async move {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let method = if is_watch { "WATCH".to_owned() } else { request.method().to_string() };
            let is_dry = request.uri().query().is_some_and(|query| query.contains("dryRun=All"));
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect_bytes().await.map_err(std::io::Error::other)?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let asked = Asked { method, path, is_dry, body, at: Instant::now() };
            let text = format!("{} {}", asked.method, asked.path);
            noted.0.lock().expect("nobody panicked").push((text, asked.at));
            respond(answer(&asked)).await
        }
    });
    (kube::Client::new(service, "default").into(), log)
}

/// A server that takes every question and answers none.
pub(crate) fn silent_server() -> ApiClient {
    server(|_| Answer::Never).0
}

type Responded =
    Result<Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>, std::io::Error>;

async fn respond(answer: Answer) -> Responded {
    let infallible = |never: std::convert::Infallible| match never {};
    let (status, body) = match answer {
        Answer::Never => return std::future::pending().await,
        Answer::Json(status, value) => {
            (status, http_body_util::Full::from(value.to_string()).map_err(infallible).boxed())
        }
        Answer::Events(events) => {
            let lines = futures::StreamExt::map(events, |event| {
                Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(format!("{event}\n"))))
            });
            (StatusCode::OK, BodyExt::boxed(http_body_util::StreamBody::new(lines)))
        }
    };
    Response::builder().status(status).body(body).map_err(std::io::Error::other)
}
