//! The warehouse: takes restocked books over HTTP and keeps their total in the ledger.
//!
//! A restock request succeeds only when the ledger has counted it, so that the warehouse's failures show the ledger's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::ledger_client::{LedgerConnection, LedgerError};
use crate::settings::{WarehouseSettings, authority};
use crate::web;

struct Warehouse {
    settings: WarehouseSettings,
    identity: HeaderValue,
    ledger: String,
    connection: Mutex<Option<LedgerConnection>>,
    requests: AtomicU64,
    restocked: AtomicU64,
    ledger_failures: AtomicU64,
    total: AtomicU64,
}

/// Takes books on `listener` until `stop`.
///
/// # Errors
/// When the identity cannot be a header's value, or the listener breaks.
pub async fn run(
    listener: TcpListener,
    settings: WarehouseSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let identity = HeaderValue::from_str(&settings.identity)
        .map_err(|_| anyhow::anyhow!("IDENTITY {:?} cannot be the value of a header", settings.identity))?;
    let warehouse = Arc::new(Warehouse {
        ledger: authority(&settings.ledger_svc, &settings.ledger_namespace, settings.ledger_svc_port),
        settings,
        identity,
        connection: Mutex::new(None),
        requests: AtomicU64::new(0),
        restocked: AtomicU64::new(0),
        ledger_failures: AtomicU64::new(0),
        total: AtomicU64::new(0),
    });
    let served = web::serve(listener, routes(Arc::clone(&warehouse)), stop).await;
    warehouse.log();
    served
}

fn routes(warehouse: Arc<Warehouse>) -> Router {
    Router::new()
        .route("/", get(raw).post(restock))
        .route("/restock-books", post(restock))
        .route("/raw", get(raw))
        .route("/reset", post(reset))
        .merge(web::health_routes())
        .with_state(warehouse)
}

async fn restock(State(warehouse): State<Arc<Warehouse>>, body: String) -> impl IntoResponse {
    let answer = match web::number(&body) {
        Ok(books) => warehouse.restock(books).await,
        Err(refusal) => refusal,
    };
    ([(HeaderName::from_static("identity"), warehouse.identity.clone())], answer)
}

async fn raw(State(warehouse): State<Arc<Warehouse>>) -> Json<Value> {
    Json(warehouse.raw())
}

async fn reset(State(warehouse): State<Arc<Warehouse>>) -> Json<Value> {
    for counter in [&warehouse.requests, &warehouse.restocked, &warehouse.ledger_failures] {
        counter.store(0, Ordering::Relaxed);
    }
    Json(warehouse.raw())
}

impl Warehouse {
    async fn restock(&self, books: u64) -> (StatusCode, String) {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = match self.add(books).await {
            Ok(total) => {
                self.restocked.fetch_add(books, Ordering::Relaxed);
                self.total.fetch_max(total, Ordering::Relaxed);
                (StatusCode::OK, format!("{total}\n"))
            }
            Err(error) => {
                self.ledger_failures.fetch_add(1, Ordering::Relaxed);
                (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
            }
        };
        if requests.is_multiple_of(self.settings.call.log_every_requests) {
            self.log();
        }
        answer
    }

    async fn add(&self, books: u64) -> Result<u64, LedgerError> {
        let limit = self.settings.call.timeout();
        if self.settings.call.new_connections {
            return LedgerConnection::open(&self.ledger, limit).await?.add(books).await;
        }
        let mut kept = self.connection.lock().await;
        // A kept connection may have died unnoticed: asking first means that the addition is sent once, to a live one.
        let mut alive = None;
        if let Some(mut connection) = kept.take()
            && connection.is_alive().await
        {
            alive = Some(connection);
        }
        let mut connection = match alive {
            Some(connection) => connection,
            None => LedgerConnection::open(&self.ledger, limit).await?,
        };
        let total = connection.add(books).await?;
        *kept = Some(connection);
        Ok(total)
    }

    fn raw(&self) -> Value {
        json!({
            "identity": self.settings.identity,
            "requests": self.requests.load(Ordering::Relaxed),
            "restocked": self.restocked.load(Ordering::Relaxed),
            "ledgerFailures": self.ledger_failures.load(Ordering::Relaxed),
            "total": self.total.load(Ordering::Relaxed),
        })
    }

    fn log(&self) {
        tracing::info!(
            identity = self.settings.identity,
            requests = self.requests.load(Ordering::Relaxed),
            failures = self.ledger_failures.load(Ordering::Relaxed),
            total = self.total.load(Ordering::Relaxed),
            "restocked",
        );
    }
}
