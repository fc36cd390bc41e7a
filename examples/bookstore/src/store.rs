//! The bookstore: sells books and tells the warehouse about each sale, after the buyer has left.
//!
//! Restocking waits in a bounded queue, so that a warehouse that cannot be reached costs neither sales nor memory: what
//! does not fit is dropped and counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http_client::{Failure, HttpClient, Reply, USER_AGENT};
use crate::settings::{StoreSettings, authority};
use crate::web;

/// Sales that may wait for their restock request.
const QUEUE: usize = 1024;
/// How often one who follows the sales is told of them.
const FOLLOW: Duration = Duration::from_millis(200);

struct Store {
    settings: StoreSettings,
    identity: HeaderValue,
    sold: AtomicU64,
    restocked: AtomicU64,
    restock_failures: AtomicU64,
    restock_dropped: AtomicU64,
    sales: mpsc::Sender<()>,
}

/// Sells on `listener` until `stop`.
///
/// # Errors
/// When the identity cannot be a header's value, or the listener breaks.
pub async fn run(
    listener: TcpListener,
    settings: StoreSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (sales, queue) = mpsc::channel(QUEUE);
    let identity = HeaderValue::from_str(&settings.identity)
        .map_err(|_| anyhow::anyhow!("IDENTITY {:?} cannot be the value of a header", settings.identity))?;
    let zero = AtomicU64::default;
    let store = Arc::new(Store {
        settings,
        identity,
        sold: zero(),
        restocked: zero(),
        restock_failures: zero(),
        restock_dropped: zero(),
        sales,
    });
    let restocking = restock(Arc::clone(&store), queue);
    let served = tokio::select! {
        served = web::serve(listener, routes(Arc::clone(&store)), stop) => served,
        () = restocking => Ok(()),
    };
    store.log();
    served
}

fn routes(store: Arc<Store>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/books-bought", get(books_bought).post(set_books_bought))
        .route("/books-bought/follow", get(follow))
        .route("/buy-a-book/new", get(sell))
        .route("/raw", get(raw))
        .route("/reset", post(reset))
        .merge(web::health_routes())
        .layer(middleware::from_fn_with_state(Arc::clone(&store), label))
        .with_state(store)
}

/// Adds who answered and how many books it has sold to every response.
async fn label(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("identity"), store.identity.clone());
    headers.insert(
        HeaderName::from_static("booksbought"),
        HeaderValue::from(store.sold.load(Ordering::Relaxed)),
    );
    response
}

async fn page(State(store): State<Arc<Store>>) -> Html<String> {
    let sold = store.sold.load(Ordering::Relaxed);
    Html(format!("<!doctype html><title>bookstore</title><h1>bookstore</h1><p>Books sold: {sold}</p>\n"))
}

async fn books_bought(State(store): State<Arc<Store>>) -> String {
    format!("{}\n", store.sold.load(Ordering::Relaxed))
}

/// A line with the number of books sold every now and then, for as long as the reader stays.
async fn follow(State(store): State<Arc<Store>>) -> Body {
    let lines = futures::stream::unfold(tokio::time::interval(FOLLOW), move |mut beat| {
        let store = Arc::clone(&store);
        async move {
            beat.tick().await;
            let line = format!("{}\n", store.sold.load(Ordering::Relaxed));
            Some((Ok::<_, Infallible>(line), beat))
        }
    });
    Body::from_stream(lines)
}

async fn set_books_bought(
    State(store): State<Arc<Store>>,
    body: String,
) -> Result<String, (StatusCode, String)> {
    let sold = web::number(&body)?;
    store.sold.store(sold, Ordering::Relaxed);
    Ok(format!("{sold}\n"))
}

async fn sell(State(store): State<Arc<Store>>) -> String {
    if store.settings.sale_time_ms > 0 {
        tokio::time::sleep(Duration::from_millis(store.settings.sale_time_ms)).await;
    }
    let before = store.sold.fetch_add(1, Ordering::Relaxed);
    if store.sales.try_send(()).is_err() {
        store.restock_dropped.fetch_add(1, Ordering::Relaxed);
    }
    if before % store.settings.call.log_every_requests == store.settings.call.log_every_requests - 1 {
        store.log();
    }
    format!("book {} sold\n", before.wrapping_add(1))
}

async fn raw(State(store): State<Arc<Store>>) -> Json<Value> {
    Json(store.raw())
}

async fn reset(State(store): State<Arc<Store>>) -> Json<Value> {
    for counter in [&store.sold, &store.restocked, &store.restock_failures, &store.restock_dropped] {
        counter.store(0, Ordering::Relaxed);
    }
    Json(store.raw())
}

async fn restock(store: Arc<Store>, mut queue: mpsc::Receiver<()>) {
    let settings = &store.settings;
    let host =
        authority(&settings.warehouse_svc, &settings.bookwarehouse_namespace, settings.warehouse_svc_port);
    let address = format!("http://{host}/restock-books");
    let client = HttpClient::new(&settings.call);
    while queue.recv().await.is_some() {
        let succeeded = order(&client, &address).await.is_ok_and(|reply| reply.status.is_success());
        let counter = if succeeded { &store.restocked } else { &store.restock_failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn order(client: &HttpClient, address: &str) -> Result<Reply, Failure> {
    let request = http::Request::post(address)
        .header("client-app", "bookstore")
        .header("user-agent", USER_AGENT)
        .body(Full::new(Bytes::from_static(b"1")))
        .map_err(|_| Failure::Other)?;
    client.send(request).await
}

impl Store {
    fn raw(&self) -> Value {
        json!({
            "identity": self.settings.identity,
            "booksSold": self.sold.load(Ordering::Relaxed),
            "restocked": self.restocked.load(Ordering::Relaxed),
            "restockFailures": self.restock_failures.load(Ordering::Relaxed),
            "restockDropped": self.restock_dropped.load(Ordering::Relaxed),
        })
    }

    fn log(&self) {
        tracing::info!(
            identity = self.settings.identity,
            sold = self.sold.load(Ordering::Relaxed),
            restocked = self.restocked.load(Ordering::Relaxed),
            failures = self.restock_failures.load(Ordering::Relaxed),
            dropped = self.restock_dropped.load(Ordering::Relaxed),
            "sold",
        );
    }
}
