//! The API server as a source of objects: how it is found, and how old what it said
//! may be.

use std::path::PathBuf;

use anyhow::{Context, Result};
use osm_core::name::NamespaceName;
use osm_k8s::{ApiClient, Freshness, KubernetesSource};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// The API server of these kubeconfigs, or of the cluster that this runs in.
///
/// # Errors
/// When there is none. One that does not answer is waited for.
pub async fn api_server(kubeconfigs: &[PathBuf]) -> Result<ApiClient> {
    ApiClient::find(kubeconfigs)
        .await
        .context("finding the API server; name a file with --kubeconfig or KUBECONFIG")
}

/// The objects of an API server, for the mesh of this name.
#[must_use]
pub fn open(server: ApiClient, mesh_name: &str, osm_namespace: &NamespaceName) -> KubernetesSource {
    KubernetesSource::new(server, mesh_name, osm_namespace.clone())
}

/// Tells at each scrape how old the facts of a source may be.
#[derive(Debug)]
pub struct StalenessCollector(pub Freshness);

impl Collector for StalenessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seconds = ConstGauge::new(self.0.staleness().as_secs_f64());
        let help = "For how long the API server may have known better than this control plane; 0 while it is watched";
        let name = "osm_source_staleness_seconds";
        seconds.encode(encoder.encode_descriptor(name, help, None, seconds.metric_type())?)?;
        let absent = ConstGauge::new(i64::try_from(self.0.absent().len()).unwrap_or(i64::MAX));
        let help = "Kinds of the mesh that the API server does not have";
        absent.encode(encoder.encode_descriptor(
            "osm_source_absent_kinds",
            help,
            None,
            absent.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_is_told() {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(StalenessCollector(Freshness::default())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
        assert!(text.contains("\nosm_source_staleness_seconds 0"), "{text}");
    }
}
