//! The measurement itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use osm_core::model::MeshObject;
use osm_core::snapshot::MeshOptions;
use tokio::task::JoinSet;

use super::board::Board;
use super::controller::{self, ControllerProcess};
use super::credentials::Credentials;
use super::manifests::documents;
use super::plan::{FleetOptions, Plan, PlannedChange};
use super::references::References;
use super::report::{ChangeFigures, Figures, Percentiles, StormFigures};
use super::stream::{self, Shared};

/// How long the storm or a change may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// After so long without a response nothing more is expected to come.
const QUIET: Duration = Duration::from_millis(250);
/// How often is looked. It is not part of any figure.
const LOOK: Duration = Duration::from_millis(2);

/// Counters of the controller, as `/metrics` names them.
const GENERATED: &str = "osm_push_generated_total";
const COMPILED: &str = "osm_push_compiled_total";

/// Measures.
///
/// # Errors
/// When the controller can't be started, a stream ends, or a change does not
/// arrive at all whom it concerns.
pub async fn run(options: FleetOptions) -> Result<Figures> {
    let program = controller::find(options.controller.as_deref())?;
    let plan = Plan::new(options)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let (manifests, authority) = (folder.path().join("manifests"), folder.path().join("ca"));
    std::fs::create_dir(&manifests).context("making a folder")?;
    for (file, objects) in plan.files() {
        write(&manifests, &file, &objects)?;
    }
    let credentials = Credentials::new(&authority, MeshOptions::default().trust_domain)?;
    let controller = ControllerProcess::start(&program, &manifests, &authority, folder.path())?;
    let proxies = plan.proxies();
    let shared = Arc::new(Shared {
        address: controller.xds,
        dialect: plan.options().dialect,
        board: Board::new(proxies.len()),
        references: References::default(),
    });
    let mut tls = Vec::new();
    for proxy in &proxies {
        tls.push((proxy.uuid.to_string(), credentials.of_proxy(proxy).await?));
    }
    let mut measurement = Measurement { plan, manifests, controller, shared, streams: JoinSet::new() };
    let storm = measurement.storm(tls).await.with_context(|| measurement.controller.log())?;
    let changes = measurement.changes().await.with_context(|| measurement.controller.log())?;
    let Measurement { plan, controller, mut streams, .. } = measurement;
    streams.shutdown().await;
    controller.end()?;
    Ok(Figures { options: plan.options().clone(), proxies: proxies.len(), storm, changes })
}

/// Writes a file in such a way that nobody sees half of it.
fn write(folder: &Path, file: &str, objects: &[MeshObject]) -> Result<()> {
    let fresh = folder.join(format!(".{file}"));
    std::fs::write(&fresh, documents(objects))
        .and_then(|()| std::fs::rename(&fresh, folder.join(file)))
        .with_context(|| format!("writing {file}"))
}

struct Measurement {
    plan: Plan,
    manifests: PathBuf,
    controller: ControllerProcess,
    shared: Arc<Shared>,
    streams: JoinSet<()>,
}

/// What one change cost.
struct Cost {
    reached: usize,
    latency: Duration,
    cpu: Duration,
    resources: u64,
    bytes: u64,
}

impl Measurement {
    async fn storm(&mut self, tls: Vec<(String, rustls::ClientConfig)>) -> Result<StormFigures> {
        let proxies = tls.len();
        let before = self.controller.memory()?;
        let cpu = self.controller.cpu()?;
        let begin = Instant::now();
        for (index, (uuid, tls)) in tls.into_iter().enumerate() {
            self.streams.spawn(stream::run(Arc::clone(&self.shared), index, uuid, tls));
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

    async fn changes(&mut self) -> Result<ChangeFigures> {
        let count = self.plan.options().changes;
        // The controller counts work when a change is done: that of the storm with this one.
        let first = self.plan.change(0);
        self.change(&first).await.context("the first change")?;
        let (generated, compiled) = (self.controller.counter(GENERATED)?, self.controller.counter(COMPILED)?);
        let mut costs = Vec::new();
        let mut expected = 0;
        for number in 1..=count {
            let change = self.plan.change(number);
            expected += change.concerns.len();
            costs.push(
                self.change(&change).await.with_context(|| format!("change {number}, {}", change.file))?,
            );
        }
        let average = |sum: f64| sum / count as f64;
        let latencies: Vec<f64> = costs.iter().map(|cost| cost.latency.as_secs_f64() * 1e3).collect();
        Ok(ChangeFigures {
            count,
            proxies: average(costs.iter().map(|cost| cost.reached as f64).sum()),
            expected: average(expected as f64),
            latency: Percentiles::of(&latencies),
            cpu_ms: average(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e3).sum()),
            resources: average(costs.iter().map(|cost| cost.resources as f64).sum()),
            bytes: average(costs.iter().map(|cost| cost.bytes as f64).sum()),
            generated: average(self.controller.counter(GENERATED)? - generated),
            compiled: average(self.controller.counter(COMPILED)? - compiled),
        })
    }

    async fn change(&mut self, change: &PlannedChange) -> Result<Cost> {
        let wanted = change.concerns.len();
        let cpu = self.controller.cpu()?;
        let received = self.shared.board.received();
        self.shared.board.begin();
        let begin = Instant::now();
        write(&self.manifests, &change.file, &change.objects)?;
        self.wait("all proxies concerned were reached", |board| board.reached_proxies() >= wanted).await?;
        self.quiet().await?;
        let reached: BTreeSet<usize> = self.shared.board.reached().collect();
        ensure!(
            reached.is_superset(&change.concerns),
            "proxies {:?} were not reached",
            change.concerns.difference(&reached).collect::<Vec<_>>()
        );
        let received = self.shared.board.received() - received;
        Ok(Cost {
            reached: reached.len(),
            latency: self.shared.board.last() - begin,
            cpu: self.controller.cpu()? - cpu,
            resources: received.resources,
            bytes: received.bytes,
        })
    }

    /// Waits until nothing has come for a while.
    async fn quiet(&self) -> Result<()> {
        self.wait("responses stop coming", |board| board.last().elapsed() >= QUIET).await
    }

    async fn wait(&self, what: &str, done: impl Fn(&Board) -> bool) -> Result<()> {
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
