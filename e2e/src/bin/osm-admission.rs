//! Measures what admissions of pods cost the controller.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::Table;
use osm_e2e::fleet::{AdmissionCourse, AdmissionOptions, admit};

fn main() -> Result<()> {
    let options = AdmissionOptions::parse();
    // The rest of the machine is the controller's.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting")?;
    let figures = runtime.block_on(admit(&options))?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "".to_owned(),
        "one after the other".to_owned(),
        format!("over {} connections", options.connections),
    ]);
    let (single, many) = (&figures.single, &figures.many);
    let mut row = |name: &str, of: fn(&AdmissionCourse) -> String| {
        table.add_row([name.to_owned(), of(single), of(many)]);
    };
    row("pods", |course| course.pods.to_string());
    row("p50", |course| format!("{:.2} ms", course.latency.p50));
    row("p99", |course| format!("{:.2} ms", course.latency.p99));
    row("longest", |course| format!("{:.2} ms", course.latency.max));
    row("a minute, as fast as answered", |course| format!("{:.0}", course.a_minute()));
    row("CPU of one", |course| format!("{:.3} ms", course.cpu_seconds * 1e3 / course.pods as f64));
    row("a minute at half a core", |course| format!("{:.0}", course.a_minute_at_half_a_core()));
    row("memory before", |course| format!("{:.1} MiB", course.memory.0 as f64 / f64::from(1 << 20)));
    row("memory that stays of 1,000", |course| format!("{:.1} KiB", course.growth_a_thousand()));
    println!("{table}");
    Ok(())
}
