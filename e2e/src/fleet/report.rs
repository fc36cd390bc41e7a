//! Figures as a table for people and as JSON for machines; of several runs the
//! median and the spread.

use comfy_table::Table;
use serde_json::{Value, json};

use super::figures::Figures;
use super::options::FleetOptions;

/// How a figure is shown.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Count,
    Seconds,
    Milliseconds,
    Microseconds,
    Kibibytes,
    Mebibytes,
    Bytes,
    Percent,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.1}"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Microseconds => format!("{value:.1} µs"),
            Self::Kibibytes => format!("{:.1} KiB", value / 1024.0),
            Self::Mebibytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Percent => format!("{:.1} %", value * 100.0),
        }
    }
}

/// The figures that people look at: what they are, where they stand in
/// [`Figures::to_json`], and how they are shown.
const LINES: [(&str, &str, Unit); 50] = [
    ("from start to ready", "/start/seconds", Unit::Seconds),
    ("from start to ready, CPU", "/start/cpu_seconds", Unit::Seconds),
    ("memory until then, peak", "/start/memory_peak", Unit::Mebibytes),
    ("storm", "/storm/seconds", Unit::Seconds),
    ("storm, CPU", "/storm/cpu_seconds", Unit::Seconds),
    ("sent to a proxy in it", "/storm/resources_per_proxy", Unit::Count),
    ("that is", "/storm/bytes_per_proxy", Unit::Kibibytes),
    ("memory before", "/memory_bytes/before", Unit::Mebibytes),
    ("memory, peak", "/memory_bytes/peak", Unit::Mebibytes),
    ("memory, idle", "/memory_bytes/idle", Unit::Mebibytes),
    ("memory for a proxy, idle", "/memory_bytes/per_proxy", Unit::Kibibytes),
    ("changes", "/changes/count", Unit::Count),
    ("in each", "/changes/in_each", Unit::Count),
    ("made too late, at most", "/changes/latest_start_ms", Unit::Milliseconds),
    ("overtaken", "/changes/overtaken", Unit::Count),
    ("proxies reached", "/changes/proxies", Unit::Count),
    ("change to last ACK, p50", "/changes/latency_ms/p50", Unit::Milliseconds),
    ("change to last ACK, p99", "/changes/latency_ms/p99", Unit::Milliseconds),
    ("change to last ACK, max", "/changes/latency_ms/max", Unit::Milliseconds),
    ("CPU of a change", "/changes/cpu_ms", Unit::Milliseconds),
    ("CPU for each proxy reached", "/changes/cpu_us_per_proxy", Unit::Microseconds),
    ("CPU, of one processor", "/changes/cpu_share", Unit::Percent),
    ("responses to a proxy for a change", "/changes/responses_per_proxy", Unit::Count),
    ("responses to a proxy, mean", "/changes/pushes_mean", Unit::Count),
    ("responses to a proxy, max", "/changes/pushes_max", Unit::Count),
    ("sent for a change, resources", "/changes/resources", Unit::Count),
    ("sent for a change, or for all of it", "/changes/bytes", Unit::Kibibytes),
    ("to each proxy reached", "/changes/bytes_per_proxy", Unit::Kibibytes),
    ("to proxies not concerned", "/changes/stray_bytes", Unit::Bytes),
    ("generated for a change", "/changes/generated", Unit::Count),
    ("decided for a change", "/changes/compiled", Unit::Count),
    ("time of all changes", "/changes/seconds", Unit::Seconds),
    ("CPU of all of it", "/changes/cpu_seconds", Unit::Seconds),
    ("one signature for each identity, CPU", "/changes/signing_seconds", Unit::Seconds),
    ("all of it, in such signatures", "/changes/cpu_of_signing", Unit::Count),
    ("stages", "/changes/stages", Unit::Count),
    ("identities", "/changes/identities", Unit::Count),
    ("certificates issued", "/changes/issued", Unit::Count),
    ("secrets sent to a proxy, mean", "/changes/secrets_mean", Unit::Count),
    ("secrets sent to a proxy, max", "/changes/secrets_max", Unit::Count),
    ("new connections of a proxy, mean", "/changes/connections", Unit::Count),
    ("connections not believed", "/changes/refused", Unit::Count),
    ("without a connection in the end", "/changes/disconnected", Unit::Count),
    ("memory after a quarter, or before", "/changes/memory_first", Unit::Mebibytes),
    ("memory meanwhile, peak", "/changes/memory_peak", Unit::Mebibytes),
    ("memory at the end", "/changes/memory_last", Unit::Mebibytes),
    ("growth with each change", "/changes/bytes_per_change", Unit::Bytes),
    ("idle afterwards, CPU a second", "/idle_cpu_ms_per_second", Unit::Milliseconds),
    ("services", "/shape/services", Unit::Count),
    ("proxies", "/storm/proxies", Unit::Count),
];

/// The figures of one run or of several as JSON: of several, the median of each,
/// with the least and the greatest.
#[must_use]
pub fn to_json(runs: &[Figures]) -> Value {
    let all: Vec<Value> = runs.iter().map(Figures::to_json).collect();
    match &all[..] {
        [one] => one.clone(),
        _ => json!({ "runs": all, "median": Value::Object(LINES.iter().filter_map(|(_, pointer, _)| {
            let spread = spread(&all, pointer)?;
            let shown = json!({ "median": spread.median, "min": spread.min, "max": spread.max });
            Some((pointer.trim_start_matches('/').replace('/', "."), shown))
        }).collect()) }),
    }
}

/// The figures of one run or of several as a table.
#[must_use]
pub fn table(runs: &[Figures]) -> String {
    let all: Vec<Value> = runs.iter().map(Figures::to_json).collect();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    if let [first, _, ..] = runs {
        let median = format!("median of {}", runs.len());
        table.set_header([first.title(), median, "least".to_owned(), "greatest".to_owned()]);
    } else if let [first] = runs {
        table.set_header([first.title(), String::new()]);
    }
    for (name, pointer, unit) in LINES {
        let Some(Spread { median, min, max }) = spread(&all, pointer) else { continue };
        let mut row = vec![name.to_owned(), unit.show(median)];
        if runs.len() > 1 {
            row.extend([unit.show(min), unit.show(max)]);
        }
        table.add_row(row);
    }
    table.to_string()
}

impl Figures {
    fn title(&self) -> String {
        let FleetOptions { mode, change, reach, seen_by, .. } = &self.options;
        let seen_by = seen_by.map_or_else(String::new, |count| format!(", seen by {count}"));
        format!("{mode:?}, reach {reach}, {change:?}{seen_by}")
    }
}

/// A figure in several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half are no greater; of an even number, what lies between the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// That of some values; `None` where there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

fn spread(runs: &[Value], pointer: &str) -> Option<Spread> {
    Spread::of(runs.iter().filter_map(|run| run.pointer(pointer)?.as_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_runs_the_median_and_the_spread_are_shown() {
        let runs = [3.0, 1.0, 8.0, 2.0].map(|value| json!({ "a": { "b": value } }));
        assert_eq!(spread(&runs, "/a/b"), Some(Spread { median: 2.5, min: 1.0, max: 8.0 }));
        assert_eq!(spread(&runs[..3], "/a/b").map(|spread| spread.median), Some(3.0));
        assert_eq!(spread(&runs, "/a/c"), None);
    }
}
