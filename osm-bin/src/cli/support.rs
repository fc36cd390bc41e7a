//! `osm support`: what to look at, and what to show, when something is wrong.

mod findings;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::args::NamedMeshArgs;
use super::connection::Cluster;
use super::local::lines::print;
use super::table::Output;

/// Collects what helps to find a mistake
#[derive(Debug, Clone, Args)]
pub struct SupportArgs {
    #[command(subcommand)]
    command: SupportCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum SupportCommand {
    /// Says what the code of a finding means, as logs and refusals have it; without a code, what all mean
    ErrorInfo {
        /// The code, such as `target-to-nowhere`
        code: Option<String>,
        /// How it is printed
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
    },
    /// Writes objects, logs and what Envoys say into a folder, without secrets
    BugReport {
        /// Namespaces of applications to look at, besides the control plane's; all of the mesh without
        #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
        app_namespaces: Vec<String>,
        /// The folder to write, which must not be there yet
        #[arg(long, value_name = "FOLDER", default_value = "osm-bug-report")]
        out: PathBuf,
        #[command(flatten)]
        of: NamedMeshArgs,
    },
}

impl SupportArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the report can't be written. What can't be looked at is noted in it.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            SupportCommand::ErrorInfo { code, output } => findings::print(code.as_deref(), output)?,
            SupportCommand::BugReport { app_namespaces, out, of } => {
                of.cluster.run(async |cluster: Cluster| {
                    let written = report::write(&cluster, &of.mesh_name, &app_namespaces, &out).await?;
                    let place = out.display();
                    print(&format!("{written} files are in {place}; look through them before you send them"))
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
