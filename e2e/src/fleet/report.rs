//! Figures, as a table for people and as JSON for machines.

use comfy_table::Table;
use serde_json::{Value, json};

use super::plan::FleetOptions;

/// What a measurement found.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What was measured.
    pub options: FleetOptions,
    /// How many proxies were connected.
    pub proxies: usize,
    /// All proxies connecting at once.
    pub storm: StormFigures,
    /// One change after the other.
    pub changes: ChangeFigures,
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
    /// From the change of the file to the last acknowledgement, in milliseconds.
    pub latency: Percentiles,
    /// The controller's computing time for a change, in milliseconds.
    pub cpu_ms: f64,
    /// Resources that arrived at all proxies together.
    pub resources: f64,
    /// Bytes that arrived at all proxies together.
    pub bytes: f64,
    /// Resources that the controller generated: each once for all who see it.
    pub generated: f64,
    /// Parts of the policy that the controller decided.
    pub compiled: f64,
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
    /// The controller's computing time for each proxy that a change reached, in microseconds.
    #[must_use]
    pub fn cpu_us_per_proxy(&self) -> f64 {
        self.changes.cpu_ms * 1e3 / self.changes.proxies.max(1.0)
    }

    /// Everything, with its units in the names.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { options, proxies, storm, changes } = self;
        let per_proxy = |all: u64| all as f64 / (*proxies).max(1) as f64;
        json!({
            "shape": {
                "services": options.services, "endpoints": options.endpoints, "proxies": options.proxies,
                "servers": options.servers, "reach": options.reach,
                "mode": format!("{:?}", options.mode).to_lowercase(),
                "change": format!("{:?}", options.change).to_lowercase(),
                "dialect": format!("{:?}", options.dialect).to_lowercase(),
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
            "changes": {
                "count": changes.count, "proxies": changes.proxies, "proxies_expected": changes.expected,
                "latency_ms": { "p50": changes.latency.p50, "p99": changes.latency.p99, "max": changes.latency.max },
                "cpu_ms": changes.cpu_ms, "cpu_us_per_proxy": self.cpu_us_per_proxy(),
                "resources": changes.resources, "bytes": changes.bytes,
                "generated": changes.generated, "compiled": changes.compiled,
            },
        })
    }
}

/// The figures as a table.
#[must_use]
pub fn table(figures: &Figures) -> String {
    let Figures { options, proxies, storm, changes } = figures;
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let kibibytes = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
    let per_proxy = |all: u64| all as f64 / (*proxies).max(1) as f64;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row(
        "mesh",
        format!(
            "{} services with {} endpoints; {proxies} proxies, {:?}, {:?}, reach {}",
            options.services, options.endpoints, options.mode, options.dialect, options.reach
        ),
    );
    row("storm", format!("{:.2} s, {:.2} s of CPU", storm.seconds, storm.cpu_seconds));
    row(
        "sent to a proxy",
        format!("{:.1} resources, {}", per_proxy(storm.resources), kibibytes(per_proxy(storm.bytes))),
    );
    row(
        "memory before, peak, idle",
        format!(
            "{}, {}, {}",
            mebibytes(storm.memory_before),
            mebibytes(storm.memory_peak),
            mebibytes(storm.memory_idle)
        ),
    );
    row(
        "memory for a proxy, idle",
        kibibytes(per_proxy(storm.memory_idle.saturating_sub(storm.memory_before))),
    );
    row(
        "changes",
        format!("{} of kind {:?}, {:.1} proxies each", changes.count, options.change, changes.proxies),
    );
    let Percentiles { p50, p99, max } = changes.latency;
    row("change to last ACK", format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"));
    row(
        "CPU of a change",
        format!("{:.2} ms, {:.1} µs for each proxy reached", changes.cpu_ms, figures.cpu_us_per_proxy()),
    );
    row("sent for a change", format!("{:.1} resources, {}", changes.resources, kibibytes(changes.bytes)));
    row(
        "generated for a change",
        format!("{:.1} resources, {:.1} decisions", changes.generated, changes.compiled),
    );
    table.to_string()
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
