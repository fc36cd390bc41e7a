//! Which cluster a command is about, and how it is reached.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use osm_k8s::ApiClient;
use osm_k8s::objects::Objects;

use crate::install::FIELD_MANAGER;

/// Which cluster, and where in it.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// The kubeconfig; several are separated by a colon [default: ~/.kube/config, or the cluster that this runs in]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_delimiter = ':', hide_env_values = true)]
    pub kubeconfig: Vec<PathBuf>,
    /// The namespace of the control plane
    #[arg(long, value_name = "NAMESPACE", default_value = "osm-system", env = "OSM_NAMESPACE")]
    pub osm_namespace: String,
}

impl ClusterArgs {
    /// Runs something that talks to the cluster, to its end.
    ///
    /// # Errors
    /// When no cluster can be found, and what the work fails with.
    pub fn run<T, F: Future<Output = Result<T>>>(&self, work: impl FnOnce(Cluster) -> F) -> Result<T> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
        runtime.block_on(async { work(self.connect().await?).await })
    }

    async fn connect(&self) -> Result<Cluster> {
        let found = ApiClient::find(&self.files()).await;
        let client = found.context("no cluster can be reached; set KUBECONFIG or use --kubeconfig")?;
        Ok(Cluster { objects: Objects::new(&client, FIELD_MANAGER), client })
    }

    /// The files to read; kubectl's own place when none is named.
    fn files(&self) -> Vec<PathBuf> {
        let named: Vec<PathBuf> =
            self.kubeconfig.iter().filter(|path| !path.as_os_str().is_empty()).cloned().collect();
        if !named.is_empty() {
            return named;
        }
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
        home.into_iter().filter(|path| path.is_file()).collect()
    }
}

/// A cluster that is talked to.
#[derive(Debug)]
pub struct Cluster {
    /// What is in it.
    pub objects: Objects,
    /// The connection.
    pub client: ApiClient,
}
