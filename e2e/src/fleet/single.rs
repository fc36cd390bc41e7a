//! Changes one after the other, each until the last proxy that it concerns has
//! acknowledged it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::{ChangeFigures, Percentiles};
use super::plan::PlannedChange;
use super::run::Measurement;

/// Counters of the controller, as `/metrics` names them.
const GENERATED: &str = "osm_push_generated_total";
const COMPILED: &str = "osm_push_compiled_total";

/// What one change cost.
pub(super) struct Cost {
    reached: usize,
    latency: Duration,
    cpu: Duration,
    resources: u64,
    bytes: u64,
    /// To proxies that it does not concern.
    stray_bytes: u64,
}

impl Measurement {
    pub(super) async fn single(&mut self) -> Result<ChangeFigures> {
        let count = self.plan.options().changes;
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
            stray_bytes: average(costs.iter().map(|cost| cost.stray_bytes as f64).sum()),
            generated: average(self.controller.counter(GENERATED)? - generated),
            compiled: average(self.controller.counter(COMPILED)? - compiled),
        })
    }

    /// Makes a change and waits until nothing more comes of it.
    pub(super) async fn change(&mut self, change: &PlannedChange) -> Result<Cost> {
        let wanted = change.concerns.len();
        let cpu = self.controller.cpu()?;
        let received = self.shared.board.received();
        self.shared.board.begin();
        let begin = Instant::now();
        self.world.writer().write(&change.file, &change.objects).await?;
        self.wait("all proxies concerned were reached", |board| board.reached_proxies() >= wanted).await?;
        self.quiet().await?;
        let reached: BTreeSet<usize> = self.shared.board.reached().collect();
        ensure!(
            reached.is_superset(&change.concerns),
            "proxies {:?} were not reached",
            change.concerns.difference(&reached).collect::<Vec<_>>()
        );
        let received = self.shared.board.received() - received;
        let stray = reached.difference(&change.concerns).map(|proxy| self.shared.board.of_proxy(*proxy).1);
        Ok(Cost {
            reached: reached.len(),
            latency: self.shared.board.last() - begin,
            cpu: self.controller.cpu()? - cpu,
            resources: received.resources,
            bytes: received.bytes,
            stray_bytes: stray.sum(),
        })
    }
}
