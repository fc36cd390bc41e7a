//! The program `osm-controller`: a control plane from its start to SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use osm_core::catalog::{Catalog, MeshCatalog};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ControllerArgs;
use crate::controller::Controller;
use crate::readiness::Readiness;
use crate::{limits, telemetry};

/// How often readiness is looked at until everything is ready.
const LOOK: Duration = Duration::from_millis(5);

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
    let forever = async {
        announced.await?;
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
