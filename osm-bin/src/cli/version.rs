//! `osm version`: which versions of the mesh are where.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::connection::{Cluster, ClusterArgs};
use super::local::lines::print;
use super::table::{Output, show};
use crate::install;
use crate::version::Version;

/// Tells the version of this program, and of the control planes of the cluster
#[derive(Debug, Clone, Args)]
pub struct VersionArgs {
    /// Only that of this program; no cluster is asked
    #[arg(long)]
    pub client_only: bool,
    /// Only the number, of this program
    #[arg(long)]
    pub version_only: bool,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

impl VersionArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the cluster can't be asked; the version of this program is printed by then.
    pub fn run(self) -> Result<ExitCode> {
        let client = Version::current();
        if self.version_only {
            print(client.version)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.output == Output::Table {
            print(&format!("osm {client}, {}", client.commit.unwrap_or("of no known commit")))?;
        }
        let meshes = match self.client_only {
            true => Vec::new(),
            false => self
                .cluster
                .run(async |cluster: Cluster| install::installed(&cluster.objects).await)
                .map_err(|error| {
                    error.context("the cluster can't be asked; --client-only leaves it alone")
                })?,
        };
        match self.output {
            Output::Json => {
                print(&serde_json::to_string_pretty(&json!({"client": client, "meshes": meshes}))?)?;
            }
            Output::Table if meshes.is_empty() => {}
            Output::Table => {
                let header = ["MESH NAME", "MESH NAMESPACE", "VERSION"];
                show(Output::Table, &meshes, "", &header, |mesh| {
                    vec![mesh.mesh.clone(), mesh.namespace.clone(), mesh.version.clone()]
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
