//! `osm mesh`: the meshes of a cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use osm_k8s::forward::{self, PodPort};
use serde::Serialize;

use super::connection::{Cluster, ClusterArgs};
use super::install::UpgradeArgs;
use super::table::{Output, show};
use super::verify::HEALTH_PORT;
use crate::install::{self, control_plane_label};
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
    /// The kinds of the Service Mesh Interface, as its control plane says; none while it does not answer.
    smi: BTreeMap<String, String>,
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
                let header = ["MESH NAME", "MESH NAMESPACE", "VERSION", "ADDED NAMESPACES", "SMI SUPPORTED"];
                show(output, &meshes(&cluster).await?, none, &header, |mesh| {
                    let Mesh { mesh, namespace, version, namespaces, smi, .. } = mesh;
                    vec![mesh.clone(), namespace.clone(), version.clone(), namespaces.join(","), short(smi)]
                })?;
                Ok(ExitCode::SUCCESS)
            }),
        }
    }
}

async fn meshes(cluster: &Cluster) -> Result<Vec<Mesh>> {
    let namespaces = cluster.objects.list(("v1", "Namespace"), None, MONITORED_BY).await?;
    let namespaces: Vec<MeshNamespace> = namespaces.iter().map(MeshNamespace::of).collect();
    let mut meshes = Vec::new();
    for found in install::installed(&cluster.objects).await? {
        let of_mesh = namespaces.iter().filter(|each| each.mesh.as_ref() == Some(&found.mesh));
        meshes.push(Mesh {
            smi: smi(cluster, &found.namespace).await?,
            namespaces: of_mesh.map(|each| each.namespace.clone()).collect(),
            mesh: found.mesh,
            namespace: found.namespace,
            version: found.version,
            enforces_single_mesh: found.single,
        });
    }
    Ok(meshes)
}

/// What the first replica that answers says of the Service Mesh Interface.
async fn smi(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let pods = cluster.objects.list(("v1", "Pod"), Some(namespace), &control_plane_label()).await?;
    for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Running") {
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        let to = PodPort { namespace, pod, port: HEALTH_PORT };
        let Ok(answer) = forward::ask(&cluster.client, to, "GET", "smi/version").await else { continue };
        if let Ok(versions) = serde_json::from_slice(&answer.body) {
            return Ok(versions);
        }
    }
    Ok(BTreeMap::new())
}

/// Kinds and versions without the groups, on one line.
fn short(versions: &BTreeMap<String, String>) -> String {
    let version = |api: &str| api.rsplit('/').next().unwrap_or_default().to_owned();
    let kinds: Vec<String> = versions.iter().map(|(kind, api)| format!("{kind}:{}", version(api))).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_shown_as_the_control_plane_tells_them() {
        let told = serde_json::to_vec(&crate::version::smi_versions()).unwrap();
        let shown = short(&serde_json::from_slice(&told).unwrap());
        assert_eq!(
            shown,
            "HTTPRouteGroup:v1alpha4,TCPRoute:v1alpha4,TrafficSplit:v1alpha4,TrafficTarget:v1alpha3"
        );
        assert_eq!(short(&BTreeMap::new()), "-");
    }
}
