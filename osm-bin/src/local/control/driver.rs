//! The task that owns the control plane, and starts another when it must.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Command, Control};
use crate::controller::Controller;
use crate::local::context::Context;

/// How long to wait before a control plane that failed is started again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Runs a control plane, and another one when it fails or is told to.
pub struct ControlDriver {
    controller: Option<Controller>,
    commands: mpsc::Receiver<Command>,
}

impl ControlDriver {
    /// A driver of a control plane that runs already.
    pub(super) fn new(controller: Controller, commands: mpsc::Receiver<Command>) -> Self {
        Self { controller: Some(controller), commands }
    }

    /// Goes on in a task until the control plane is shut down.
    pub fn spawn(self, context: Arc<Context>) -> JoinHandle<()> {
        tokio::spawn(self.drive(context))
    }

    async fn drive(mut self, context: Arc<Context>) {
        let control = &context.control;
        loop {
            let command = match &mut self.controller {
                Some(controller) => tokio::select! {
                    command = self.commands.recv() => command,
                    failed = controller.failed() => {
                        tracing::error!(error = %failed, "control plane fails and is started again");
                        self.end(control).await;
                        continue;
                    }
                },
                None => {
                    match control.start_controller().await {
                        Ok(controller) => self.controller = Some(controller),
                        Err(error) => {
                            tracing::error!(error = format!("{error:#}"), "control plane does not start");
                            tokio::time::sleep(TRY_AGAIN).await;
                        }
                    }
                    continue;
                }
            };
            match command {
                Some(Command::Restart(stay_down, done)) => {
                    self.end(control).await;
                    tokio::time::sleep(stay_down).await;
                    let started = control.start_controller().await;
                    control.restarts.fetch_add(1, Ordering::Relaxed);
                    // Whoever asked may have gone.
                    drop(done.send(started.map(|controller| self.controller = Some(controller))));
                }
                Some(Command::Shutdown(done)) => {
                    self.end(control).await;
                    done.send(()).ok();
                    return;
                }
                None => return,
            }
        }
    }

    async fn end(&mut self, control: &Control) {
        control.serving.send_replace(None);
        if let Some(controller) = self.controller.take() {
            controller.shutdown().await;
        }
    }
}
