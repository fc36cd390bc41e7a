//! The webhooks: the API server asks here before it takes a pod or a policy.
//!
//! Two pages: [`MUTATE_PATH`] adds proxies to pods ([`crate::injector`]), [`VALIDATE_PATH`]
//! refuses objects with the same findings that files have ([`crate::manifest`]). Neither does anything
//! but answer, so a dry run is a run. Anybody who reaches the port may ask: answers are
//! about what was asked and hold nothing secret, and requests, their sizes and their
//! number are bounded.

mod believed;
pub(crate) mod ca_bundle;
mod mutate;
mod review;
pub mod roots;
mod serve;
#[cfg(test)]
mod tests;
mod validate;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;

pub use believed::are_believed;
pub use ca_bundle::{CaPem, WebhookNames};
pub use serve::{ServeError, serve, serve_plain};
pub use validate::RootObjects;

use crate::injector::{Injector, SettingsWatch};
use crate::metrics::{Metrics, Outcome, Webhook};
use crate::namespaces::MonitoredNamespaces;
use review::{Answer, Request};

/// Where pods are sent.
pub const MUTATE_PATH: &str = "/mutate-pod-creation";
/// Where policies are sent.
pub const VALIDATE_PATH: &str = "/validate";

/// The largest request: two objects of the size that etcd takes, and what is around them.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// How many requests are read and answered at once: what bounds the memory that they take.
const BODIES: usize = 64;
/// How long a request may take, from its headers to its answer. An API server gives up
/// after 10 seconds unless told otherwise, and after 30 in any case.
const REQUEST: Duration = Duration::from_secs(10);

/// What the webhooks answer by.
#[derive(Clone)]
pub struct Webhooks {
    /// Adds proxies.
    pub injector: Injector,
    /// By these settings.
    pub settings: SettingsWatch,
    /// To pods of these namespaces.
    pub namespaces: MonitoredNamespaces,
    /// A root of certificates is judged beside these.
    pub roots: RootObjects,
    /// What is counted.
    pub metrics: Metrics,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

impl Webhooks {
    /// The pages.
    pub fn router(self) -> Router {
        Router::new()
            .route(MUTATE_PATH, post(mutate_page))
            .route(VALIDATE_PATH, post(validate_page))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(from_fn_with_state(Arc::new(Semaphore::new(BODIES)), bounded))
            .with_state(Arc::new(self))
    }
}

/// Reads and answers a request within a bounded time, a bounded number at once.
async fn bounded(
    State(bodies): State<Arc<Semaphore>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let answered = async {
        let _place = bodies.acquire().await;
        next.run(request).await
    };
    let late =
        || (StatusCode::REQUEST_TIMEOUT, "the request was not sent and answered in time\n").into_response();
    tokio::time::timeout(REQUEST, answered).await.unwrap_or_else(|_| late())
}

async fn mutate_page(State(webhooks): State<Arc<Webhooks>>, headers: HeaderMap, body: Bytes) -> Response {
    let begun = Instant::now();
    let (outcome, response) = match read(&headers, &body) {
        Ok(request) => respond(&request, mutate::answer(&webhooks, &request).await),
        Err(response) => (Outcome::Unreadable, *response),
    };
    webhooks.metrics.answered(Webhook::Mutate, outcome, begun.elapsed());
    response
}

async fn validate_page(State(webhooks): State<Arc<Webhooks>>, headers: HeaderMap, body: Bytes) -> Response {
    let begun = Instant::now();
    let (outcome, response) = match read(&headers, &body) {
        Ok(request) => respond(&request, validate::answer(&webhooks.roots, &request).await),
        Err(response) => (Outcome::Unreadable, *response),
    };
    webhooks.metrics.answered(Webhook::Validate, outcome, begun.elapsed());
    response
}

fn respond(request: &Request, answer: Answer) -> (Outcome, Response) {
    let outcome = answer.outcome();
    let json = review::response(request, answer).to_string();
    (outcome, ([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Request, Box<Response>> {
    let refuse = |status: StatusCode, text: String| Box::new((status, format!("{text}\n")).into_response());
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
        let text = "send an AdmissionReview as application/json";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.to_owned()));
    }
    review::read(body).map_err(|reason| refuse(StatusCode::BAD_REQUEST, reason))
}
