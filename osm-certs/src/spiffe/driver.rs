//! The part that listens to an agent, again and again.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::shared::Shared;
use super::trouble::Trouble;
use super::wire::{self, Answer};

/// How long an agent may take to answer. It has to do so at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one may be silent of which nothing could be used.
const AGAIN: Duration = Duration::from_secs(60);

/// The part of a [`WorkloadApi`](super::WorkloadApi) that listens to the agent, for a task of the
/// caller's. When it is dropped, all watches end.
pub struct WorkloadApiDriver(Arc<Shared>);

impl WorkloadApiDriver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Takes what the agent gives until it is dropped.
    pub async fn run(self) {
        // Those who lost the same agent do not come back together.
        let seed = RandomState::new().hash_one(0);
        let mut failures = 0;
        loop {
            if let Err(trouble) = self.listen(&mut failures).await {
                self.0.fail(&trouble);
                failures += 1;
                sleep(trouble.pace.delay(failures, seed)).await;
            }
        }
    }

    /// Listens to one stream until it breaks off, or until the agent is to be asked anew.
    async fn listen(&self, failures: &mut u32) -> Result<(), Trouble> {
        let at = &self.0.options.endpoint;
        let (mut stream, first) = timeout(PATIENCE, self.open()).await.unwrap_or_else(|_| {
            Err(Trouble::passing(format!(
                "the agent at {at} has not answered within {} s",
                PATIENCE.as_secs()
            )))
        })?;
        let mut answer = first;
        loop {
            let patience = self.take(answer).await;
            if patience.is_some() {
                *failures = 0;
            }
            match timeout(patience.unwrap_or(AGAIN), stream.message()).await {
                Ok(next) => answer = self.whole(next)?,
                Err(_) => {
                    tracing::debug!(agent = %at, "the agent is asked anew");
                    return Ok(());
                }
            }
        }
    }

    /// A stream and its first answer.
    async fn open(&self) -> Result<(Streaming<Answer>, Answer), Trouble> {
        let at = &self.0.options.endpoint;
        let channel = at.connect().await.map_err(|error| Trouble::unreachable(at, &error))?;
        let mut stream = wire::fetch(channel).await.map_err(|status| Trouble::told(at, &status))?;
        let first = stream.message().await;
        Ok((stream, self.whole(first)?))
    }

    fn whole(&self, next: Result<Option<Answer>, tonic::Status>) -> Result<Answer, Trouble> {
        let at = &self.0.options.endpoint;
        next.map_err(|status| Trouble::told(at, &status))?
            .ok_or_else(|| Trouble::passing(format!("the agent at {at} has ended its stream")))
    }

    /// Takes an answer, off the asynchronous threads.
    async fn take(&self, answer: Answer) -> Option<Duration> {
        let shared = Arc::clone(&self.0);
        let taken = tokio::task::spawn_blocking(move || shared.apply(answer)).await;
        taken.unwrap_or_else(|error| {
            tracing::error!(%error, "an agent's answer could not be looked at");
            None
        })
    }
}

impl fmt::Debug for WorkloadApiDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApiDriver").field("options", &self.0.options).finish_non_exhaustive()
    }
}
