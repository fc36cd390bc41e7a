//! The administration port: metrics, health and version, over plain HTTP.
//!
//! It tells nothing secret and changes nothing, so that probes and Prometheus
//! can reach it without credentials.

mod process;

use std::future::Future;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

pub use process::ProcessCollector;

use crate::readiness::Readiness;
use crate::version::{Version, smi_versions};

/// The media type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Shared {
    metrics: Registry,
    readiness: Readiness,
}

/// The pages of the administration port.
pub fn pages(metrics: Registry, readiness: Readiness) -> Router {
    let shared = Arc::new(Shared { metrics, readiness });
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health/ready", get(ready))
        .route("/health/alive", get(async || "alive\n"))
        .route("/healthz", get(ready))
        .route("/version", get(async || Json(Version::current())))
        .route("/smi/version", get(async || Json(smi_versions())))
        .fallback(async || {
            let pages = "there are /metrics, /health/ready, /health/alive, /version and /smi/version\n";
            (StatusCode::NOT_FOUND, pages)
        })
        .with_state(shared)
}

/// Serves pages until `shutdown`; of no address so many connections that others find no place.
pub async fn serve(listener: TcpListener, pages: Router, shutdown: impl Future<Output = ()>) {
    osm_k8s::webhook::serve_plain(listener, pages, shutdown).await;
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.readiness.check() {
        Ok(()) => "ready\n".into_response(),
        Err(waiting) => {
            let reason = if waiting.draining {
                "draining: this process is about to end\n".to_owned()
            } else {
                format!("waiting for: {}\n", waiting.waiting_for.join(", "))
            };
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}
