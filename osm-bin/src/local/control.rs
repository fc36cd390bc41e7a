//! The control plane of a mesh on this machine: the one of `osm-controller`, in
//! this process, with what it is told kept so that another can take its place.

mod credentials;
mod driver;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use osm_certs::manager::CertificateManager;
use osm_certs::rotation::RotationStatus;
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::diagnostic::Diagnostic;
use osm_core::identity::{ProxyId, TrustDomain};
use osm_core::model::MeshObject;
use osm_core::name::{ObjectRef, QualifiedName};
use osm_core::source::{MemorySource, MemoryWriter, SourceEvent};
use osm_xds::push::Publisher;
use osm_xds::server::Registry;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::controller::{ChangeReport, Controller, ControllerOptions};
use crate::own_domain::own_domain;

pub use driver::ControlDriver;

/// How long a terminating pod waits until all proxies know that it goes.
const LEAVE_BOUND: Duration = Duration::from_secs(3);
/// The control plane, and what it is told.
pub struct Control {
    options: ControllerOptions,
    server_name: String,
    told: Mutex<Told>,
    serving: watch::Sender<Option<Serving>>,
    commands: mpsc::Sender<Command>,
    restarts: AtomicU64,
    stopping: AtomicBool,
}

/// What the control plane was told last.
#[derive(Debug, Default)]
struct Told {
    objects: BTreeMap<ObjectRef, MeshObject>,
    diagnostics: Vec<Diagnostic>,
    writer: Option<MemoryWriter>,
}

/// The parts of a control plane that runs.
#[derive(Clone)]
pub struct Serving {
    /// The mesh.
    pub catalog: Catalog,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// Certificates.
    pub certificates: CertificateManager,
    /// How the change of roots goes.
    pub roots: Option<watch::Receiver<RotationStatus>>,
    publisher: Publisher,
    changes: Arc<broadcast::Receiver<Arc<ChangeReport>>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("restarts", &self.restarts).finish_non_exhaustive()
    }
}

enum Command {
    Restart(Duration, oneshot::Sender<Result<()>>),
    Shutdown(oneshot::Sender<()>),
}

impl Control {
    /// Starts a control plane that knows these facts. `Control::drive` keeps it going.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        options: ControllerOptions,
        objects: BTreeMap<ObjectRef, MeshObject>,
        diagnostics: Vec<Diagnostic>,
    ) -> Result<(Self, ControlDriver)> {
        let (sender, commands) = mpsc::channel(4);
        let server_name = options.server_names.first().map(ToString::to_string);
        let control = Self {
            server_name: server_name.context("the control plane has no name")?,
            options,
            told: Mutex::new(Told { objects, diagnostics, writer: None }),
            serving: watch::Sender::new(None),
            commands: sender,
            restarts: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        };
        let controller = control.start_controller().await?;
        Ok((control, ControlDriver::new(controller, commands)))
    }

    async fn start_controller(&self) -> Result<Controller> {
        let (source, writer) = {
            let mut told = self.lock();
            let (source, writer) = MemorySource::new(told.objects.values().cloned());
            writer.send(SourceEvent::Diagnostics(told.diagnostics.clone()));
            told.writer = Some(writer.clone());
            (source, writer)
        };
        drop(writer);
        let controller = Controller::start(self.options.clone(), Box::new(source)).await?;
        self.serving.send_replace(Some(Serving {
            catalog: controller.catalog().clone(),
            registry: Arc::clone(controller.registry()),
            certificates: controller.certificates().clone(),
            roots: controller.roots().cloned(),
            publisher: controller.publisher().clone(),
            changes: Arc::new(controller.changes()),
        }));
        Ok(controller)
    }

    /// Tells the control plane everything that is so now. Returns whether anything
    /// is different from before.
    pub fn tell(&self, objects: BTreeMap<ObjectRef, MeshObject>, diagnostics: Vec<Diagnostic>) -> bool {
        let mut told = self.lock();
        let mut events = Vec::new();
        for (name, object) in &objects {
            if told.objects.get(name) != Some(object) {
                events.push(SourceEvent::Apply(Box::new(object.clone())));
            }
        }
        let gone = told.objects.keys().filter(|name| !objects.contains_key(*name));
        events.extend(gone.cloned().map(SourceEvent::Delete));
        if told.diagnostics != diagnostics {
            events.push(SourceEvent::Diagnostics(diagnostics.clone()));
        }
        let changed = !events.is_empty();
        if let Some(writer) = &told.writer {
            // What one edit leads to is one snapshot.
            writer.send_all(events);
        }
        told.objects = objects;
        told.diagnostics = diagnostics;
        changed
    }

    /// The parts of the control plane; `None` while there is none.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        self.serving.borrow().clone()
    }

    /// A watch on the parts of the control plane.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Serving>> {
        self.serving.subscribe()
    }

    /// Where proxies connect to.
    #[must_use]
    pub fn xds_address(&self) -> SocketAddr {
        self.options.xds_listen
    }

    /// Where metrics and health are.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.options.admin_listen
    }

    /// The name by which proxies know the control plane.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The trust domain of the mesh's identities.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        let now = self.serving().map(|serving| own_domain(&serving.catalog));
        now.unwrap_or_else(|| self.options.mesh.trust_domain.clone())
    }

    /// How often the control plane was started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether a proxy is connected and has acknowledged everything that is meant
    /// for it, its pod being known.
    #[must_use]
    pub fn has_everything(&self, proxy: &ProxyId) -> bool {
        let Some(serving) = self.serving() else { return false };
        let known = serving.catalog.snapshot().workload_of(&proxy.uuid).is_some();
        let statuses = serving.registry.statuses();
        let newest = statuses.iter().rfind(|status| status.proxy == *proxy);
        known && newest.is_some_and(|status| status.in_sync && status.session.synced_version.is_some())
    }

    /// Waits until no proxy sends a pod anything any more, within a bound. The
    /// control plane must have been told before that it is not ready.
    pub async fn until_left(&self, pod: &QualifiedName) {
        if self.is_stopping() {
            return;
        }
        let left = async {
            let Some(serving) = self.serving() else { return };
            let mut snapshots = serving.catalog.watch();
            loop {
                let snapshot = serving.catalog.snapshot();
                if snapshot.workload(pod).is_none_or(|workload| !workload.ready) {
                    serving.until_acknowledged(snapshot.version()).await;
                    return;
                }
                if snapshots.changed().await.is_none() {
                    return;
                }
            }
        };
        if tokio::time::timeout(LEAVE_BOUND, left).await.is_err() {
            tracing::warn!(%pod, "pod ends although some proxies may still send to it");
        }
    }

    /// Ends the control plane and starts another. Returns how long there was none.
    ///
    /// # Errors
    /// When the other does not start; it is tried again all the time.
    pub async fn restart(&self, stay_down: Duration) -> Result<Duration> {
        let since = Instant::now();
        let (sender, done) = oneshot::channel();
        self.commands
            .send(Command::Restart(stay_down, sender))
            .await
            .map_err(|_| anyhow!("the mesh ends"))?;
        done.await.context("the mesh ends")??;
        Ok(since.elapsed())
    }

    /// Says that all ends, so that nobody waits for others any more.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether all ends.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends the control plane.
    pub async fn shutdown(&self) {
        let (sender, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown(sender)).await.is_ok() {
            done.await.ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no holder of the lock panics")
    }
}

/// Does something until another control plane takes the place of the one that there is. Says no when none can follow.
pub(super) async fn until_another(
    controls: &mut watch::Receiver<Option<Serving>>,
    work: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        changed = controls.changed() => changed.is_ok(),
        () = work => controls.changed().await.is_ok(),
    }
}

impl Serving {
    /// The reports of changes from here on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<ChangeReport>> {
        self.changes.resubscribe()
    }

    /// Waits until every connected proxy has acknowledged what follows from a
    /// snapshot.
    pub async fn until_acknowledged(&self, snapshot: u64) {
        let mut publications = self.publisher.publications();
        if publications.wait_for(|publication| publication.snapshot >= snapshot).await.is_ok() {
            self.registry.converged().await;
        }
    }
}
