//! `osm policy`: what the policy of a mesh says of two pods.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use osm_core::name::QualifiedName;

use super::args::LookArgs;
use super::connection::Cluster;
use super::local::lines::print;
use super::snapshot::snapshot;
use super::table::Output;
use crate::install::{self, Installed};
use crate::verdict::Verdict;

/// Says what policy decides
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum PolicyCommand {
    /// Whether one pod may call another, and which objects say so; the exit code is 1 when it may not
    CheckPods {
        /// Who calls, as NAMESPACE/POD
        source: QualifiedName,
        /// Who is called, as NAMESPACE/POD
        destination: QualifiedName,
        #[command(flatten)]
        look: LookArgs,
    },
}

impl PolicyArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be found out; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let PolicyCommand::CheckPods { source, destination, look: LookArgs { at, output } } = self.command;
        at.cluster.run(async |cluster: Cluster| {
            let mesh = mesh(&cluster, &at.mesh_name).await?;
            let verdict = Verdict::of(&*snapshot(&cluster, &mesh).await?, &source, &destination)?;
            match output {
                Output::Json => print(&serde_json::to_string_pretty(&verdict)?)?,
                Output::Table => print(&verdict.to_string())?,
            }
            Ok(if verdict.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// The mesh of that name, which must be installed.
pub(super) async fn mesh(cluster: &Cluster, name: &str) -> Result<Installed> {
    let meshes = install::installed(&cluster.objects).await?;
    let found = meshes.into_iter().find(|mesh| mesh.mesh == name);
    found.with_context(|| {
        format!("there is no mesh {name} in this cluster; `osm mesh list` shows which there are")
    })
}
