//! `osm proxy`: the sidecars of a cluster, and what their Envoys say.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use osm_k8s::forward::{self, PodPort};
use osm_k8s::objects::ObjectKey;
use serde_json::Value;

use super::args::SidecarsArgs;
use super::connection::{Cluster, ClusterArgs};
use super::table::{Output, show};
use crate::sidecar::{PROXY, Sidecar, is_over};

/// The port of Envoy's administration, on the loopback address of the pod.
pub(super) const ADMIN_PORT: u16 = 15000;

/// Lists sidecars, and asks their Envoys
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum ProxyCommand {
    /// Lists the pods that have a sidecar
    List(SidecarsArgs),
    /// Asks the Envoy of a pod, as in `osm proxy get config_dump bookbuyer-0 -n bookbuyer`
    Get(Request),
    /// Sets something in the Envoy of a pod, as in `osm proxy set logging?level=debug bookbuyer-0 -n bookbuyer`
    Set(Request),
}

#[derive(Debug, Clone, Args)]
struct Request {
    /// A path of Envoy's administration, such as `config_dump`, `clusters` or `stats?filter=http`
    query: String,
    /// The pod
    pod: String,
    /// Where the pod is
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// Write the answer to this file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The port of Envoy's administration
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = ADMIN_PORT, hide = true)]
    port: u16,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ProxyArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            ProxyCommand::List(SidecarsArgs { namespace, output, cluster }) => {
                cluster.run(async |cluster: Cluster| list(&cluster, namespace.as_deref(), output).await)?;
            }
            ProxyCommand::Get(request) => request.run("GET")?,
            ProxyCommand::Set(request) => request.run("POST")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Request {
    fn run(self, method: &str) -> Result<()> {
        self.cluster.run(async |cluster: Cluster| {
            sidecar(&cluster, &self.namespace, &self.pod).await?;
            let to = PodPort { namespace: &self.namespace, pod: &self.pod, port: self.port };
            let answer = forward::ask(&cluster.client, to, method, &self.query).await?;
            if !answer.is_success {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                bail!("Envoy answers {:?} with {}: {}", self.query, answer.status, said.trim());
            }
            match &self.file {
                Some(file) => {
                    std::fs::write(file, &answer.body).with_context(|| format!("writing {}", file.display()))
                }
                None => Ok(std::io::stdout().write_all(&answer.body)?),
            }
        })
    }
}

/// The pod of that name, which must have a sidecar.
pub(super) async fn sidecar(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Value> {
    let found = cluster.objects.get(&ObjectKey::namespaced("v1", "Pod", namespace, pod)).await?;
    let found = found.with_context(|| {
        format!("there is no pod {pod} in the namespace {namespace}; name the namespace with --namespace")
    })?;
    if Sidecar::of(&found).is_none() {
        bail!("the pod {namespace}/{pod} has no sidecar; `osm verify injection` says why");
    }
    Ok(found)
}

async fn list(cluster: &Cluster, namespace: Option<&str>, output: Output) -> Result<()> {
    let pods = cluster.objects.list(("v1", "Pod"), namespace, PROXY).await?;
    let sidecars: Vec<Sidecar> = pods.iter().filter(|pod| !is_over(pod)).filter_map(Sidecar::of).collect();
    let header = ["NAMESPACE", "POD", "SERVICE-ACCOUNT", "READY", "RESTARTS", "IMAGE", "PROXY"];
    show(output, &sidecars, "no pod has a sidecar", &header, |each| {
        vec![
            each.namespace.clone(),
            each.pod.clone(),
            each.service_account.clone(),
            if each.ready { "yes" } else { "no" }.to_owned(),
            each.restarts.to_string(),
            each.image.clone(),
            each.proxy.clone(),
        ]
    })
}
