//! The walk itself: acts, waits, counts, and looks.

mod acts;
mod looks;
mod mesh;

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::DemoArgs;
use super::counters::Counters;
use super::manifests::{Edit, Folder};
use super::report::{JsonLines, Outcome, Progress, Reporter, StepReport, Summary};
use super::screen::Screen;
use super::script::{Check, STEPS, Step, check_counters};
use crate::local::client::Client;
use looks::Applications;
use mesh::Mesh;

/// Milliseconds between requests of the shoppers when nobody watches.
const FAST_PACE_MS: u32 = 15;
/// How often counters are read.
const LOOK: Duration = Duration::from_millis(150);
/// Requests of the buyer after which none is left that began before a change.
const UNDER_WAY: u64 = 20;
/// How long the requests of a step may take.
const STEP_LIMIT: Duration = Duration::from_secs(180);

/// Runs the demo in a mesh of this name, which keeps what it keeps under `state`.
/// Gives whether every step was as it should be.
///
/// # Errors
/// When the mesh can't be started, or ends by itself.
pub async fn demo(args: &DemoArgs, name: &str, state: &Path) -> Result<bool> {
    let watched = !args.once && std::io::stdout().is_terminal();
    let root = tempfile::Builder::new()
        .prefix("osm-bookstore-")
        .tempdir()
        .context("making a folder for manifests")?;
    let folder = Folder::new(root.path(), (!watched).then_some(FAST_PACE_MS));
    let mut reporter: Box<dyn Reporter> =
        if watched { Box::new(Screen::new()) } else { Box::new(JsonLines::new(std::io::stdout())) };
    let mut interrupted = signal(SignalKind::interrupt()).context("waiting for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut left = signal(SignalKind::hangup()).context("waiting for SIGHUP")?;
    let mut mesh = Mesh::prepare(args, name, state, folder.path())?;
    let walked = tokio::select! {
        walked = walk(&mut mesh, &folder, reporter.as_mut(), watched) => walked,
        _ = interrupted.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        _ = left.recv() => Err(anyhow::anyhow!("the terminal was closed")),
    };
    let stopped = mesh.stop().await;
    if watched && matches!(&walked, Err(error) if error.to_string() == "interrupted") {
        // Ctrl-C is how a person leaves.
        stopped?;
        return Ok(true);
    }
    let ok = walked?;
    stopped?;
    Ok(ok)
}

async fn walk(mesh: &mut Mesh, folder: &Folder, reporter: &mut dyn Reporter, stay: bool) -> Result<bool> {
    let begun = Instant::now();
    folder.edit(Edit::Add("base"))?;
    folder.edit(Edit::Set { file: "mesh-config.yaml", manifest: "mesh-config.permissive.yaml" })?;
    reporter.starting(folder.path());
    let status = mesh.start().await?;
    reporter.up(&status, begun.elapsed().as_secs_f64());
    let applications = Applications::find(&status)?;
    // Until the stores were ready, nobody could serve those who were already shopping.
    applications.reset(mesh.client()).await?;
    let mut walk = Walk { client: mesh.client().clone(), folder, applications, reporter, slowest: None };
    let mut failed = 0;
    for (number, step) in STEPS.iter().enumerate() {
        mesh.check()?;
        walk.reporter.begin(step, number + 1, STEPS.len());
        let report = walk.step(step).await.with_context(|| format!("step {}", step.name))?;
        failed += usize::from(!report.ok);
        walk.reporter.done(&report);
    }
    let buyer = walk.applications.buyer(&walk.client).await?;
    let summary = Summary {
        ok: failed == 0 && buyer.failures == 0,
        seconds: begun.elapsed().as_secs_f64(),
        steps: (STEPS.len(), failed),
        buyer,
        slowest_change_ms: walk.slowest,
    };
    walk.reporter.summary(&summary);
    if stay {
        walk.stay(mesh).await?;
    }
    Ok(summary.ok)
}

/// A walk under way.
struct Walk<'a> {
    client: Client,
    folder: &'a Folder,
    applications: Applications,
    reporter: &'a mut dyn Reporter,
    /// The slowest change until its last acknowledgement, in milliseconds.
    slowest: Option<f64>,
}

impl Walk<'_> {
    async fn step(&mut self, step: &Step) -> Result<StepReport> {
        let begun = Instant::now();
        let ledger_before = self.applications.ledger(&self.client).await?;
        let mut actions = Vec::new();
        let mut checks = Vec::new();
        for action in step.actions {
            let outcome = self.act(*action).await?;
            checks.extend(acts::check(&outcome));
            if let Outcome::Edited(change) = &outcome {
                self.slowest = self.slowest.into_iter().chain(change.acknowledged_ms).reduce(f64::max);
            }
            self.reporter.acted(&outcome);
            actions.push(outcome);
        }
        let (buyer, thief, total) = self.count(step).await?;
        checks.push(Check::new(
            "no request of the buyer has failed since the start",
            total.failures == 0 && buyer.requests >= step.buyer_requests,
            &total,
        ));
        for expectation in step.expectations {
            match check_counters(*expectation, &buyer, &thief) {
                Some(check) => checks.push(check),
                None => checks.extend(self.look(*expectation, &actions, &ledger_before).await?),
            }
        }
        Ok(StepReport {
            step: step.name.to_owned(),
            ok: checks.iter().all(|check| check.ok),
            seconds: begun.elapsed().as_secs_f64(),
            actions,
            buyer,
            thief,
            checks,
        })
    }

    /// Counts requests that begin after the step's actions, until there are as many
    /// as the step wants.
    async fn count(&mut self, step: &Step) -> Result<(Counters, Counters, Counters)> {
        let deadline = Instant::now() + STEP_LIMIT;
        // A proxy acknowledges a change before each of its threads routes by it.
        let acted = self.applications.buyer(&self.client).await?;
        while self.applications.buyer(&self.client).await?.since(&acted).requests < UNDER_WAY {
            if Instant::now() > deadline {
                bail!("the buyer made no {UNDER_WAY} requests within {} s", STEP_LIMIT.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        let first_buyer = self.applications.buyer(&self.client).await?;
        let first_thief = self.applications.thief(&self.client).await?;
        loop {
            let total = self.applications.buyer(&self.client).await?;
            let buyer = total.since(&first_buyer);
            let thief = self.applications.thief(&self.client).await?.since(&first_thief);
            let wanted = step.buyer_requests;
            self.reporter.progress(&Progress { buyer: &buyer, thief: &thief, wanted, total: &total });
            if buyer.requests >= wanted && thief.requests >= step.thief_requests {
                return Ok((buyer, thief, total));
            }
            if Instant::now() > deadline {
                bail!(
                    "{wanted} requests of the buyer and {} of the thief did not end within {} s: {buyer}; {thief}",
                    step.thief_requests,
                    STEP_LIMIT.as_secs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes on telling what a person's edits lead to, until the mesh ends.
    async fn stay(&mut self, mesh: &mut Mesh) -> Result<()> {
        let mut last = self.client.events(0, Duration::ZERO).await?.last;
        loop {
            mesh.check()?;
            let news = self.client.events(last, Duration::from_secs(1)).await?;
            last = news.last;
            for event in news.events {
                if let crate::local::api::Happening::Changed(change) = event.what {
                    self.reporter.acted(&Outcome::Edited(change));
                }
            }
        }
    }
}
