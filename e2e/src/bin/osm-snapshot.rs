//! Measures what a snapshot of a mesh takes: from scratch, and after one change.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Table;
use osm_core::model::MeshObject;
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_e2e::fleet::Percentiles;
use serde_json::{Value, json};

/// Measures what a snapshot of a mesh takes: from scratch, and after one change
#[derive(Debug, Parser)]
#[command(name = "osm-snapshot")]
struct Options {
    /// How many services, each with two pods, a TrafficTarget and a TrafficSplit
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    services: Vec<usize>,
    /// How many times a snapshot is made from scratch
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// How many changes of each kind
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// A file for the figures
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.runs > 0 && options.changes > 0, "--runs and --changes must be at least 1");
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["services", "what", "median", "p99", "max", "linked anew"]);
    let mut figures = Vec::new();
    for services in &options.services {
        for Measured { what, took, linked } in measure(*services, &options)? {
            let Percentiles { p50, p99, max } = took;
            let shown = [p50, p99, max].map(|milliseconds| format!("{milliseconds:.3} ms"));
            let [p50, p99, max] = shown;
            table.add_row([services.to_string(), what.to_owned(), p50, p99, max, format!("{linked:.1}")]);
            figures.push(row(*services, what, took, linked));
        }
    }
    println!("{table}");
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&Value::Array(figures)).context("writing JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The object of a service as a round of changes makes it.
type Change = fn(&Fleet, usize, usize) -> MeshObject;

/// One line of the table.
struct Measured {
    what: &'static str,
    /// In milliseconds.
    took: Percentiles,
    /// How many things were linked each time.
    linked: f64,
}

fn row(services: usize, what: &str, took: Percentiles, linked: f64) -> Value {
    let Percentiles { p50, p99, max } = took;
    json!({ "services": services, "what": what, "linked": linked,
        "milliseconds": { "p50": p50, "p99": p99, "max": max } })
}

fn measure(services: usize, options: &Options) -> Result<Vec<Measured>> {
    let fleet = Fleet { services, endpoints: 2, clients: services, reach: 10, permissive: false };
    let mut objects = fleet.objects();
    objects.extend((0..services).map(|service| Fleet::split(service, 1).into()));
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let mut took = Vec::new();
    for _ in 0..options.runs {
        builder = SnapshotBuilder::new(MeshOptions::default());
        let events: Vec<_> = SourceEvent::round(objects.iter().cloned()).collect();
        let begin = Instant::now();
        events.into_iter().for_each(|event| builder.apply(event));
        builder.build().context("a snapshot from scratch")?;
        took.push(begin.elapsed());
    }
    let linked = builder.linked() as f64;
    let mut measured = vec![Measured { what: "from scratch", took: percentiles(&took), linked }];
    let kinds: [(&str, Change); 4] = [
        ("an endpoint", |fleet, service, round| fleet.slice(service, 1 + round % 2).into()),
        ("a pod", pod),
        ("a policy", policy),
        ("a split", |_, service, round| Fleet::split(service, 2 + round as u32).into()),
    ];
    for (what, change) in kinds {
        measured.push(changes(what, &mut builder, options.changes, |number| {
            // Each time another service; when all had their turn, in the other direction.
            change(&fleet, number * 7919 % services, number / services)
        })?);
    }
    Ok(measured)
}

fn pod(_: &Fleet, service: usize, round: usize) -> MeshObject {
    let mut pod = Fleet::server(service, 0);
    pod.ready = round % 2 == 1;
    pod.into()
}

fn policy(fleet: &Fleet, service: usize, round: usize) -> MeshObject {
    let mut target = fleet.target(service);
    target.sources.truncate(if round.is_multiple_of(2) { 1 } else { usize::MAX });
    target.into()
}

fn changes(
    what: &'static str,
    builder: &mut SnapshotBuilder,
    count: usize,
    change: impl Fn(usize) -> MeshObject,
) -> Result<Measured> {
    let linked = builder.linked();
    let mut took = Vec::new();
    for number in 0..count {
        let event = SourceEvent::apply(change(number));
        let begin = Instant::now();
        builder.apply(event);
        let built = builder.build();
        took.push(begin.elapsed());
        built.with_context(|| format!("change {number}, {what}"))?;
    }
    let linked = (builder.linked() - linked) as f64 / count as f64;
    Ok(Measured { what, took: percentiles(&took), linked })
}

fn percentiles(took: &[Duration]) -> Percentiles {
    Percentiles::of(&took.iter().map(|took| took.as_secs_f64() * 1e3).collect::<Vec<_>>())
}
