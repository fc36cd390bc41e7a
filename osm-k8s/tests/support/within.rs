//! Waits for what comes about in its own time, for so long and no longer. For the tests of all crates.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Tries again and again, with a pause in between, until an attempt gives something. One that does not gives what
/// it has seen instead; the last of those is told when the time is up.
pub(crate) async fn within<T, E: Display, F: Future<Output = Result<T, E>>>(
    bound: Duration,
    pause: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < deadline, "not within {bound:?}: {what}: {seen}"),
        }
        sleep(pause).await;
    }
}
