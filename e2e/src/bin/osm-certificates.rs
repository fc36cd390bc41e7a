//! Measures what certificates cost: computing time beside that of signatures and keys alone, and memory beside their own length.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Table;
use osm_e2e::fleet::Spread;
use osm_e2e::signing::{Held, Rates, rates, resident};

/// Measures what certificates cost: computing time beside that of signatures and keys alone, and memory beside their own length
#[derive(Debug, Parser)]
#[command(name = "osm-certificates")]
struct Options {
    /// How many certificates are made in a run
    #[arg(long, default_value_t = 2_000)]
    certificates: usize,
    /// Of how many subjects a manager holds certificates
    #[arg(long, value_delimiter = ',', default_values_t = [2_000, 20_000])]
    subjects: Vec<usize>,
    /// How many times everything is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Holds so many in this process, and says what memory that takes; the other measurements start processes with it
    #[arg(long, hide = true)]
    hold: Option<usize>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(subjects) = options.hold {
        return hold(subjects);
    }
    ensure!(options.runs > 0 && options.certificates > 0, "--runs and --certificates must be at least 1");
    println!("{}", computing(&options)?);
    println!("{}", memory(&options)?);
    Ok(())
}

fn table(header: [&str; 4]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

fn computing(options: &Options) -> Result<Table> {
    let runs = (0..options.runs).map(|_| rates(options.certificates)).collect::<Result<Vec<_>>>()?;
    let mut table = table(["in a second of computing time", "median", "least", "greatest"]);
    let mut row = |name: &str, of: fn(&Rates) -> f64, show: fn(f64) -> String| -> Result<()> {
        let spread = Spread::of(runs.iter().map(of)).context("a run")?;
        table.add_row([name.to_owned(), show(spread.median), show(spread.min), show(spread.max)]);
        Ok(())
    };
    let count = |value: f64| format!("{value:.0}");
    let part = |value: f64| format!("{:.0} %", value * 100.0);
    row("signatures alone (ECDSA, P-256)", |rates| rates.signatures, count)?;
    row("new keys alone", |rates| rates.keys, count)?;
    row("a new key and a signature alone", Rates::bare, count)?;
    row("certificates by Issuer::sign", |rates| rates.signed, count)?;
    row("  of signatures alone", |rates| rates.signed / rates.signatures, part)?;
    row("certificates by a manager: key, request, signature, check", |rates| rates.managed, count)?;
    row("  of signatures alone", |rates| rates.managed / rates.signatures, part)?;
    row("  of new keys alone", |rates| rates.managed / rates.keys, part)?;
    row("  of a new key and a signature alone", |rates| rates.managed / rates.bare(), part)?;
    Ok(table)
}

fn memory(options: &Options) -> Result<Table> {
    let own = std::env::current_exe().context("where this program is")?;
    let mut table = table(["memory of a manager, bytes for each subject", "median", "least", "greatest"]);
    for subjects in &options.subjects {
        let mut measured: [Vec<f64>; 3] = Default::default();
        for _ in 0..options.runs {
            // In a process that has done nothing else.
            let output = Command::new(&own).arg(format!("--hold={subjects}")).output().context("starting")?;
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "holding {subjects} certificates: {errors}");
            for (all, figure) in measured.iter_mut().zip(said.split_whitespace()) {
                all.push(figure.parse().context("a figure")?);
            }
        }
        let names = ["resident", "  of that certificate and key, DER", "  the same as texts, PEM"];
        for (name, all) in names.iter().zip(measured) {
            let Spread { median, min, max } = Spread::of(all).context("a run")?;
            let shown = [median, min, max].map(|value| format!("{value:.0}"));
            let [median, min, max] = shown;
            table.add_row([format!("{name}, {subjects} subjects"), median, min, max]);
        }
    }
    Ok(table)
}

/// Prints how many bytes a subject takes, and how long its certificate and key are, in DER and as texts.
fn hold(subjects: usize) -> Result<()> {
    ensure!(subjects > 0, "there is nothing to hold");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(async {
        let mut held = Held::new()?;
        // What the first one needs once is no part of the others.
        held.grow(1).await?;
        let before = resident()?;
        held.grow(subjects + 1).await?;
        let grown = resident()?.saturating_sub(before);
        let each = |bytes: usize| bytes as f64 / (subjects + 1) as f64;
        let (der, pem) = held.bytes();
        println!("{} {} {}", grown as f64 / subjects as f64, each(der), each(pem));
        Ok(())
    })
}
