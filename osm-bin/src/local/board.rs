//! What every pod is doing, written by those who run it and read by everybody.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use osm_core::model::MeshObject;
use osm_core::name::{ObjectRef, QualifiedName};
use tokio::sync::watch;

use super::api::{PodPhase, ProcessStatus};
use super::plan::PodPlan;

/// The pods that run, by name. Shared; each change wakes who waits for one.
#[derive(Debug, Default)]
pub struct Board {
    pods: Mutex<BTreeMap<QualifiedName, PodState>>,
    changes: watch::Sender<u64>,
}

/// What one pod is doing.
#[derive(Debug, Clone)]
pub struct PodState {
    /// What it is.
    pub plan: Arc<PodPlan>,
    /// How far it is.
    pub phase: PodPhase,
    /// Why it can't go on, if it can't.
    pub problem: Option<String>,
    /// Its Envoy, if it has one; ready once it serves what the control plane says.
    pub proxy: Option<ProcessStatus>,
    /// Its containers by name, those that run before the others first.
    pub containers: Vec<ProcessStatus>,
    /// How many of these run before the others and are not looked at for readiness.
    pub init_containers: usize,
}

impl PodState {
    /// A pod of which nothing runs yet; `log` says where a process's output goes.
    #[must_use]
    pub fn new(plan: Arc<PodPlan>, log: impl Fn(&str) -> PathBuf) -> Self {
        let spec = &plan.pod.spec;
        let process =
            |name: &str| ProcessStatus { name: name.to_owned(), log: log(name), ..Default::default() };
        Self {
            phase: PodPhase::Starting,
            problem: None,
            proxy: plan.has_proxy.then(|| process("envoy")),
            containers: spec
                .init_containers
                .iter()
                .chain(&spec.containers)
                .map(|c| process(&c.name))
                .collect(),
            init_containers: spec.init_containers.len(),
            plan,
        }
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == PodPhase::Running && self.unready().is_none()
    }

    /// Why it takes none, where that is known.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let of_phase = match self.phase {
            PodPhase::Starting => Some("starting".to_owned()),
            PodPhase::Running => None,
            PodPhase::Terminating => Some("terminating".to_owned()),
        };
        self.problem.clone().or_else(|| self.unready()).or(of_phase)
    }

    fn unready(&self) -> Option<String> {
        let processes = self.proxy.iter().chain(self.containers.iter().skip(self.init_containers));
        processes.into_iter().find(|process| !process.ready).map(|process| {
            match (&process.pid, &process.last_end) {
                (None, Some(end)) => format!("{}: {end}", process.name),
                (None, None) => format!("{} does not run yet", process.name),
                (Some(_), _) => format!("{} is not ready", process.name),
            }
        })
    }

    /// The process of this name: `envoy` for the proxy.
    pub fn process(&mut self, name: &str) -> Option<&mut ProcessStatus> {
        let proxy = self.proxy.iter_mut().filter(|process| process.name == name);
        proxy.chain(self.containers.iter_mut().filter(|process| process.name == name)).next()
    }
}

impl Board {
    /// Adds a pod, or replaces it.
    pub fn add(&self, state: PodState) {
        self.lock().insert(state.plan.name.clone(), state);
        self.changed();
    }

    /// Takes a pod off.
    pub fn remove(&self, name: &QualifiedName) {
        self.lock().remove(name);
        self.changed();
    }

    /// Changes what is said of a pod; does nothing if it is not there any more.
    pub fn update(&self, name: &QualifiedName, change: impl FnOnce(&mut PodState)) {
        if let Some(state) = self.lock().get_mut(name) {
            change(state);
        }
        self.changed();
    }

    /// Changes what is said of a process of a pod.
    pub fn update_process(
        &self,
        pod: &QualifiedName,
        process: &str,
        change: impl FnOnce(&mut ProcessStatus),
    ) {
        self.update(pod, |state| {
            if let Some(process) = state.process(process) {
                change(process);
            }
        });
    }

    /// A pod at this moment.
    #[must_use]
    pub fn pod(&self, name: &QualifiedName) -> Option<PodState> {
        self.lock().get(name).cloned()
    }

    /// All pods at this moment, by name.
    #[must_use]
    pub fn pods(&self) -> Vec<PodState> {
        self.lock().values().cloned().collect()
    }

    /// What the control plane is told of the pods.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<ObjectRef, MeshObject> {
        let pods = self.lock();
        let facts = pods.values().flat_map(|state| state.plan.facts(state.is_ready()));
        facts.map(|object| (object.object_ref(), object)).collect()
    }

    /// A watch that wakes at every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until a pod is like this, or gone.
    pub async fn until(&self, name: &QualifiedName, is_so: impl Fn(&PodState) -> bool) {
        let mut changes = self.watch();
        while self.lock().get(name).is_some_and(|state| !is_so(state)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QualifiedName, PodState>> {
        self.pods.lock().expect("no holder of the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::testing::only_pod;

    #[test]
    fn a_pod_is_ready_when_its_proxy_and_all_its_containers_are() {
        let mut plan = PodPlan::clone(&only_pod(
            "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {initContainers: [{name: first}], containers: [{name: c}]}}",
        ));
        plan.has_proxy = true;
        let name = plan.name.clone();
        let board = Board::default();
        board.add(PodState::new(Arc::new(plan), |name| name.into()));
        let state = || board.pod(&name).expect("it is there");
        assert_eq!(state().reason().as_deref(), Some("envoy does not run yet"));
        board.update_process(&name, "envoy", |process| process.ready = true);
        board.update_process(&name, "c", |process| process.ready = true);
        assert!(!state().is_ready(), "it is still starting");
        board.update(&name, |state| state.phase = PodPhase::Running);
        assert!(state().is_ready() && state().reason().is_none());
        board.update(&name, |state| state.phase = PodPhase::Terminating);
        assert!(!state().is_ready());
        assert!(matches!(board.facts().values().next(), Some(MeshObject::Workload(pod)) if !pod.ready));
    }
}
