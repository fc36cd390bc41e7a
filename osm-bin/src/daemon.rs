//! The program `osm-controller`: a control plane from its start to SIGTERM.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use osm_core::catalog::{Catalog, MeshCatalog, SnapshotWatch};
use osm_core::diagnostic::Severity;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ControllerArgs;
use crate::controller::Controller;
use crate::readiness::Readiness;
use crate::{limits, telemetry};

/// How often readiness is looked at until everything is ready.
const LOOK: Duration = Duration::from_millis(5);
/// How many findings of one change are logged in full.
const LOGGED_FINDINGS: usize = 20;

/// Runs `osm-controller`.
#[must_use]
pub fn main() -> ExitCode {
    let args = ControllerArgs::parse();
    let run = || -> Result<()> {
        telemetry::install(&args.logs)?;
        limits::raise_open_files();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting")?;
        runtime.block_on(run(&args))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("osm-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &ControllerArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let mut controller = Controller::start(args.options(), args.open_sources()?).await?;
    let announced = announce(
        controller.readiness().clone(),
        controller.catalog().clone(),
        (controller.xds_address(), controller.admin_address()),
        args.ready_file.clone(),
    );
    let watched = tell_findings(controller.catalog().watch());
    let forever = async {
        let (announced, ()) = tokio::join!(announced, watched);
        announced?;
        std::future::pending().await
    };
    let ended: Result<()> = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        failed = controller.failed() => Err(failed.into()),
        result = forever => result,
    };
    controller.shutdown().await;
    ended
}

/// Waits until everything is ready and says so.
async fn announce(
    readiness: Readiness,
    catalog: Catalog,
    (xds, admin): (SocketAddr, Option<SocketAddr>),
    file: Option<PathBuf>,
) -> Result<()> {
    while readiness.check().is_err() {
        tokio::time::sleep(LOOK).await;
    }
    let snapshot = catalog.snapshot();
    tracing::info!(
        services = snapshot.services().count(),
        pods = snapshot.workloads().count(),
        permissive = snapshot.config().permissive,
        "ready"
    );
    let Some(file) = file else { return Ok(()) };
    let addresses = json!({ "xds": xds.to_string(), "admin": admin.map(|address| address.to_string()) });
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, format!("{addresses}\n"))
        .and_then(|()| std::fs::rename(&fresh, &file))
        .with_context(|| format!("writing --ready-file {}", file.display()))
}

/// Logs each finding when it comes and when it is gone, until the catalog ends.
async fn tell_findings(mut snapshots: SnapshotWatch) {
    let mut known = BTreeMap::new();
    let mut is_first = true;
    while let Some((snapshot, change)) = snapshots.changed().await {
        if !std::mem::take(&mut is_first) && !change.diagnostics {
            continue;
        }
        let now: BTreeMap<String, Severity> =
            snapshot.diagnostics().map(|finding| (finding.to_string(), finding.severity)).collect();
        let came: Vec<_> = now.iter().filter(|(text, _)| !known.contains_key(*text)).collect();
        let gone: Vec<_> = known.keys().filter(|text| !now.contains_key(*text)).collect();
        for (text, severity) in came.iter().take(LOGGED_FINDINGS) {
            match severity {
                Severity::Error => tracing::error!("{text}"),
                Severity::Warning => tracing::warn!("{text}"),
                Severity::Info => tracing::info!("{text}"),
            }
        }
        for text in gone.iter().take(LOGGED_FINDINGS) {
            tracing::info!("no longer: {text}");
        }
        let more = came.len().max(gone.len()).saturating_sub(LOGGED_FINDINGS);
        if more > 0 {
            tracing::warn!(came = came.len(), gone = gone.len(), "more findings than are logged");
        }
        known = now;
    }
}
