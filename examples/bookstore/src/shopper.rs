//! Buyer and thief: the same requests, on and on, and counters of what came of them.
//!
//! Requests alternate between looking (`GET /books-bought`) and buying (`GET /buy-a-book/new`). A request that fails is
//! counted and not repeated; the next one follows at the usual pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::http_client::{Failure, HttpClient, Reply, USER_AGENT};
use crate::settings::{ShopperSettings, authority};
use crate::tally::{Purpose, Tally};
use crate::web;

/// Who shops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shopper {
    /// Pays.
    Buyer,
    /// Does not.
    Thief,
}

struct Shopping {
    shopper: Shopper,
    identity: String,
    authority: String,
    client: HttpClient,
    settings: ShopperSettings,
    tally: Tally,
    sent: AtomicU64,
}

/// Shops and serves the counters on `listener` until `stop`.
///
/// # Errors
/// When the listener breaks. Failed requests are counted, not returned.
pub async fn run(
    shopper: Shopper,
    listener: TcpListener,
    settings: ShopperSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shopping = Arc::new(Shopping::new(shopper, settings));
    let mut connections = JoinSet::new();
    for _ in 0..shopping.settings.concurrent_connections {
        let (shopping, stop) = (Arc::clone(&shopping), stop.clone());
        connections.spawn(async move { shopping.shop(&stop).await });
    }
    let served = web::serve(listener, routes(Arc::clone(&shopping)), stop).await;
    let finished = async { while connections.join_next().await.is_some() {} };
    // Whatever is still under way after that is given up with the process.
    tokio::time::timeout(web::DRAIN, finished).await.ok();
    shopping.log();
    served
}

fn routes(shopping: Arc<Shopping>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/raw", get(raw))
        .route("/reset", post(reset))
        .merge(web::health_routes())
        .with_state(shopping)
}

async fn page(State(shopping): State<Arc<Shopping>>) -> Html<String> {
    let counts = shopping.tally.counts();
    Html(format!(
        "<!doctype html><title>{who}</title><h1>{who}</h1><p>Books: {books} (v1: {v1}, v2: {v2})</p>\
         <p>Requests: {requests}, failed: {failures}</p>\n",
        who = shopping.shopper.name(),
        books = counts.books,
        v1 = counts.books_v1,
        v2 = counts.books_v2,
        requests = counts.requests,
        failures = counts.failures,
    ))
}

async fn raw(State(shopping): State<Arc<Shopping>>) -> Json<Value> {
    Json(shopping.raw())
}

async fn reset(State(shopping): State<Arc<Shopping>>) -> Json<Value> {
    shopping.tally.reset();
    Json(shopping.raw())
}

impl Shopper {
    /// Returns the application's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buyer => "bookbuyer",
            Self::Thief => "bookthief",
        }
    }

    /// Returns the name of the counter of books.
    fn counter(self) -> &'static str {
        match self {
            Self::Buyer => "booksBought",
            Self::Thief => "booksStolen",
        }
    }
}

impl Shopping {
    fn new(shopper: Shopper, settings: ShopperSettings) -> Self {
        Self {
            shopper,
            identity: settings.identity.clone().unwrap_or_else(|| shopper.name().to_owned()),
            authority: authority(
                &settings.bookstore_svc,
                &settings.bookstore_namespace,
                settings.bookstore_svc_port,
            ),
            client: HttpClient::new(&settings.call),
            settings,
            tally: Tally::default(),
            sent: AtomicU64::new(0),
        }
    }

    async fn shop(&self, stop: &CancellationToken) {
        let pause = Duration::from_millis(self.settings.sleep_between_requests_ms.max(1));
        let mut pace = tokio::time::interval(pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            if self.settings.sleep_between_requests_ms > 0 {
                tokio::select! {
                    _ = pace.tick() => {}
                    () = stop.cancelled() => return,
                }
            }
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            if self.settings.max_requests > 0 && number >= self.settings.max_requests {
                return;
            }
            // A request under way is finished even after the stop signal: its time limit bounds it, and an aborted one
            // would count as a failure of the store.
            let purpose = if number.is_multiple_of(2) { Purpose::Look } else { Purpose::Buy };
            let outcome = self.ask(purpose).await;
            if self.tally.record(purpose, &outcome).is_multiple_of(self.settings.call.log_every_requests) {
                self.log();
            }
        }
    }

    async fn ask(&self, purpose: Purpose) -> Result<Reply, Failure> {
        let path = match purpose {
            Purpose::Look => "/books-bought",
            Purpose::Buy => "/buy-a-book/new",
        };
        let request = Request::get(format!("http://{}{path}", self.authority))
            .header("client-app", self.settings.client_app.as_str())
            .header("user-agent", USER_AGENT)
            .body(Full::new(Bytes::new()))
            .map_err(|_| Failure::Other)?;
        self.client.send(request).await
    }

    fn raw(&self) -> Value {
        let counts = self.tally.counts();
        let name = self.shopper.counter();
        let mut object = json!({
            "identity": self.identity,
            "requests": counts.requests,
            "successes": counts.successes,
            "failures": counts.failures,
            "byStatus": counts.by_status,
            "byError": counts.by_error,
            "byIdentity": counts.by_identity,
        });
        object[name] = counts.books.into();
        object[format!("{name}V1")] = counts.books_v1.into();
        object[format!("{name}V2")] = counts.books_v2.into();
        object
    }

    fn log(&self) {
        let counts = self.tally.counts();
        tracing::info!(
            identity = self.identity,
            requests = counts.requests,
            failures = counts.failures,
            books = counts.books,
            v1 = counts.books_v1,
            v2 = counts.books_v2,
            status = ?counts.by_status,
            errors = ?counts.by_error,
            "shopped",
        );
    }
}
