//! Waits for what a cluster does in its own time. For all tests that need one.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Waits until an attempt gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        sleep(Duration::from_millis(50)).await;
    }
}
