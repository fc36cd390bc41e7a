//! The Envoy of a pod, kept running, and its credentials, kept fresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use osm_core::identity::ProxyId;
use tokio_util::sync::CancellationToken;

use super::api::{Happening, ProcessStatus};
use super::context::Context;
use super::envoy::EnvoyFiles;
use super::plan::PodPlan;
use super::process::Backoff;

/// How often a starting Envoy is asked whether it serves.
const LOOK: Duration = Duration::from_millis(25);
/// How long Envoy has to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// The name under which it is shown.
pub(super) const NAME: &str = "envoy";

/// Keeps a pod's Envoy running until it is told to stop.
pub(super) async fn keep_running(
    context: Arc<Context>,
    pod: Arc<PodPlan>,
    proxy: ProxyId,
    stop: CancellationToken,
) {
    let sidecar = Sidecar { context, pod, proxy };
    let mut backoff = Backoff::default();
    loop {
        let since = Instant::now();
        let how = tokio::select! {
            ended = sidecar.run(&stop) => match ended {
                Ok(Some(how)) => how,
                Ok(None) => return,
                Err(error) => format!("{error:#}"),
            },
        };
        let wait = backoff.after(since.elapsed());
        sidecar.update(|process| {
            (process.pid, process.ready, process.last_end) = (None, false, Some(how.clone()));
            process.restarts += 1;
        });
        sidecar.context.events.add(Happening::Ended {
            pod: sidecar.pod.name.to_string(),
            process: NAME.to_owned(),
            how,
            again_in_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Sidecar {
    context: Arc<Context>,
    pod: Arc<PodPlan>,
    proxy: ProxyId,
}

impl Sidecar {
    /// Runs Envoy once. Returns how it ended; `None` when told to stop.
    async fn run(&self, stop: &CancellationToken) -> Result<Option<String>> {
        let Context { control, .. } = &*self.context;
        let files = EnvoyFiles::create(self.context.folder(&self.pod).join(NAME))?;
        tokio::select! {
            written = control.write_credentials(&self.proxy, &files) => written?,
            () = stop.cancelled() => return Ok(None),
        }
        files.write_bootstrap(&self.proxy, control.xds_address(), control.server_name())?;
        let launch = self.context.launch_proxy(&self.pod, files.arguments())?;
        let mut running = launch.start().context("starting Envoy")?;
        let id = running.id();
        self.update(|process| process.pid = Some(id));
        let serves = async {
            self.until_it_serves(&files).await;
            self.update(|process| process.ready = true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            how = running.ended() => Ok(Some(how)),
            () = serves => Ok(None),
            error = control.keep_credentials(&self.proxy, &files) => {
                running.stop(GRACE).await;
                Err(error)
            }
            () = stop.cancelled() => {
                let how = running.stop(GRACE).await;
                tracing::debug!(pod = %self.pod.name, how, "Envoy was stopped");
                self.update(|process| (process.pid, process.ready) = (None, false));
                Ok(None)
            }
        }
    }

    /// Envoy says that it is live even if it has refused everything, so the
    /// control plane must say as well that it has acknowledged all.
    async fn until_it_serves(&self, files: &EnvoyFiles) {
        loop {
            if self.context.control.has_everything(&self.proxy) && files.is_live().await {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn update(&self, change: impl FnOnce(&mut ProcessStatus)) {
        self.context.board.update_process(&self.pod.name, NAME, change);
    }
}
