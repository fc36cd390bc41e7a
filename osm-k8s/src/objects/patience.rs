//! How long is waited: for an answer of the server, and for what is to happen.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::ObjectsError;
use crate::client::bounded;

/// How often an object that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long the server may take for one answer: as long as it gives itself, unless it is told otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer of the server, unless it takes too long.
pub(super) async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    bounded(ANSWER_TIMEOUT, answer).await
}

/// Looks again and again at what is waited for, until that is nothing.
pub(super) async fn wait(
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<Vec<String>, ObjectsError>,
) -> Result<(), ObjectsError> {
    let deadline = Instant::now() + bound;
    let mut waiting = vec!["the API server has not answered".to_owned()];
    loop {
        match timeout_at(deadline, look()).await {
            Ok(seen) => waiting = seen?,
            Err(_) => return Err(ObjectsError::TimedOut { after: bound, waiting }),
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ObjectsError::TimedOut { after: bound, waiting });
        }
        sleep(LOOK).await;
    }
}
