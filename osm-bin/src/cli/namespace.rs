//! `osm namespace`: which namespaces are in a mesh.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use osm_k8s::objects::ObjectKey;
use serde_json::Value;

use super::args::NamedMeshArgs;
use super::connection::{Cluster, ClusterArgs};
use super::local::lines::print;
use super::table::{Output, show};
use crate::install;
use crate::mesh_namespace::{self, Addition, MONITORED_BY, MeshNamespace};

/// Adds namespaces to a mesh, takes them out, and lists them
#[derive(Debug, Clone, Args)]
pub struct NamespaceArgs {
    #[command(subcommand)]
    command: NamespaceCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum NamespaceCommand {
    /// Adds namespaces to a mesh; pods that are started from then on get a sidecar
    Add {
        /// The namespaces
        #[arg(value_name = "NAMESPACE", required = true)]
        namespaces: Vec<String>,
        /// Without sidecars: only pods that ask for one get it
        #[arg(long)]
        disable_sidecar_injection: bool,
        #[command(flatten)]
        to: NamedMeshArgs,
    },
    /// Takes namespaces out of a mesh; pods keep their sidecars until they are started anew
    Remove {
        /// The namespaces
        #[arg(value_name = "NAMESPACE", required = true)]
        namespaces: Vec<String>,
        #[command(flatten)]
        from: NamedMeshArgs,
    },
    /// Has webhooks leave namespaces alone, whatever mesh they are in
    Ignore {
        /// The namespaces
        #[arg(value_name = "NAMESPACE", required = true)]
        namespaces: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Lists the namespaces that are in a mesh
    List {
        /// Only those of this mesh
        #[arg(long, value_name = "NAME")]
        mesh_name: Option<String>,
        /// How it is printed
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

impl NamespaceArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            NamespaceCommand::Add { namespaces, disable_sidecar_injection, to } => {
                let (mesh, injects) = (&to.mesh_name, !disable_sidecar_injection);
                to.cluster.run(async |cluster: Cluster| add(&cluster, &namespaces, mesh, injects).await)?;
            }
            NamespaceCommand::Remove { namespaces, from } => {
                let mesh = &from.mesh_name;
                from.cluster.run(async |cluster: Cluster| remove(&cluster, &namespaces, mesh).await)?;
            }
            NamespaceCommand::Ignore { namespaces, cluster } => {
                cluster.run(async |cluster: Cluster| ignore(&cluster, &namespaces).await)?;
            }
            NamespaceCommand::List { mesh_name, output, cluster } => {
                cluster.run(async |cluster: Cluster| list(&cluster, mesh_name.as_deref(), output).await)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(cluster: &Cluster, namespaces: &[String], mesh: &str, injects: bool) -> Result<()> {
    let meshes = install::installed(&cluster.objects).await?;
    if !meshes.iter().any(|installed| installed.mesh == mesh) {
        let names: Vec<&str> = meshes.iter().map(|installed| installed.mesh.as_str()).collect();
        match names.as_slice() {
            [] => bail!("no mesh is installed in this cluster; `osm install` brings one"),
            names => bail!("there is no mesh {mesh}, only {}; name it with --mesh-name", names.join(", ")),
        }
    }
    let places: Vec<String> = meshes.into_iter().map(|installed| installed.namespace).collect();
    let mut decided = Vec::new();
    for name in namespaces {
        let decision = mesh_namespace::addition(&namespace(cluster, name).await?, mesh, &places);
        if let Addition::Refuse(why) = decision {
            bail!("{why}; no namespace was changed");
        }
        decided.push((name, decision));
    }
    for (name, decision) in decided {
        if let Addition::Skip(why) = decision {
            print(&format!("namespace {name} is left as it is: {why}"))?;
            continue;
        }
        let fields = mesh_namespace::added(mesh, injects);
        cluster.objects.merge(&ObjectKey::of_namespace(name), &fields).await?;
        print(&format!("namespace {name} is in the mesh {mesh}"))?;
    }
    if injects {
        print(
            "pods that run already get their sidecar when they are started anew: `kubectl rollout restart deployment`",
        )?;
    }
    Ok(())
}

async fn remove(cluster: &Cluster, namespaces: &[String], mesh: &str) -> Result<()> {
    for name in namespaces {
        if !mesh_namespace::is_in(&namespace(cluster, name).await?, mesh) {
            bail!("namespace {name} is not in the mesh {mesh}; `osm namespace list` shows which are");
        }
        cluster.objects.merge(&ObjectKey::of_namespace(name), &mesh_namespace::removed()).await?;
        print(&format!("namespace {name} is in the mesh {mesh} no more"))?;
    }
    Ok(())
}

async fn ignore(cluster: &Cluster, namespaces: &[String]) -> Result<()> {
    for name in namespaces {
        let merged = cluster.objects.merge(&ObjectKey::of_namespace(name), &mesh_namespace::ignored()).await;
        merged.with_context(|| format!("namespace {name} can't be ignored"))?;
        print(&format!("namespace {name} is ignored"))?;
    }
    Ok(())
}

async fn list(cluster: &Cluster, mesh: Option<&str>, output: Output) -> Result<()> {
    let selector = mesh.map_or(MONITORED_BY.to_owned(), |mesh| format!("{MONITORED_BY}={mesh}"));
    let found = cluster.objects.list(("v1", "Namespace"), None, &selector).await?;
    let namespaces: Vec<MeshNamespace> = found.iter().map(MeshNamespace::of).collect();
    let none = "no namespace is in a mesh; `osm namespace add NAMESPACE` adds one";
    show(output, &namespaces, none, &["NAMESPACE", "MESH", "SIDECAR-INJECTION"], |each| {
        vec![each.namespace.clone(), each.mesh.clone().unwrap_or_default(), each.injection().to_owned()]
    })
}

/// A namespace that must be there.
pub(super) async fn namespace(cluster: &Cluster, name: &str) -> Result<Value> {
    let found = cluster.objects.get(&ObjectKey::of_namespace(name)).await?;
    found
        .with_context(|| format!("there is no namespace {name}; `kubectl create namespace {name}` makes one"))
}
