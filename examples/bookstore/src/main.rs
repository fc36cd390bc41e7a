//! The program `bookstore-app`: one of the demo's applications, chosen by its subcommand.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bookstore::http_client::{HttpClient, USER_AGENT};
use bookstore::ledger_client::LedgerConnection;
use bookstore::settings::{AskLedgerSettings, CallSettings, Cli, FetchSettings, Role};
use bookstore::shopper::Shopper;
use bookstore::{ledger, shopper, store, warehouse};
use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().role).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is closed.
            writeln!(std::io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(role: Role) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false).init();
    let stop = stop_on_signal()?;
    match role {
        Role::Buyer(settings) => {
            shopper::run(Shopper::Buyer, bind(settings.listen.socket()).await?, settings, stop).await
        }
        Role::Thief(settings) => {
            shopper::run(Shopper::Thief, bind(settings.listen.socket()).await?, settings, stop).await
        }
        Role::Store(settings) => store::run(bind(settings.listen.socket()).await?, settings, stop).await,
        Role::Warehouse(settings) => {
            warehouse::run(bind(settings.listen.socket()).await?, settings, stop).await
        }
        Role::Ledger(settings) => {
            ledger::run(bind(socket(settings.listen_address, settings.port)).await?, settings.identity, stop)
                .await
        }
        Role::Fetch(settings) => fetch(settings).await,
        Role::AskLedger(settings) => ask_ledger(settings).await,
    }
}

fn socket(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// Returns a token that SIGTERM and SIGINT cancel.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let address = listener.local_addr().context("the address listened on")?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    Ok(listener)
}

async fn fetch(settings: FetchSettings) -> anyhow::Result<()> {
    let call = CallSettings {
        new_connections: true,
        request_timeout_ms: settings.timeout_ms,
        log_every_requests: u64::MAX,
    };
    let request = http::Request::get(&settings.url)
        .header("client-app", &settings.client_app)
        .header("user-agent", USER_AGENT)
        .body(Full::new(Bytes::new()))
        .with_context(|| format!("the address {:?}", settings.url))?;
    let reply =
        HttpClient::new(&call).send(request).await.with_context(|| format!("GET {}", settings.url))?;
    let mut text = format!("HTTP {}\n", reply.status);
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&reply.body));
    print(&text)?;
    anyhow::ensure!(reply.status.is_success(), "GET {}: {}", settings.url, reply.status);
    Ok(())
}

async fn ask_ledger(settings: AskLedgerSettings) -> anyhow::Result<()> {
    let command = settings.command.join(" ");
    let limit = Duration::from_millis(settings.timeout_ms);
    let mut connection = LedgerConnection::open(&settings.address, limit).await.context(settings.address)?;
    let answer = connection.ask(&command).await?;
    print(&format!("{}\n{answer}\n", connection.greeting()))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}
