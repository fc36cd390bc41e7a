//! What a measurement found, and how it is written for machines.

use serde_json::{Value, json};

use super::options::FleetOptions;

/// What a measurement found.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What was measured.
    pub options: FleetOptions,
    /// How many proxies were connected.
    pub proxies: usize,
    /// From nothing to the first snapshot.
    pub start: StartFigures,
    /// All proxies connecting at once.
    pub storm: StormFigures,
    /// What happened then.
    pub changes: CourseFigures,
    /// The controller's computing time when nothing happens, in milliseconds a second.
    pub idle: f64,
}

/// What happened after the storm.
#[derive(Debug, Clone)]
pub enum CourseFigures {
    /// One change after the other.
    Single(ChangeFigures),
    /// So many a second.
    Steady(SteadyFigures),
    /// Many at once.
    Burst(BurstFigures),
    /// Many, for a long time.
    Soak(SoakFigures),
    /// Another root.
    Exchange(ExchangeFigures),
}

/// What it took until the controller had read the mesh and was ready.
#[derive(Debug, Clone, Copy)]
pub struct StartFigures {
    /// From the start of the process.
    pub seconds: f64,
    /// Its computing time.
    pub cpu_seconds: f64,
    /// The most memory until then, in bytes.
    pub memory_peak: u64,
}

/// What it took until every proxy had everything. Memory is the controller's.
#[derive(Debug, Clone, Copy)]
pub struct StormFigures {
    /// From the first connection to the last acknowledgement.
    pub seconds: f64,
    /// The controller's computing time.
    pub cpu_seconds: f64,
    /// Responses that arrived.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Memory before the first proxy, in bytes.
    pub memory_before: u64,
    /// The most memory during the storm.
    pub memory_peak: u64,
    /// Memory when nothing happens any more.
    pub memory_idle: u64,
}

/// What changes cost, each on average unless said otherwise.
#[derive(Debug, Clone)]
pub struct ChangeFigures {
    /// How many were made.
    pub count: usize,
    /// Proxies that got something new.
    pub proxies: f64,
    /// Proxies that should have got something new, according to the plan.
    pub expected: f64,
    /// From the change of the object to the last acknowledgement, in milliseconds.
    pub latency: Percentiles,
    /// The controller's computing time for a change, in milliseconds.
    pub cpu_ms: f64,
    /// Resources that arrived at all proxies together.
    pub resources: f64,
    /// Bytes that arrived at all proxies together.
    pub bytes: f64,
    /// Those of them that arrived at proxies that the change does not concern.
    pub stray_bytes: f64,
    /// Resources that the controller generated: each once for all who see it.
    pub generated: f64,
    /// Parts of the policy that the controller decided.
    pub compiled: f64,
}

/// What changes of endpoints cost that come so many a second.
#[derive(Debug, Clone)]
pub struct SteadyFigures {
    /// How many were made.
    pub count: usize,
    /// How many of them had not arrived when the next of the same service came.
    pub overtaken: usize,
    /// How much too late one was made at most, in milliseconds.
    pub latest_start_ms: f64,
    /// From the change of the object until all clients have it, in milliseconds.
    pub latency: Percentiles,
    /// The controller's computing time for a change, in milliseconds, and as a part
    /// of a processor.
    pub cpu_ms: f64,
    /// The part of a processor that the controller used.
    pub cpu_share: f64,
    /// Responses that a proxy gets for a change, on average.
    pub responses_per_proxy: f64,
    /// Bytes that arrived at all proxies together for a change.
    pub bytes: f64,
}

/// What many changes of endpoints at once cost.
#[derive(Debug, Clone)]
pub struct BurstFigures {
    /// How many bursts there were, and how many changes in each.
    pub count: usize,
    /// How many changes in each.
    pub changes: usize,
    /// From the first change until all clients have all, in milliseconds.
    pub latency: Percentiles,
    /// How many responses a proxy gets that gets any.
    pub pushes: Pushes,
    /// The controller's computing time for a burst, in milliseconds.
    pub cpu_ms: f64,
    /// Bytes that arrived at all proxies together for a burst.
    pub bytes: f64,
}

/// How many responses proxies get.
#[derive(Debug, Clone, Copy)]
pub struct Pushes {
    /// On average.
    pub mean: f64,
    /// At most.
    pub max: f64,
}

impl Pushes {
    /// Those of some proxies.
    #[must_use]
    pub fn of(counts: &[f64]) -> Self {
        let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
        Self { mean, max: counts.iter().copied().fold(0.0, f64::max) }
    }
}

/// What changes do to the controller's memory.
#[derive(Debug, Clone)]
pub struct SoakFigures {
    /// How many were made.
    pub changes: usize,
    /// How long that took.
    pub seconds: f64,
    /// Memory after a quarter of them, in bytes.
    pub memory_first: f64,
    /// Memory at the end.
    pub memory_last: f64,
    /// How much it grew with each between, by least squares.
    pub bytes_per_change: f64,
}

/// What it takes to exchange the root of a mesh. Memory is the controller's.
#[derive(Debug, Clone)]
pub struct ExchangeFigures {
    /// Through how many stages it went, the first one included.
    pub stages: usize,
    /// From the object of the new root until every proxy has all that follows.
    pub seconds: f64,
    /// The controller's computing time.
    pub cpu_seconds: f64,
    /// Memory before, in bytes.
    pub memory_before: u64,
    /// The most memory meanwhile.
    pub memory_peak: u64,
    /// How many identities there are, that of the control plane included.
    pub identities: f64,
    /// How many certificates were issued for them.
    pub issued: f64,
    /// The computing time of one signature for each, and nothing else.
    pub signing_seconds: f64,
    /// How many secrets a proxy was sent.
    pub secrets: Pushes,
    /// How often a proxy connected anew, on average.
    pub connections: f64,
    /// How often one could not, since one side did not believe the other yet.
    pub refused: u64,
    /// Bytes that arrived at all proxies together.
    pub bytes: u64,
    /// How many proxies have no stream in the end.
    pub disconnected: usize,
}

/// The distribution of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Half are no greater.
    pub p50: f64,
    /// 99 of 100 are no greater.
    pub p99: f64,
    /// None is greater.
    pub max: f64,
}

impl Percentiles {
    /// The distribution of some values; all 0 where there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = (part * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl Figures {
    /// Everything, with its units in the names.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { options, proxies, start, storm, changes, idle } = self;
        let per_proxy = |all: u64| all as f64 / (*proxies).max(1) as f64;
        json!({
            "shape": {
                "services": options.services, "endpoints": options.endpoints, "proxies": options.proxies,
                "servers": options.servers, "reach": options.reach, "seen_by": options.seen_by,
                "mode": format!("{:?}", options.mode).to_lowercase(),
                "change": format!("{:?}", options.change).to_lowercase(),
                "dialect": format!("{:?}", options.dialect).to_lowercase(),
                "course": format!("{:?}", options.course()).to_lowercase(),
                "source": if options.api_server.is_some() { "kubernetes" } else { "files" },
            },
            "start": {
                "seconds": start.seconds, "cpu_seconds": start.cpu_seconds, "memory_peak": start.memory_peak,
            },
            "storm": {
                "proxies": proxies, "seconds": storm.seconds, "cpu_seconds": storm.cpu_seconds,
                "responses": storm.responses, "resources": storm.resources, "bytes": storm.bytes,
                "resources_per_proxy": per_proxy(storm.resources), "bytes_per_proxy": per_proxy(storm.bytes),
            },
            "memory_bytes": {
                "before": storm.memory_before, "peak": storm.memory_peak, "idle": storm.memory_idle,
                "per_proxy": per_proxy(storm.memory_idle.saturating_sub(storm.memory_before)),
            },
            "changes": changes.to_json(),
            "idle_cpu_ms_per_second": idle,
        })
    }
}

impl CourseFigures {
    fn to_json(&self) -> Value {
        match self {
            Self::Single(changes) => {
                let touched = changes.proxies.max(1.0);
                json!({
                    "count": changes.count, "proxies": changes.proxies, "proxies_expected": changes.expected,
                    "latency_ms": changes.latency.to_json(),
                    "cpu_ms": changes.cpu_ms, "cpu_us_per_proxy": changes.cpu_ms * 1e3 / touched,
                    "resources": changes.resources, "bytes": changes.bytes,
                    "bytes_per_proxy": (changes.bytes - changes.stray_bytes) / touched,
                    "stray_bytes": changes.stray_bytes,
                    "generated": changes.generated, "compiled": changes.compiled,
                })
            }
            Self::Steady(steady) => json!({
                "count": steady.count, "overtaken": steady.overtaken, "latest_start_ms": steady.latest_start_ms,
                "latency_ms": steady.latency.to_json(), "cpu_ms": steady.cpu_ms, "cpu_share": steady.cpu_share,
                "responses_per_proxy": steady.responses_per_proxy, "bytes": steady.bytes,
            }),
            Self::Burst(burst) => json!({
                "count": burst.count, "in_each": burst.changes, "latency_ms": burst.latency.to_json(),
                "pushes_mean": burst.pushes.mean, "pushes_max": burst.pushes.max,
                "cpu_ms": burst.cpu_ms, "bytes": burst.bytes,
            }),
            Self::Soak(soak) => json!({
                "count": soak.changes, "seconds": soak.seconds, "memory_first": soak.memory_first,
                "memory_last": soak.memory_last, "bytes_per_change": soak.bytes_per_change,
            }),
            Self::Exchange(exchange) => json!({
                "stages": exchange.stages, "seconds": exchange.seconds, "cpu_seconds": exchange.cpu_seconds,
                "memory_first": exchange.memory_before, "memory_peak": exchange.memory_peak,
                "identities": exchange.identities, "issued": exchange.issued,
                "signing_seconds": exchange.signing_seconds,
                "cpu_of_signing": exchange.cpu_seconds / exchange.signing_seconds,
                "secrets_mean": exchange.secrets.mean, "secrets_max": exchange.secrets.max,
                "connections": exchange.connections, "refused": exchange.refused,
                "bytes": exchange.bytes, "disconnected": exchange.disconnected,
            }),
        }
    }
}

impl Percentiles {
    fn to_json(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99, "max": self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(&values), Percentiles { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Percentiles::of(&[7.0]), Percentiles { p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Percentiles::of(&[]), Percentiles { p50: 0.0, p99: 0.0, max: 0.0 });
    }
}
