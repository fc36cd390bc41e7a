//! `osm mesh`: the meshes of a cluster.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::connection::{Cluster, ClusterArgs};
use super::install::UpgradeArgs;
use super::table::{Output, show};
use crate::install;
use crate::mesh_namespace::{MONITORED_BY, MeshNamespace};

/// Lists the meshes of a cluster, and upgrades them
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    #[command(subcommand)]
    command: MeshCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum MeshCommand {
    /// Lists the meshes of a cluster, with their namespaces
    List {
        /// How it is printed
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// The same as `osm upgrade`
    Upgrade(Box<UpgradeArgs>),
}

/// A mesh as a list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mesh {
    mesh: String,
    namespace: String,
    version: String,
    enforces_single_mesh: bool,
    namespaces: Vec<String>,
}

impl MeshArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            MeshCommand::Upgrade(args) => args.run(),
            MeshCommand::List { output, cluster } => cluster.run(async |cluster: Cluster| {
                let none = "no mesh is installed in this cluster; `osm install` brings one";
                let header = ["MESH NAME", "MESH NAMESPACE", "VERSION", "ADDED NAMESPACES"];
                show(output, &meshes(&cluster).await?, none, &header, |mesh| {
                    let Mesh { mesh, namespace, version, namespaces, .. } = mesh;
                    vec![mesh.clone(), namespace.clone(), version.clone(), namespaces.join(",")]
                })?;
                Ok(ExitCode::SUCCESS)
            }),
        }
    }
}

async fn meshes(cluster: &Cluster) -> Result<Vec<Mesh>> {
    let namespaces = cluster.objects.list(("v1", "Namespace"), None, MONITORED_BY).await?;
    let namespaces: Vec<MeshNamespace> = namespaces.iter().map(MeshNamespace::of).collect();
    let installed = install::installed(&cluster.objects).await?;
    Ok(installed
        .into_iter()
        .map(|found| {
            let of_mesh = namespaces.iter().filter(|each| each.mesh.as_ref() == Some(&found.mesh));
            Mesh {
                namespaces: of_mesh.map(|each| each.namespace.clone()).collect(),
                mesh: found.mesh,
                namespace: found.namespace,
                version: found.version,
                enforces_single_mesh: found.single,
            }
        })
        .collect())
}
