//! `osm metrics`: whether Prometheus scrapes the sidecars of a namespace.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use osm_k8s::injector::SCRAPING;
use osm_k8s::objects::ObjectKey;
use serde_json::{Map, Value, json};

use super::connection::{Cluster, ClusterArgs};
use super::local::lines::print;
use super::namespace::namespace;
use crate::mesh_namespace;
use crate::sidecar::PROXY;

/// Has the sidecars of namespaces scraped, or not
#[derive(Debug, Clone, Args)]
pub struct MetricsArgs {
    #[command(subcommand)]
    command: MetricsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum MetricsCommand {
    /// Marks pods of namespaces, those that run and those to come, for Prometheus to scrape
    Enable(Which),
    /// Takes these marks away
    Disable(Which),
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// The namespaces; may be repeated
    #[arg(long = "namespace", value_name = "NAMESPACE", required = true, value_delimiter = ',')]
    namespaces: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl MetricsArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let (which, enabled) = match self.command {
            MetricsCommand::Enable(which) => (which, true),
            MetricsCommand::Disable(which) => (which, false),
        };
        which.cluster.run(async |cluster: Cluster| {
            for name in &which.namespaces {
                mark(&cluster, name, enabled).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn mark(cluster: &Cluster, name: &str, enabled: bool) -> Result<()> {
    let objects = &cluster.objects;
    namespace(cluster, name).await?;
    objects.merge(&ObjectKey::of_namespace(name), &mesh_namespace::metrics(enabled)).await?;
    let pods = objects.list(("v1", "Pod"), Some(name), PROXY).await?;
    for pod in &pods {
        objects.merge(&ObjectKey::of(pod)?, &pod_marks(enabled)).await?;
    }
    let state = if enabled { "enabled" } else { "disabled" };
    print(&format!("metrics are {state} in namespace {name}, for {} running pods", pods.len()))
}

/// The fields of a pod whose sidecar is scraped, or not any more.
fn pod_marks(enabled: bool) -> Value {
    let mark = |value: &str| if enabled { Value::from(value) } else { Value::Null };
    let marks: Map<_, _> = SCRAPING.iter().map(|(name, value)| ((*name).to_owned(), mark(value))).collect();
    json!({"metadata": {"annotations": marks}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_a_pod_are_those_that_prometheus_knows_and_go_again() {
        let marks = pod_marks(true);
        assert_eq!(marks["metadata"]["annotations"]["prometheus.io/port"], "15010");
        let gone = pod_marks(false);
        let gone = gone["metadata"]["annotations"].as_object().unwrap();
        assert!(gone.len() == 3 && gone.values().all(Value::is_null));
    }
}
