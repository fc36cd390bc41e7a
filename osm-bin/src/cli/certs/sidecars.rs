//! The certificates of sidecars, as these have them.

use anyhow::Result;
use osm_core::identity::ProxyId;
use osm_core::name::QualifiedName;
use serde::Serialize;
use serde_json::Value;

use crate::cli::connection::Cluster;
use crate::cli::table::{Output, show};
use crate::cli::verify::envoy;
use crate::sidecar::{PROXY, Sidecar, is_over};

/// The certificate of a sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    namespace: String,
    pod: String,
    identity: Option<String>,
    serial: Option<String>,
    expires: Option<String>,
    root_expires: Option<String>,
    /// Why nothing is known.
    trouble: Option<String>,
}

impl Certificate {
    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.expires.is_some()
    }
}

/// Shows them to people.
pub(super) fn print(certificates: &[Certificate]) -> Result<()> {
    let header = ["NAMESPACE", "POD", "IDENTITY", "SERIAL", "EXPIRES", "ROOT EXPIRES"];
    show(Output::Table, certificates, "no pod has a sidecar", &header, |each| {
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
    })
}

/// Those of all sidecars, or of those in one namespace.
pub(super) async fn certificates(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Certificate>> {
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

/// What Envoy says of its certificates: the workload's own has an identity as its name. That of
/// the proxy itself towards the control plane, which some have, is another's affair.
fn of(certs: &Value) -> Certificate {
    let entries = || certs["certificates"].as_array().into_iter().flatten();
    let each = |list: &'static str| entries().filter_map(move |entry| entry[list].as_array()).flatten();
    let uri = |leaf: &Value| {
        let names = leaf["subject_alt_names"].as_array()?;
        names.iter().find_map(|name| name["uri"].as_str()).map(str::to_owned)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let own = each("cert_chain").find(|leaf| uri(leaf).is_some_and(|uri| ProxyId::from_uri(&uri).is_err()));
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
                "serial_number": "4", "expiration_time": "2027-01-01T00:00:00Z",
                "subject_alt_names": [{"uri": "spiffe://cluster.local/6f1a/sidecar/till/shop"}],
            }]},
            {"ca_cert": [], "cert_chain": [{
                "serial_number": "5", "expiration_time": "2027-01-01T00:00:00Z",
                "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/shop/sa/till"}],
            }]},
        ]});
        let certificate = of(&certs);
        assert_eq!(certificate.identity.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/till"));
        assert_eq!(certificate.serial.as_deref(), Some("5"), "and not that of the proxy");
        assert_eq!(certificate.expires.as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(certificate.root_expires.as_deref(), Some("2030-01-01T00:00:00Z"));
        assert!(of(&json!({"certificates": []})).trouble.is_some());
    }
}
