//! The program `osm-controller`: a control plane from its start to SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::diagnostic::{Diagnostic, Severity};
use osm_k8s::pod_events::Reason;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{ControllerArgs, OpenSources};
use crate::cluster::roots::Place;
use crate::cluster::{self, ClusterOptions};
use crate::controller::{Authority, Controller, ControllerOptions, TaskFailed};
use crate::fatal::{self, Fatal, because};
use crate::findings::Findings;
use crate::readiness::Readiness;
use crate::{limits, telemetry};

/// How often readiness is looked at until everything is ready.
const LOOK: Duration = Duration::from_millis(5);
/// How many findings of one change are logged in full.
const LOGGED_FINDINGS: usize = 20;

/// Runs `osm-controller`.
#[must_use]
pub fn main() -> ExitCode {
    let args = match ControllerArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr() {
                fatal::tell(&fatal::kubeconfigs(), Reason::InvalidArguments, &error.to_string());
            }
            error.exit();
        }
    };
    let run = || -> Result<(), Fatal> {
        telemetry::install(&args.logs).map_err(because(Reason::InvalidArguments))?;
        limits::raise_open_files();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting")?;
        runtime.block_on(run(&args))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fatal { reason, error }) => {
            eprintln!("osm-controller: {error:#}");
            if let Some(reason) = reason {
                fatal::tell(&args.kubeconfigs, reason, &format!("{error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &ControllerArgs) -> Result<(), Fatal> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let opened = args.open_sources().await.map_err(because(Reason::InvalidArguments))?;
    let options = options(args, &opened).await?;
    let started = Controller::start(options, opened.source).await;
    let mut controller = started.map_err(because(Reason::Initialization))?;
    let announced = announce(
        controller.readiness().clone(),
        controller.catalog().clone(),
        (controller.xds_address(), controller.admin_address()),
        args.ready_file.clone(),
    );
    let mut findings = Findings::default();
    let watched = findings.follow(controller.catalog().watch(), log_findings);
    let forever = async {
        let (announced, ()): (Result<()>, ()) = tokio::join!(announced, watched);
        announced?;
        std::future::pending::<Result<(), Fatal>>().await
    };
    let ended: Result<(), Fatal> = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        failed = controller.failed() => Err(Fatal { reason: reason_of(&failed), error: failed.into() }),
        result = forever => result,
    };
    controller.shutdown().await;
    ended
}

/// What the control plane is started with: by the flags, and what was found of the cluster.
async fn options(args: &ControllerArgs, opened: &OpenSources) -> Result<ControllerOptions, Fatal> {
    let unfit = |text: &'static str| because(Reason::InvalidArguments)(anyhow!(text));
    if opened.server.is_none() && args.webhook_listen.is_some() {
        return Err(unfit("--webhook-listen needs --source kubernetes"));
    }
    let mut options = ControllerOptions { freshness: opened.freshness.clone(), ..args.options() };
    if let Some(name) = &args.ca_secret {
        let server = opened.server.as_ref().ok_or_else(|| unfit("--ca-secret needs --source kubernetes"))?;
        let authority =
            cluster::authority::open(server, &args.osm_namespace, name, cluster::authority::DEADLINE).await;
        options.authority = Authority::Given(authority.map_err(because(Reason::CertificateManager))?);
    }
    if let Some(issuer) = args.vault.issuer().map_err(because(Reason::InvalidArguments))? {
        options.authority = Authority::Vault(issuer);
    }
    let policies = opened.policies.clone();
    let server = opened.server.clone();
    let cluster = server.map(|server| args.cluster_options(server, policies)).transpose();
    options.cluster = cluster.map_err(because(Reason::Initialization))?;
    if let Some(ClusterOptions { server, webhooks, statuses: Some(statuses) }) = &options.cluster {
        let place = Place {
            server: server.clone(),
            namespace: args.osm_namespace.clone(),
            mesh_name: args.mesh_name.clone(),
            replica: statuses.replica.clone(),
            first_secret: args.ca_secret.clone(),
            has_webhooks: webhooks.is_some(),
        };
        let rotation = cluster::roots::options(place).await;
        options.rotation = Some(rotation.map_err(because(Reason::CertificateManager))?);
    }
    Ok(options)
}

/// The reason of an Event, where one is about a part that ended.
fn reason_of(failed: &TaskFailed) -> Option<Reason> {
    ["server certificate", "certificate manager"]
        .contains(&failed.name)
        .then_some(Reason::CertificateIssuance)
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

/// Logs findings that came and that are gone, the worst first.
fn log_findings(came: &[&Diagnostic], gone: &[&Diagnostic]) {
    for finding in came.iter().rev().take(LOGGED_FINDINGS) {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
            Severity::Info => tracing::info!("{finding}"),
        }
    }
    for finding in gone.iter().rev().take(LOGGED_FINDINGS) {
        tracing::info!("no longer: {finding}");
    }
    if came.len().max(gone.len()) > LOGGED_FINDINGS {
        tracing::warn!(came = came.len(), gone = gone.len(), "more findings than are logged");
    }
}
