//! One container of a pod, kept running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_k8s::manifest::{Container, Probe};
use tokio_util::sync::CancellationToken;

use super::api::Happening;
use super::context::Context;
use super::plan::PodPlan;
use super::probe::{Target, Verdict};
use super::process::{Backoff, Launch, Running};

/// How long an application has to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether what could not be started can be now.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// A container that is kept running until it is told to stop.
#[derive(Debug, Clone)]
pub(super) struct ContainerRunner {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<PodPlan>,
    pub(super) container: Container,
    pub(super) stop: CancellationToken,
}

/// A container's program, running.
struct Started {
    running: Running,
    launch: Launch,
    prefix: usize,
}

impl ContainerRunner {
    /// Runs the program again and again until it is told to stop.
    pub(super) async fn keep_running(self) {
        let mut backoff = Backoff::default();
        while let Some(started) = self.start_at_last().await {
            let Some((how, ran)) = self.run(started).await else { return };
            let wait = backoff.after(ran);
            if !self.wait_to_restart(how, wait).await {
                return;
            }
        }
    }

    /// Runs the program until it ends well once. Returns whether it did.
    pub(super) async fn run_to_success(self) -> bool {
        let mut backoff = Backoff::default();
        while let Some(started) = self.start_at_last().await {
            let Some((how, ran)) = self.run(started).await else { return false };
            if how == "exit status 0" {
                return true;
            }
            let wait = backoff.after(ran);
            if !self.wait_to_restart(how, wait).await {
                return false;
            }
        }
        false
    }

    /// Starts the program as soon as it can be started; `None` when told to stop.
    async fn start_at_last(&self) -> Option<Started> {
        let mut told = None;
        loop {
            let problem = match self.start() {
                Ok(started) => return Some(started),
                Err(problem) => problem,
            };
            let reason = format!(
                "{}: {}: container {}: {problem}",
                self.pod.location, self.pod.owner, self.container.name
            );
            if told.as_ref() != Some(&reason) {
                self.update(|process| process.last_end = Some(problem.clone()));
                self.context.events.add(Happening::CannotStart {
                    pod: self.pod.name.to_string(),
                    process: self.container.name.clone(),
                    reason: reason.clone(),
                });
                told = Some(reason);
            }
            if !self.sleep(LOOK_AGAIN).await {
                return None;
            }
        }
    }

    fn start(&self) -> Result<Started, String> {
        let (launch, prefix) = self.context.launch(&self.pod, &self.container)?;
        let running = launch.start().map_err(|error| format!("{error:#}"))?;
        Ok(Started { running, launch, prefix })
    }

    /// Waits until the program ends. Returns how, and after what time; `None` when
    /// told to stop.
    async fn run(&self, started: Started) -> Option<(String, Duration)> {
        let Started { mut running, launch, prefix } = started;
        let since = Instant::now();
        let id = running.id();
        self.update(|process| (process.pid, process.ready) = (Some(id), false));
        let target = Target { pod: &self.pod, container: &self.container, launch: &launch, prefix };
        let how = tokio::select! {
            how = running.ended() => Some(how),
            how = self.probe(&target) => {
                running.stop(GRACE).await;
                Some(how)
            }
            () = self.stop.cancelled() => {
                let asked = Instant::now();
                let how = running.stop(GRACE).await;
                let (pod, container, after) = (&self.pod.name, &self.container.name, asked.elapsed());
                tracing::debug!(%pod, container, how, ?after, "container was stopped");
                None
            }
        };
        self.update(|process| {
            (process.pid, process.ready) = (None, false);
            process.last_end = how.clone();
        });
        Some((how?, since.elapsed()))
    }

    /// Asks the probes for as long as the answers let the program live. Returns
    /// why it must end.
    async fn probe(&self, target: &Target<'_>) -> String {
        let Container { startup_probe, readiness_probe, liveness_probe, .. } = &self.container;
        if let Some(probe) = startup_probe
            && !self.until_started(target, probe).await
        {
            return "ended because its startup probe failed".to_owned();
        }
        let readiness = async {
            let Some(probe) = readiness_probe else {
                self.update(|process| process.ready = true);
                return std::future::pending().await;
            };
            self.watch(target, probe, false, |ready| {
                self.update(|process| process.ready = ready);
                true
            })
            .await;
        };
        let liveness = async {
            let Some(probe) = liveness_probe else { return std::future::pending().await };
            self.watch(target, probe, true, |alive| alive).await;
        };
        tokio::select! {
            () = readiness => std::future::pending().await,
            () = liveness => "ended because its liveness probe failed".to_owned(),
        }
    }

    /// Asks until the first good answer. Returns whether there was one before too
    /// many bad ones.
    async fn until_started(&self, target: &Target<'_>, probe: &Probe) -> bool {
        tokio::time::sleep(Duration::from_secs(probe.initial_delay_seconds.into())).await;
        for _ in 0..probe.failures() {
            if target.ask(probe).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_secs(probe.period().into())).await;
        }
        false
    }

    /// Asks one probe on and on; tells each change of the verdict, and ends when
    /// it is told that this is enough.
    async fn watch(&self, target: &Target<'_>, probe: &Probe, good: bool, tell: impl Fn(bool) -> bool) {
        /// Until the first good answer it is asked more often: a pod is up sooner.
        const EAGER: Duration = Duration::from_millis(100);
        tokio::time::sleep(Duration::from_secs(probe.initial_delay_seconds.into())).await;
        let mut verdict = Verdict::new(probe, good);
        let mut last = good;
        let period = Duration::from_secs(probe.period().into());
        loop {
            let answer = target.ask(probe).await;
            if let Err(error) = &answer {
                tracing::debug!(pod = %self.pod.name, container = %self.container.name, error = format!("{error:#}"), "probe");
            }
            let now = verdict.on(answer.is_ok());
            if now != last && !tell(now) {
                return;
            }
            last = now;
            tokio::time::sleep(if now { period } else { EAGER.min(period) }).await;
        }
    }

    /// Says that it ended, and waits. Returns whether to go on.
    async fn wait_to_restart(&self, how: String, wait: Duration) -> bool {
        self.update(|process| process.restarts += 1);
        self.context.events.add(Happening::Ended {
            pod: self.pod.name.to_string(),
            process: self.container.name.clone(),
            how,
            again_in_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        });
        self.sleep(wait).await
    }

    /// Waits. Returns whether to go on.
    async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    fn update(&self, change: impl FnOnce(&mut super::api::ProcessStatus)) {
        self.context.board.update_process(&self.pod.name, &self.container.name, change);
    }
}
