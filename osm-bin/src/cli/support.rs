//! `osm support`: what to look at, and what to show, when something is wrong.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::connection::{Cluster, ClusterArgs};
use super::local::lines::print;

/// Collects what helps to find a mistake
#[derive(Debug, Clone, Args)]
pub struct SupportArgs {
    #[command(subcommand)]
    command: SupportCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum SupportCommand {
    /// Writes objects, logs and what Envoys say into a folder, without secrets
    BugReport {
        /// The name of the mesh
        #[arg(long, value_name = "NAME", default_value = "osm", env = "OSM_MESH_NAME")]
        mesh_name: String,
        /// Namespaces of applications to look at, besides the control plane's; all of the mesh without
        #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
        app_namespaces: Vec<String>,
        /// The folder to write, which must not be there yet
        #[arg(long, value_name = "FOLDER", default_value = "osm-bug-report")]
        out: PathBuf,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

impl SupportArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the report can't be written. What can't be looked at is noted in it.
    pub fn run(self) -> Result<ExitCode> {
        let SupportCommand::BugReport { mesh_name, app_namespaces, out, cluster } = self.command;
        cluster.run(async |cluster: Cluster| {
            let written = report::write(&cluster, &mesh_name, &app_namespaces, &out).await?;
            print(&format!(
                "{written} files are in {}; look through them before you send them",
                out.display()
            ))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
