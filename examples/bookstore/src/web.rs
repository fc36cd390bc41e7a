//! What the HTTP applications share: serving until told to stop, health routes, small bodies.

use std::future::IntoFuture;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take after the stop signal.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Largest request body that is read, in bytes.
pub const BODY_LIMIT: usize = 1024;

/// Returns the routes that every HTTP application has for probes.
pub fn health_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let ok = || async { "OK" };
    Router::new().route("/liveness", get(ok)).route("/readiness", get(ok)).route("/startup", get(ok))
}

/// Serves `routes` until `stop`, then lets requests under way finish for at most five seconds.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let routes = routes.layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT));
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server => result.context("serving HTTP"),
        () = drained => Ok(()),
    }
}

/// Reads a request body as one decimal number.
///
/// # Errors
/// Status 400 and what was wrong, for the response.
pub fn number(body: &str) -> Result<u64, (StatusCode, String)> {
    body.trim()
        .parse()
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is not a number: {error}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_number_or_refused() {
        assert_eq!(number(" 12\n"), Ok(12));
        for body in ["", "-1", "1.5", "one", "99999999999999999999999"] {
            assert_eq!(number(body).expect_err(body).0, StatusCode::BAD_REQUEST);
        }
    }
}
