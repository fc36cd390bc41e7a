//! Logs: where they go, how they look, and how much is said.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What to log: a level (error, warn, info, debug), or directives such as `info,osm_xds=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "OSM_LOG", global = true)]
    pub log: String,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "OSM_LOG_FORMAT", global = true)]
    pub log_format: LogFormat,
}

/// Sends logs to standard error from now on. Called once, by a program's start.
///
/// # Errors
/// When the filter is not one, or logs go somewhere already.
pub fn install(options: &LogOptions) -> Result<()> {
    let filter = EnvFilter::try_new(&options.log).with_context(|| {
        format!("--log {:?} is not a log filter; try `info` or `info,osm_xds=debug`", options.log)
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    let installed = match options.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("logs cannot be set up: {error}"))
}
