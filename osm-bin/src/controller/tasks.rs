//! The tasks of a control plane: named, ended together, and missed when one
//! ends that should not.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A part that should run for ever ended.
#[derive(Debug, thiserror::Error)]
#[error("the {name} ended: {reason}")]
pub struct TaskFailed {
    /// The part.
    pub name: &'static str,
    /// Why.
    pub reason: String,
}

/// The tasks of one control plane. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Tasks {
    handles: BTreeMap<&'static str, JoinHandle<()>>,
    stopping: CancellationToken,
    failures: mpsc::UnboundedReceiver<TaskFailed>,
    fail: mpsc::UnboundedSender<TaskFailed>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let (fail, failures) = mpsc::unbounded_channel();
        Self { handles: BTreeMap::new(), stopping: CancellationToken::new(), failures, fail }
    }

    /// Starts a task that should run for ever.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_failing(name, async move {
            task.await;
            Ok(())
        });
    }

    /// Starts a task that should run for ever, and may say why it does not.
    pub(crate) fn spawn_failing(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.start(name, async move {
            Some(match task.await {
                Ok(()) => "it had nothing left to do".to_owned(),
                Err(error) => format!("{error:#}"),
            })
        });
    }

    /// Starts a task that may end by itself: what it did stays in force. Only
    /// when it panics is it missed.
    pub(crate) fn spawn_ending(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(name, async move {
            task.await;
            None
        });
    }

    /// Starts a task that gives the reason why it is missed, if it is.
    fn start(&mut self, name: &'static str, task: impl Future<Output = Option<String>> + Send + 'static) {
        let (fail, stopping) = (self.fail.clone(), self.stopping.clone());
        let task = async move {
            // Nothing of a task that panicked is used again.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let Some(reason) = ended.unwrap_or_else(|panic| Some(panicked(&*panic))) else { return };
            if !stopping.is_cancelled() {
                tracing::debug!(task = name, reason, "task ends");
                // Nobody may be listening any more.
                drop(fail.send(TaskFailed { name, reason }));
            }
        };
        self.handles.insert(name, tokio::spawn(task));
    }

    /// Cancelled when everything is to end.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Waits until a task ends that should not. Cancel safe.
    pub(crate) async fn failed(&mut self) -> TaskFailed {
        match self.failures.recv().await {
            Some(failed) => failed,
            // A sender is kept in `self`.
            None => std::future::pending().await,
        }
    }

    /// Waits for one task to end by itself, for a bounded time.
    pub(crate) async fn finished(&mut self, name: &str, bound: Duration) {
        let Some(mut handle) = self.handles.remove(name) else { return };
        if tokio::time::timeout(bound, &mut handle).await.is_err() {
            tracing::warn!(task = name, "task does not end in time");
            handle.abort();
        }
    }

    /// Ends all tasks and waits for them.
    pub(crate) async fn stop(&mut self) {
        self.stopping.cancel();
        for (_, handle) in std::mem::take(&mut self.handles) {
            handle.abort();
            // A task that was cut off is what was asked for.
            drop(handle.await);
        }
    }
}

/// What a panic said.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", said.unwrap_or("without a message"))
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.handles.values().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_is_missed_and_one_that_may_end_is_not() {
        let mut tasks = Tasks::new();
        tasks.spawn_ending("one", async {});
        tasks.spawn_failing("two", async { anyhow::bail!("broken") });
        let failed = tasks.failed().await;
        assert_eq!(failed.to_string(), "the two ended: broken");
        tasks.stop().await;
    }

    #[tokio::test]
    async fn a_task_that_panics_is_missed_even_if_it_may_end() {
        let mut tasks = Tasks::new();
        tasks.spawn_ending("one", async { panic!("no such thing") });
        assert_eq!(tasks.failed().await.to_string(), "the one ended: it panicked: no such thing");
        tasks.spawn("two", async { panic!("number {}", 2) });
        assert_eq!(tasks.failed().await.to_string(), "the two ended: it panicked: number 2");
        tasks.stop().await;
    }
}
