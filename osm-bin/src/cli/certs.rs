//! `osm certs`: the certificates that are in force, and the roots that they are of.

mod change;
mod roots;
mod sidecars;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::SidecarsArgs;
use super::connection::Cluster;
use super::local::lines::print;
use super::table::Output;
use change::{RollbackArgs, RotateArgs};
use roots::Root;
use sidecars::Certificate;

/// Shows certificates, and exchanges the root that they are of
#[derive(Debug, Clone, Args)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum CertsCommand {
    /// Shows the roots of the mesh and how far a change of them is, then what each sidecar proves itself with, until when, and
    /// until when its root is valid; the exit code is 1 if one has no certificate
    Status(SidecarsArgs),
    /// Exchanges the root of the mesh while it serves: for a new one of the mesh's own, or for one that has a
    /// MeshRootCertificate
    RotateRoot(RotateArgs),
    /// Leads a change of roots that is under way back to the root that signed before
    Rollback(RollbackArgs),
}

/// All of it, as it is printed for programs.
#[derive(Debug, Serialize)]
struct Everything<'a> {
    roots: &'a [Root],
    sidecars: &'a [Certificate],
}

impl CertsArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the cluster can't be asked, and when it can't be done; what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            CertsCommand::Status(args) => status(args),
            CertsCommand::RotateRoot(args) => {
                let work = async |cluster: Cluster| change::rotate(&cluster, &args).await;
                args.change.cluster.run(work)
            }
            CertsCommand::Rollback(args) => {
                let work = async |cluster: Cluster| change::roll_back(&cluster, &args).await;
                args.change.cluster.run(work)
            }
        }
    }
}

fn status(args: SidecarsArgs) -> Result<ExitCode> {
    let SidecarsArgs { namespace, output, cluster } = args;
    let own = &cluster.osm_namespace;
    cluster.run(async |cluster: Cluster| {
        let seen = roots::roots(&cluster, own).await;
        let (roots, unseen) = match seen {
            Ok(roots) => (roots, None),
            // Whoever may look at some pods only sees their certificates all the same.
            Err(error) if roots::is_forbidden(&error) => (Vec::new(), Some(error)),
            Err(error) => return Err(error),
        };
        let certificates = sidecars::certificates(&cluster, namespace.as_deref()).await?;
        match output {
            Output::Table => {
                match unseen {
                    None => roots::print(&roots)?,
                    Some(error) => print(&format!("the roots are not shown: {error:#}"))?,
                }
                print("")?;
                sidecars::print(&certificates)?;
            }
            Output::Json => {
                let all = Everything { roots: &roots, sidecars: &certificates };
                print(&serde_json::to_string_pretty(&all)?)?;
            }
        }
        let all = certificates.iter().all(Certificate::is_there);
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
