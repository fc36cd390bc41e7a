//! Many changes: so many a second, many at once, and for a long time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::figures::{BurstFigures, Percentiles, Pushes, SoakFigures, SteadyFigures};
use super::plan::PlannedChange;
use super::run::Measurement;
use super::world::Writer;

/// How many changes of a long time are on their way at once.
const SOAK_WINDOW: usize = 20;
/// How often memory is read in it.
const SOAK_SAMPLES: usize = 100;

impl Measurement {
    /// Makes so many changes a second, for so many seconds, whatever comes of them.
    pub(super) async fn steady(&mut self, rate: f64, seconds: f64) -> Result<SteadyFigures> {
        let count = (rate * seconds) as usize;
        let cpu = self.controller.cpu()?;
        let received = self.shared.board.received();
        self.shared.board.begin();
        let begin = Instant::now();
        let (mut overtaken, mut late) = (0, Duration::ZERO);
        for number in 1..=count {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            late = late.max(due.elapsed());
            overtaken += usize::from(!self.make(self.plan.change(number)).await?);
        }
        let awaited = count - overtaken;
        self.wait("all changes have arrived", |board| board.arrivals() >= awaited).await?;
        self.quiet().await?;
        let received = self.shared.board.received() - received;
        let proxies = self.plan.proxies().len() as f64;
        Ok(SteadyFigures {
            count,
            overtaken,
            latest_start_ms: late.as_secs_f64() * 1e3,
            latency: self.arrivals(),
            cpu_ms: (self.controller.cpu()? - cpu).as_secs_f64() * 1e3 / count as f64,
            cpu_share: (self.controller.cpu()? - cpu).as_secs_f64() / begin.elapsed().as_secs_f64(),
            responses_per_proxy: received.responses as f64 / proxies / count as f64,
            bytes: received.bytes as f64 / count as f64,
        })
    }

    /// Makes many changes at once, and again when all have arrived.
    pub(super) async fn bursts(&mut self, changes: usize) -> Result<BurstFigures> {
        let mut bursts = Vec::new();
        let mut pushes = Vec::new();
        let cpu = self.controller.cpu()?;
        let received = self.shared.board.received();
        let count = self.plan.options().changes;
        for burst in 0..count {
            self.shared.board.begin();
            let begin = Instant::now();
            for number in burst * changes..(burst + 1) * changes {
                ensure!(self.make(self.plan.change(number + 1)).await?, "a change was overtaken");
            }
            self.wait("all changes have arrived", |board| board.arrivals() >= changes).await?;
            self.quiet().await?;
            bursts.push((self.shared.board.last() - begin).as_secs_f64() * 1e3);
            self.shared.board.take_arrivals();
            let reached = self.shared.board.reached();
            pushes.extend(reached.map(|proxy| self.shared.board.of_proxy(proxy).0 as f64));
        }
        let received = self.shared.board.received() - received;
        Ok(BurstFigures {
            count,
            changes,
            latency: Percentiles::of(&bursts),
            pushes: Pushes::of(&pushes),
            cpu_ms: (self.controller.cpu()? - cpu).as_secs_f64() * 1e3 / count as f64,
            bytes: received.bytes as f64 / count as f64,
        })
    }

    /// Makes changes as fast as they are acknowledged, and watches the memory.
    pub(super) async fn soak(&mut self, changes: usize) -> Result<SoakFigures> {
        let mut samples = Vec::new();
        let every = (changes / SOAK_SAMPLES).max(1);
        let begin = Instant::now();
        let mut made = 0;
        while made < changes {
            let window = SOAK_WINDOW.min(changes - made).min(self.plan.reached_services());
            for number in made..made + window {
                ensure!(self.make(self.plan.change(number + 1)).await?, "a change was overtaken");
            }
            self.wait("all changes have arrived", |board| board.arrivals() >= window).await?;
            self.shared.board.take_arrivals();
            made += window;
            if made / every > samples.len() {
                samples.push((made as f64, self.controller.memory()?.now as f64));
            }
        }
        // At first, caches and buffers grow to the size that they need.
        let settled = &samples[samples.len() / 4..];
        Ok(SoakFigures {
            changes,
            seconds: begin.elapsed().as_secs_f64(),
            memory_first: settled.first().map_or(0.0, |(_, bytes)| *bytes),
            memory_last: settled.last().map_or(0.0, |(_, bytes)| *bytes),
            bytes_per_change: slope(settled),
        })
    }

    /// Makes a change; says whether the last one of this service had arrived. What takes
    /// its time to be written does not hold up the next one.
    async fn make(&mut self, change: PlannedChange) -> Result<bool> {
        let clients = self.plan.clients_of(change.service);
        let is_new = self.shared.board.await_endpoints(change.service, clients);
        let writer = self.world.writer().clone();
        match writer {
            Writer::Folder(_) => writer.write(&change.file, &change.objects).await?,
            Writer::Server(_) => {
                self.writes.spawn(async move { writer.write(&change.file, &change.objects).await });
            }
        }
        while let Some(written) = self.writes.try_join_next() {
            written??;
        }
        Ok(is_new)
    }

    fn arrivals(&self) -> Percentiles {
        let took = self.shared.board.take_arrivals();
        Percentiles::of(&took.iter().map(|took| took.as_secs_f64() * 1e3).collect::<Vec<_>>())
    }
}

/// How much more of the second there is for each of the first, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line_through_the_points() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 4.0), (2.0, 4.0)]).abs() < 1e-9);
        assert!(slope(&[]).abs() < 1e-9);
    }
}
