//! The measurement itself: a mesh, the storm, and what happens then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use osm_core::snapshot::MeshOptions;
use tokio::task::JoinSet;

use super::beliefs::Beliefs;
use super::board::Board;
use super::controller::{self, ControllerProcess};
use super::credentials::Credentials;
use super::exchange;
use super::figures::{CourseFigures, Figures, StartFigures, StormFigures};
use super::options::{Course, FleetOptions};
use super::plan::Plan;
use super::references::References;
use super::stream::{self, Shared};
use super::world::{World, Writer};

/// How long the storm or a change may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// After so long without a response nothing more is expected to come.
const QUIET: Duration = Duration::from_millis(250);
/// How often is looked. It is not part of any figure.
const LOOK: Duration = Duration::from_millis(2);

/// Measures, as often as is asked for.
///
/// # Errors
/// When the controller can't be started, a stream ends, or a change does not
/// arrive at all whom it concerns.
pub async fn run(options: FleetOptions) -> Result<Vec<Figures>> {
    let mut runs = Vec::new();
    for number in 1..=options.runs.max(1) {
        runs.push(run_once(options.clone()).await.with_context(|| format!("run {number}"))?);
    }
    Ok(runs)
}

async fn run_once(options: FleetOptions) -> Result<Figures> {
    let program = controller::find(options.controller.as_deref())?;
    let plan = Plan::new(options)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let authority = folder.path().join("ca");
    let world = match &plan.options().api_server {
        Some(programs) => World::server(programs, folder.path()).await?,
        None => World::folder(folder.path())?,
    };
    world.fill(plan.files()).await?;
    let credentials = Credentials::new(&authority, MeshOptions::default().trust_domain)?;
    let proxies = plan.proxies();
    let beliefs = match plan.options().course() {
        Course::Exchange => Some(Arc::new(two_roots(&plan, &world, &credentials).await?)),
        _ => None,
    };
    let begin = Instant::now();
    let controller = ControllerProcess::start(&program, &world.arguments(), &authority, folder.path())?;
    let start = StartFigures {
        seconds: begin.elapsed().as_secs_f64(),
        cpu_seconds: controller.cpu()?.as_secs_f64(),
        memory_peak: controller.memory()?.peak,
    };
    let shared = Arc::new(Shared {
        address: controller.xds,
        dialect: plan.options().dialect,
        board: Board::new(proxies.len(), plan.options().services),
        references: References::default(),
        beliefs,
    });
    let mut tls = Vec::new();
    for proxy in &proxies {
        tls.push((proxy.uuid.to_string(), credentials.of_proxy(proxy).await?));
    }
    let (streams, writes) = (JoinSet::new(), JoinSet::new());
    let mut measurement = Measurement { plan, world, controller, shared, streams, writes };
    let storm = measurement.storm(tls).await.with_context(|| measurement.controller.log())?;
    let changes = measurement.course().await.with_context(|| measurement.controller.log())?;
    let idle = measurement.idle().await?;
    let Measurement { plan, controller, mut streams, .. } = measurement;
    streams.shutdown().await;
    controller.end()?;
    Ok(Figures { options: plan.options().clone(), proxies: proxies.len(), start, storm, changes, idle })
}

/// The Secret of a second root, and what each proxy has under both.
async fn two_roots(plan: &Plan, world: &World, old: &Credentials) -> Result<Beliefs> {
    let Writer::Server(api) = world.writer() else { bail!("--exchange-root needs --api-server") };
    let new = Credentials::ephemeral(MeshOptions::default().trust_domain)?;
    api.create(vec![exchange::secret(&new)?]).await.context("the Secret of a root")?;
    let mut proofs = Vec::new();
    for proxy in plan.proxies() {
        proofs.push((old.prove(&proxy).await?, new.prove(&proxy).await?));
    }
    let delay = Duration::from_secs_f64(plan.options().files_after.max(0.0));
    Ok(Beliefs::new(old, &new, proofs, delay))
}

/// A mesh with a controller and proxies.
pub(super) struct Measurement {
    pub(super) plan: Plan,
    pub(super) world: World,
    pub(super) controller: ControllerProcess,
    pub(super) shared: Arc<Shared>,
    streams: JoinSet<()>,
    /// Changes that are being written.
    pub(super) writes: JoinSet<Result<()>>,
}

impl Measurement {
    async fn storm(&mut self, tls: Vec<(String, rustls::ClientConfig)>) -> Result<StormFigures> {
        let proxies = tls.len();
        let before = self.controller.memory()?;
        let cpu = self.controller.cpu()?;
        let begin = Instant::now();
        for (index, (uuid, tls)) in tls.into_iter().enumerate() {
            let shared = Arc::clone(&self.shared);
            match &self.shared.beliefs {
                Some(beliefs) => {
                    let beliefs = Arc::clone(beliefs);
                    self.streams.spawn(stream::run_again_and_again(shared, beliefs, index, uuid))
                }
                None => self.streams.spawn(stream::run(shared, index, uuid, tls)),
            };
        }
        self.wait("all proxies have everything", |board| board.synced_proxies() == proxies).await?;
        let seconds = (self.shared.board.last() - begin).as_secs_f64();
        let received = self.shared.board.received();
        let cpu_seconds = (self.controller.cpu()? - cpu).as_secs_f64();
        tokio::time::sleep(Duration::from_secs_f64(self.plan.options().idle.max(0.0))).await;
        let after = self.controller.memory()?;
        Ok(StormFigures {
            seconds,
            cpu_seconds,
            responses: received.responses,
            resources: received.resources,
            bytes: received.bytes,
            memory_before: before.now,
            memory_peak: after.peak,
            memory_idle: after.now,
        })
    }

    /// What happens after the storm.
    async fn course(&mut self) -> Result<CourseFigures> {
        if self.plan.options().course() == Course::Exchange {
            // A server that has lost its only service would need no roots any more.
            return Ok(CourseFigures::Exchange(self.exchange().await?));
        }
        // The controller counts work when a change is done: that of the storm with this one.
        let first = self.plan.change(0);
        self.change(&first).await.context("the first change")?;
        Ok(match self.plan.options().course() {
            Course::Single | Course::Exchange => CourseFigures::Single(self.single().await?),
            Course::Steady(rate, seconds) => CourseFigures::Steady(self.steady(rate, seconds).await?),
            Course::Burst(changes) => CourseFigures::Burst(self.bursts(changes).await?),
            Course::Soak(changes) => CourseFigures::Soak(self.soak(changes).await?),
        })
    }

    /// The computing time when nothing happens, in milliseconds a second.
    async fn idle(&self) -> Result<f64> {
        let seconds = self.plan.options().idle.max(0.0);
        // What the last change led to is over.
        tokio::time::sleep(QUIET).await;
        let cpu = self.controller.cpu()?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        Ok((self.controller.cpu()? - cpu).as_secs_f64() * 1e3 / seconds.max(f64::EPSILON))
    }

    /// Waits until nothing has come for a while.
    pub(super) async fn quiet(&self) -> Result<()> {
        self.wait("responses stop coming", |board| board.last().elapsed() >= QUIET).await
    }

    pub(super) async fn wait(&self, what: &str, done: impl Fn(&Board) -> bool) -> Result<()> {
        let board = &self.shared.board;
        let deadline = Instant::now() + PATIENCE;
        while !done(board) {
            let failures = board.failures();
            if let Some(first) = failures.first() {
                bail!("{} streams ended; {first}", failures.len());
            }
            if Instant::now() > deadline {
                bail!(
                    "waited {PATIENCE:?} until {what}: {} proxies have everything, {} were reached",
                    board.synced_proxies(),
                    board.reached_proxies()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
