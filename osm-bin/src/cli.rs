//! The commands of `osm`.

pub mod local;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Open Service Mesh
#[derive(Debug, Clone, Parser)]
#[command(name = "osm", version, about = "A service mesh: control plane and tools for Envoy")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Local(local::LocalArgs),
}

/// Runs `osm`.
#[must_use]
pub fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        match Cli::parse().command {
            Command::Local(args) => args.run(),
        }
    };
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("osm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
