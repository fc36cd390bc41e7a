//! A mesh that runs: it follows the manifests, starts and ends pods, and tells
//! the control plane what is so.
//!
//! This runs as a child of the first process of the mesh's own namespaces
//! ([`super::init`]). What is to run is decided by [`super::plan`].

mod changes;
mod sources;
mod stages;

pub(super) use changes::finding;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use osm_core::identity::ProxyUuid;
use osm_core::name::QualifiedName;
use osm_core::snapshot::MeshOptions;
use osm_k8s::Manifests;
use osm_xds::server::ServerOptions;
use tokio_util::sync::CancellationToken;

use super::address_book::{AddressBook, NODE};
use super::api::{Happening, Phase, PodChange};
use super::board::Board;
use super::context::{self, Context, Settings};
use super::control::Control;
use super::events::EventLog;
use super::network::{Network, service_rules};
use super::plan::{Plan, PlanOptions, PodPlan, plan};
use super::pod::PodHandle;
use super::state::StateFolder;
use super::{roots, server};
use crate::controller::{Authority, ControllerOptions, server_names};
use sources::Sources;

/// Where proxies connect to, and where metrics are: on the node's address.
const XDS_PORT: u16 = 15128;
const ADMIN_PORT: u16 = 9091;
/// How long all pods together have to end.
const STOP_BOUND: Duration = Duration::from_secs(8);
/// Over how long proxies are spread that are asked to connect anew: there are few of them, and they are near.
const RECONNECT_SPREAD: Duration = Duration::from_secs(2);
/// How long the control plane has to end once no proxy is left.
const DRAIN_BOUND: Duration = Duration::from_secs(2);

/// What the control socket and the mesh share besides the context.
#[derive(Debug)]
pub struct Shared {
    /// What everything shares.
    pub context: Arc<Context>,
    /// When the mesh was started.
    pub since: Instant,
    /// Whether all pods have been ready once.
    pub up: std::sync::atomic::AtomicBool,
    /// Ends the mesh.
    pub stop: CancellationToken,
}

impl Shared {
    /// How far the mesh has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.stop.is_cancelled() {
            Phase::Stopping
        } else if self.up.load(std::sync::atomic::Ordering::Relaxed) {
            Phase::Up
        } else {
            Phase::Starting
        }
    }
}

/// Runs a mesh until `stop`, in the namespaces that this process is in.
///
/// # Errors
/// When it does not start.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let since = Instant::now();
    let state = StateFolder::new(&settings.state, &settings.name)?;
    context::cover_run_folder()?;
    let network = Network::set_up(&settings.tools).await?;
    let mut watch = Sources::new(&settings.manifests);
    let book = state.load_addresses()?;
    let options = PlanOptions { mesh_name: settings.mesh_name.clone() };
    let mut mesh = Planner { options, book };
    let manifests = tokio::select! {
        manifests = watch.next() => manifests,
        () = stop.cancelled() => return Ok(()),
    };
    let plan = mesh.plan(&manifests, &state);
    let (control, driver) =
        Control::start(controller_options(&settings, &state), plan.facts(), plan.diagnostics.clone())
            .await
            .context("starting the control plane")?;
    let context = Arc::new(Context {
        settings,
        state,
        network,
        board: Board::default(),
        events: EventLog::default(),
        control,
        plan: ArcSwap::from_pointee(plan),
    });
    let driver = driver.spawn(Arc::clone(&context));
    let shared =
        Arc::new(Shared { context: Arc::clone(&context), since, up: false.into(), stop: stop.clone() });
    let server = server::listen(Arc::clone(&shared))?;
    tokio::spawn(changes::follow_findings(Arc::clone(&context)));
    tokio::spawn(stages::follow(Arc::clone(&context)));
    Mesh {
        shared,
        planner: mesh,
        manifests,
        pods: BTreeMap::new(),
        ready: BTreeSet::new(),
        rules: String::new(),
    }
    .run(watch)
    .await;
    let ended = async {
        context.control.shutdown().await;
        driver.await.ok();
    };
    if tokio::time::timeout(DRAIN_BOUND, ended).await.is_err() {
        tracing::warn!("control plane is cut off");
    }
    server.abort();
    Ok(())
}

fn controller_options(settings: &Settings, state: &StateFolder) -> ControllerOptions {
    let mut mesh = MeshOptions::default();
    mesh.mesh_name.clone_from(&settings.mesh_name);
    let mut server = ServerOptions::default();
    server.distrust_spread = RECONNECT_SPREAD;
    ControllerOptions {
        server_names: server_names(&mesh),
        mesh,
        xds_listen: (NODE, XDS_PORT).into(),
        admin_listen: Some((NODE, ADMIN_PORT).into()),
        authority: Authority::Folder(state.authority()),
        server,
        freshness: None,
        cluster: None,
        rotation: Some(roots::options(state)),
    }
}

/// Makes plans, and keeps the addresses that they give out.
struct Planner {
    options: PlanOptions,
    book: AddressBook,
}

impl Planner {
    fn plan(&mut self, manifests: &Manifests, state: &StateFolder) -> Plan {
        let before = self.book.clone();
        let plan = plan(manifests, &self.options, &mut self.book, &mut fresh_uuid);
        if self.book != before
            && let Err(error) = state.save_addresses(&self.book)
        {
            tracing::error!(error = format!("{error:#}"), "addresses are not kept");
        }
        plan
    }
}

/// A random UUID, from the kernel.
fn fresh_uuid() -> ProxyUuid {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    text.trim().parse().expect("the kernel writes a UUID, which is a DNS label")
}

struct Mesh {
    shared: Arc<Shared>,
    planner: Planner,
    manifests: Arc<Manifests>,
    pods: BTreeMap<QualifiedName, PodHandle>,
    /// The pods that took requests when it was looked last.
    ready: BTreeSet<QualifiedName>,
    /// The rules of services that are in force.
    rules: String,
}

impl Mesh {
    async fn run(mut self, mut watch: Sources) {
        let mut statuses = self.shared.context.board.watch();
        let stop = self.shared.stop.clone();
        self.start_and_end_pods(&Plan::default(), &Arc::clone(&self.shared.context.plan.load_full()));
        loop {
            self.tell().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                manifests = watch.next() => self.on_manifests(manifests),
                changed = statuses.changed() => if changed.is_err() { break },
            }
            self.note_whether_up();
        }
        self.end().await;
    }

    /// Goes over to other manifests.
    fn on_manifests(&mut self, manifests: Arc<Manifests>) {
        let begun = Instant::now();
        let context = Arc::clone(&self.shared.context);
        let before = context.plan.load_full();
        let plan = Arc::new(self.planner.plan(&manifests, &context.state));
        context.plan.store(Arc::clone(&plan));
        let change = changes::between(&self.manifests, &manifests);
        self.manifests = manifests;
        for state in context.board.pods() {
            if let Err(error) = context.write_hosts(&state.plan) {
                tracing::error!(pod = %state.plan.name, error = format!("{error:#}"), "hosts file is not written");
            }
        }
        let report = changes::Pending::new(Arc::clone(&context), change, begun);
        self.start_and_end_pods(&before, &plan);
        let changed = self.tell_facts();
        tokio::spawn(report.tell(changed));
    }

    /// Does what leads from one plan to the next.
    fn start_and_end_pods(&mut self, before: &Plan, now: &Plan) {
        let context = &self.shared.context;
        let happens = |pod: &QualifiedName, change| {
            context.events.add(Happening::Pod { pod: pod.to_string(), change });
        };
        let gone: Vec<QualifiedName> =
            before.pods.keys().filter(|name| !now.pods.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(handle) = self.pods.get(&name) {
                happens(&name, PodChange::Removed);
                handle.begin_to_stop();
            }
        }
        self.pods.retain(|_, handle| !handle.is_gone());
        for (name, pod) in &now.pods {
            match (before.pods.get(name), self.pods.remove(name)) {
                (Some(old), Some(handle)) if !pod.needs_another_pod(old) => {
                    if runs_other_containers(old, pod) {
                        happens(name, PodChange::Restarted);
                    }
                    if old != pod {
                        handle.update(Arc::clone(pod));
                    }
                    self.pods.insert(name.clone(), handle);
                }
                // One that goes, or has to go, is waited for: its successor takes its place.
                (old, handle) => {
                    let change = if old.is_some() { PodChange::Restarted } else { PodChange::Added };
                    if !before.pods.is_empty() {
                        happens(name, change);
                    }
                    let handle = PodHandle::start(Arc::clone(context), Arc::clone(pod), handle);
                    self.pods.insert(name.clone(), handle);
                }
            }
        }
    }

    async fn tell(&mut self) {
        self.tell_facts();
        let context = &self.shared.context;
        let pods = context.board.pods().into_iter();
        let ready: BTreeSet<_> = pods.filter(|pod| pod.is_ready()).map(|pod| pod.plan.name.clone()).collect();
        if self.shared.phase() == Phase::Up {
            for pod in ready.symmetric_difference(&self.ready) {
                let ready = ready.contains(pod);
                context.events.add(Happening::Readiness { pod: pod.to_string(), ready });
            }
        }
        self.ready.clone_from(&ready);
        let rules = service_rules(&context.plan.load(), |pod: &PodPlan| ready.contains(&pod.name));
        if rules != self.rules {
            if let Err(error) = context.network.set_services(&rules).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "workloads without a proxy can't reach services"
                );
            }
            self.rules = rules;
        }
    }

    /// Tells the control plane what is so. Returns whether that is anything new.
    fn tell_facts(&self) -> bool {
        let context = &self.shared.context;
        let plan = context.plan.load();
        let mut objects = plan.facts();
        objects.extend(context.board.facts());
        context.control.tell(objects, plan.diagnostics.clone())
    }

    fn note_whether_up(&self) {
        use std::sync::atomic::Ordering;
        let Shared { context, since, up, .. } = &*self.shared;
        if up.load(Ordering::Relaxed) {
            return;
        }
        let pods = context.board.pods();
        let plan = context.plan.load();
        let has_come_far = |pod: &super::board::PodState| {
            pod.is_ready() || pod.problem.is_some() || pod.containers.iter().any(|one| one.last_end.is_some())
        };
        if pods.len() >= plan.pods.len() && pods.iter().all(has_come_far) {
            up.store(true, Ordering::Relaxed);
            context.events.add(Happening::Up {
                pods: pods.len(),
                proxies: pods.iter().filter(|pod| pod.plan.has_proxy).count(),
                after_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    async fn end(self) {
        let context = &self.shared.context;
        context.events.add(Happening::Stopping);
        context.control.stopping();
        let ends = self.pods.into_values().map(PodHandle::stop);
        if tokio::time::timeout(STOP_BOUND, futures::future::join_all(ends)).await.is_err() {
            tracing::warn!("some pods are cut off");
        }
    }
}

fn runs_other_containers(old: &PodPlan, new: &PodPlan) -> bool {
    old.pod.spec.containers != new.pod.spec.containers
}
