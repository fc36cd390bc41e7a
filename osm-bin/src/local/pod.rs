//! One pod: its network, then its proxy, then its containers; and the way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use osm_k8s::manifest::Container;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::{Happening, PodPhase};
use super::board::PodState;
use super::container::ContainerRunner;
use super::context::Context;
use super::environment::{self, Variables};
use super::plan::PodPlan;
use super::sidecar;

/// How long to wait before the network of a pod is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// A pod that runs in a task of its own.
#[derive(Debug)]
pub(super) struct PodHandle {
    plan: watch::Sender<Arc<PodPlan>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl PodHandle {
    /// Starts a pod, once `before` has come to its end: the pod whose place it takes.
    pub(super) fn start(context: Arc<Context>, plan: Arc<PodPlan>, before: Option<PodHandle>) -> Self {
        let (sender, receiver) = watch::channel(plan);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.stop().await;
            }
            PodRunner { context, plan: receiver, stop: stopping }.run().await;
        });
        Self { plan: sender, stop, task }
    }

    /// Tells the pod what it is from now on; only containers may differ.
    pub(super) fn update(&self, plan: Arc<PodPlan>) {
        self.plan.send_replace(plan);
    }

    /// Has the pod end by itself.
    pub(super) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Whether nothing is left of the pod.
    pub(super) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the pod, and waits until nothing is left of it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of a pod failed");
        }
    }
}

struct PodRunner {
    context: Arc<Context>,
    plan: watch::Receiver<Arc<PodPlan>>,
    stop: CancellationToken,
}

/// A container that runs, and what it was started as.
struct ContainerHandle {
    what: (Container, Option<Variables>),
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl PodRunner {
    async fn run(mut self) {
        let plan = self.plan.borrow_and_update().clone();
        let file_name = plan.file_name();
        let state = PodState::new(Arc::clone(&plan), |process| self.context.state.log(&file_name, process));
        self.context.board.add(state);
        let mut containers = BTreeMap::new();
        let proxy = self.start_proxy(&plan).await;
        if self.run_init_containers(&plan).await {
            self.context.board.update(&plan.name, |state| state.phase = PodPhase::Running);
            self.run_containers(&mut containers).await;
        }
        self.leave(&plan).await;
        end_all(containers).await;
        if let Some((stop, task)) = proxy {
            stop.cancel();
            task.await.ok();
        }
        // At the end of the mesh its networks go with it, all at once.
        if !self.context.control.is_stopping() {
            self.context.network.remove(&plan).await;
        }
        tracing::debug!(pod = %plan.name, "pod is gone");
        self.context.board.remove(&plan.name);
    }

    /// Makes the network and starts Envoy, and waits until it serves.
    async fn start_proxy(&mut self, plan: &Arc<PodPlan>) -> Option<(CancellationToken, JoinHandle<()>)> {
        self.make_network(plan).await;
        if self.stop.is_cancelled() {
            return None;
        }
        let proxy = plan.proxy()?;
        let stop = CancellationToken::new();
        let running = sidecar::keep_running(Arc::clone(&self.context), Arc::clone(plan), proxy, stop.clone());
        let task = tokio::spawn(running);
        let serves = |state: &PodState| state.proxy.as_ref().is_none_or(|process| process.ready);
        tokio::select! {
            () = self.context.board.until(&plan.name, serves) => {}
            () = self.stop.cancelled() => {}
        }
        Some((stop, task))
    }

    async fn make_network(&self, plan: &PodPlan) {
        let mut told = None;
        loop {
            let made = async {
                self.context.prepare_folder(plan)?;
                self.context.network.add(plan).await
            };
            let Err(error) = made.await else {
                return self.context.board.update(&plan.name, |state| state.problem = None);
            };
            let reason = format!("{error:#}");
            if told.as_ref() != Some(&reason) {
                self.context.board.update(&plan.name, |state| state.problem = Some(reason.clone()));
                self.context.events.add(Happening::CannotStart {
                    pod: plan.name.to_string(),
                    process: "network".to_owned(),
                    reason: reason.clone(),
                });
                told = Some(reason);
            }
            tokio::select! {
                () = tokio::time::sleep(TRY_AGAIN) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Runs what runs before the others, one after the other. Returns whether all
    /// ended well.
    async fn run_init_containers(&self, plan: &Arc<PodPlan>) -> bool {
        for container in &plan.pod.spec.init_containers {
            let runner = self.runner(plan, container, self.stop.clone());
            if self.stop.is_cancelled() || !runner.run_to_success().await {
                return false;
            }
        }
        !self.stop.is_cancelled()
    }

    /// Keeps running what the newest plan says, until told to stop.
    async fn run_containers(&mut self, running: &mut BTreeMap<String, ContainerHandle>) {
        loop {
            let plan = self.plan.borrow_and_update().clone();
            self.replace_containers(&plan, running).await;
            tokio::select! {
                changed = self.plan.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn replace_containers(&self, plan: &Arc<PodPlan>, running: &mut BTreeMap<String, ContainerHandle>) {
        let base = self.context.base_environment(plan);
        let what =
            |container: &Container| (container.clone(), environment::variables(container, plan, &base).ok());
        let wanted: BTreeMap<String, _> =
            plan.pod.spec.containers.iter().map(|one| (one.name.clone(), what(one))).collect();
        let old = std::mem::take(running);
        let (keep, end): (BTreeMap<_, _>, BTreeMap<_, _>) =
            old.into_iter().partition(|(name, one)| wanted.get(name) == Some(&one.what));
        *running = keep;
        let file_name = plan.file_name();
        if !end.is_empty() || wanted.len() != running.len() {
            let fresh =
                PodState::new(Arc::clone(plan), |process| self.context.state.log(&file_name, process));
            end_all(end).await;
            self.context.board.update(&plan.name, |state| {
                let before = std::mem::replace(&mut state.containers, fresh.containers);
                for process in &mut state.containers {
                    let known = before.iter().find(|one| one.name == process.name);
                    if let Some(known) = known {
                        process.clone_from(known);
                    }
                }
            });
        }
        self.context.board.update(&plan.name, |state| state.plan = Arc::clone(plan));
        for (name, what) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            let stop = CancellationToken::new();
            let task = tokio::spawn(self.runner(plan, &what.0, stop.clone()).keep_running());
            running.insert(name, ContainerHandle { what, stop, task });
        }
    }

    fn runner(&self, plan: &Arc<PodPlan>, container: &Container, stop: CancellationToken) -> ContainerRunner {
        ContainerRunner {
            context: Arc::clone(&self.context),
            pod: Arc::clone(plan),
            container: container.clone(),
            stop,
        }
    }

    /// Has the pod leave the mesh, so that nobody sends it anything any more.
    async fn leave(&self, plan: &PodPlan) {
        let was_running = self.context.board.pod(&plan.name).is_some_and(|state| state.is_ready());
        self.context.board.update(&plan.name, |state| state.phase = PodPhase::Terminating);
        if was_running {
            self.context.control.until_left(&plan.name).await;
        }
    }
}

async fn end_all(containers: BTreeMap<String, ContainerHandle>) {
    for container in containers.values() {
        container.stop.cancel();
    }
    for (_, container) in containers {
        container.task.await.ok();
    }
}
