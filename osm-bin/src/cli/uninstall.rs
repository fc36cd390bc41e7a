//! `osm uninstall`: nothing of a mesh is left.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::args::NamedMeshArgs;
use super::confirm::confirm;
use super::connection::Cluster;
use super::install::{duration, tell};
use super::local::lines::print;
use crate::chart::Chart;
use crate::install::{self, Removal};

/// Takes a mesh out of a cluster
///
/// Its control plane, its webhooks and its marks on namespaces go. Pods keep the sidecar that they have until they are
/// started anew.
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// What is taken away
    #[arg(value_name = "mesh", default_value = "mesh", value_parser = ["mesh"], hide = true)]
    pub what: String,
    /// Which mesh
    #[command(flatten)]
    pub mesh: NamedMeshArgs,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Take away the mesh's kinds, with all policy of those kinds, and its root certificate too
    #[arg(short = 'a', long)]
    pub delete_cluster_wide_resources: bool,
    /// Take away the namespace of the control plane too, with all that is in it
    #[arg(long)]
    pub delete_namespace: bool,
    /// The Secret of the mesh's root certificate [default: the one that it was installed with]
    #[arg(long, value_name = "NAME")]
    pub ca_bundle_secret_name: Option<String>,
    /// How long it may take, in seconds or as in `5m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

impl UninstallArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let definitions = Chart::built_in()?.definitions()?;
        let removal = Removal {
            ca_secret: self.ca_bundle_secret_name.clone(),
            cluster_wide: self.delete_cluster_wide_resources,
            with_namespace: self.delete_namespace,
            bound: self.timeout,
            ..removal(&self.mesh.mesh_name, &self.mesh.cluster.osm_namespace, &definitions)
        };
        let Removal { mesh, namespace, .. } = &removal;
        if !self.force && !confirm(&format!("Uninstall the mesh {mesh} in {namespace}?"))? {
            print("nothing was done")?;
            return Ok(ExitCode::FAILURE);
        }
        self.mesh.cluster.run(async |cluster: Cluster| {
            install::uninstall(&cluster.objects, &removal, &mut tell).await?;
            print(&format!("mesh {mesh} is uninstalled"))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The least that is taken away of a mesh.
pub(super) fn removal(mesh: &str, namespace: &str, definitions: &[Value]) -> Removal {
    Removal {
        mesh: mesh.to_owned(),
        namespace: namespace.to_owned(),
        ca_secret: None,
        cluster_wide: false,
        with_namespace: false,
        definitions: definitions.to_vec(),
        bound: Duration::from_secs(300),
    }
}
