//! Waits for what a cluster does in its own time. For all tests that need one.

#[path = "within.rs"]
pub(crate) mod within;

use std::future::Future;
use std::time::Duration;

use within::within;

/// Longer than anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// How long the cluster is left alone between attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until an attempt gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let attempt = || {
        let made = attempt();
        async { made.await.ok_or("it did not happen") }
    };
    within(DEADLINE, PAUSE, what, attempt).await
}
