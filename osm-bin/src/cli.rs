//! The commands of `osm`.

pub mod args;
pub mod certs;
pub mod completion;
mod confirm;
pub mod connection;
pub mod crds;
pub mod env;
pub mod install;
pub mod local;
pub mod mesh;
pub mod metrics;
pub mod namespace;
pub mod policy;
pub mod proxy;
mod snapshot;
pub mod support;
pub mod table;
pub mod uninstall;
pub mod verify;
pub mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

/// Open Service Mesh
#[derive(Debug, Clone, Parser)]
#[command(name = "osm", version, about = "A service mesh: control plane and tools for Envoy")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Install(Box<install::InstallArgs>),
    Upgrade(Box<install::UpgradeArgs>),
    Uninstall(uninstall::UninstallArgs),
    Mesh(mesh::MeshArgs),
    #[command(visible_alias = "ns")]
    Namespace(namespace::NamespaceArgs),
    Metrics(metrics::MetricsArgs),
    Proxy(proxy::ProxyArgs),
    Certs(certs::CertsArgs),
    Policy(policy::PolicyArgs),
    Verify(verify::VerifyArgs),
    Support(support::SupportArgs),
    Version(version::VersionArgs),
    Env(env::EnvArgs),
    Completion(completion::CompletionArgs),
    Crds(crds::CrdsArgs),
    Local(local::LocalArgs),
}

/// The command line of `osm`, to be looked at.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs `osm`.
#[must_use]
pub fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        match Cli::parse().command {
            Command::Install(args) => args.run(),
            Command::Upgrade(args) => args.run(),
            Command::Uninstall(args) => args.run(),
            Command::Mesh(args) => args.run(),
            Command::Namespace(args) => args.run(),
            Command::Metrics(args) => args.run(),
            Command::Proxy(args) => args.run(),
            Command::Certs(args) => args.run(),
            Command::Policy(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Support(args) => args.run(),
            Command::Version(args) => args.run(),
            Command::Env(args) => args.run(&command()),
            Command::Completion(args) => args.run(command()),
            Command::Crds(args) => args.run(),
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
