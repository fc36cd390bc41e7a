//! `osm certs`: the certificates that are in force, as the sidecars have them.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use osm_core::name::QualifiedName;
use serde::Serialize;
use serde_json::Value;

use super::args::SidecarsArgs;
use super::connection::Cluster;
use super::table::show;
use super::verify::envoy;
use crate::sidecar::{PROXY, Sidecar, is_over};

/// Shows certificates
#[derive(Debug, Clone, Args)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum CertsCommand {
    /// Shows what each sidecar proves itself with, until when, and until when its root is valid; the exit code is 1 if
    /// one has none
    Status(SidecarsArgs),
}

/// The certificate of a sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    namespace: String,
    pod: String,
    identity: Option<String>,
    serial: Option<String>,
    expires: Option<String>,
    root_expires: Option<String>,
    /// Why nothing is known.
    trouble: Option<String>,
}

impl CertsArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the cluster can't be asked.
    pub fn run(self) -> Result<ExitCode> {
        let CertsCommand::Status(SidecarsArgs { namespace, output, cluster }) = self.command;
        cluster.run(async |cluster: Cluster| {
            let certificates = certificates(&cluster, namespace.as_deref()).await?;
            let header = ["NAMESPACE", "POD", "IDENTITY", "SERIAL", "EXPIRES", "ROOT EXPIRES"];
            show(output, &certificates, "no pod has a sidecar", &header, |each| {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                let identity = each.trouble.clone().unwrap_or_else(|| text(&each.identity));
                vec![
                    each.namespace.clone(),
                    each.pod.clone(),
                    identity,
                    text(&each.serial),
                    text(&each.expires),
                    text(&each.root_expires),
                ]
            })?;
            let all = certificates.iter().all(|each| each.expires.is_some());
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

async fn certificates(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Certificate>> {
    let mut found = Vec::new();
    let pods = cluster.objects.list(("v1", "Pod"), namespace, PROXY).await?;
    for pod in pods.iter().filter(|pod| !is_over(pod)).filter_map(Sidecar::of) {
        let name: QualifiedName = format!("{}/{}", pod.namespace, pod.pod).parse()?;
        let certificate = match envoy(cluster, &name, "certs").await {
            Ok(certs) => of(&certs),
            Err(error) => Certificate { trouble: Some(format!("{error:#}")), ..Certificate::default() },
        };
        found.push(Certificate { namespace: pod.namespace, pod: pod.pod, ..certificate });
    }
    Ok(found)
}

/// What Envoy says of its certificates: the workload's own has an identity as its name.
fn of(certs: &Value) -> Certificate {
    let entries = || certs["certificates"].as_array().into_iter().flatten();
    let each = |list: &'static str| entries().filter_map(move |entry| entry[list].as_array()).flatten();
    let uri = |leaf: &Value| {
        let names = leaf["subject_alt_names"].as_array()?;
        names.iter().find_map(|name| name["uri"].as_str()).map(str::to_owned)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let own = each("cert_chain").find(|leaf| uri(leaf).is_some());
    let root = each("ca_cert").filter_map(|root| text(&root["expiration_time"])).min();
    match own {
        None => {
            Certificate { trouble: Some("Envoy has no certificate".to_owned()), ..Certificate::default() }
        }
        Some(leaf) => Certificate {
            identity: uri(leaf),
            serial: text(&leaf["serial_number"]),
            expires: text(&leaf["expiration_time"]),
            root_expires: root,
            ..Certificate::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_certificate_of_the_workload_is_told_from_what_envoy_says() {
        let certs = json!({"certificates": [
            {"ca_cert": [{"expiration_time": "2030-01-01T00:00:00Z"}], "cert_chain": []},
            {"ca_cert": [], "cert_chain": [{
                "serial_number": "5", "expiration_time": "2027-01-01T00:00:00Z",
                "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/shop/sa/till"}],
            }]},
        ]});
        let certificate = of(&certs);
        assert_eq!(certificate.identity.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/till"));
        assert_eq!(certificate.expires.as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(certificate.root_expires.as_deref(), Some("2030-01-01T00:00:00Z"));
        assert!(of(&json!({"certificates": []})).trouble.is_some());
    }
}
