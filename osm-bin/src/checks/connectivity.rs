//! Whether the proxies of two pods have what one needs to call the other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Check;

/// Checks that the caller's Envoy knows healthy endpoints of the called pod, in at least one of these clusters.
#[must_use]
pub fn endpoints(clusters: &Value, of: &BTreeSet<String>, addresses: &[String]) -> Check {
    let what = "the caller's Envoy knows the called pod as a healthy endpoint".to_owned();
    let statuses = clusters["cluster_statuses"].as_array();
    let known: Vec<&Value> = statuses
        .into_iter()
        .flatten()
        .filter(|status| status["name"].as_str().is_some_and(|name| of.contains(name)))
        .collect();
    let names = || of.iter().cloned().collect::<Vec<_>>().join(", ");
    if known.is_empty() {
        return Check::bad(
            what,
            format!("it has none of the clusters {}", names()),
            "policy must allow the call, and the Service must have a port that the mesh carries",
        );
    }
    let hosts = known.iter().filter_map(|status| status["host_statuses"].as_array()).flatten();
    let host = hosts.into_iter().find(|host| {
        let address = host["address"]["socket_address"]["address"].as_str();
        address.is_some_and(|address| addresses.iter().any(|of_pod| of_pod == address))
    });
    let Some(host) = host else {
        return Check::bad(
            what,
            format!("{} has no endpoint at {}", names(), addresses.join(", ")),
            "the pod must be ready, and selected by the Service",
        );
    };
    let health = &host["health_status"];
    let failing = health.as_object().into_iter().flatten().find(|(name, value)| {
        name.starts_with("failed_") && **value == true
            || name.as_str() == "eds_health_status" && **value != "HEALTHY"
    });
    Check::unless(
        what,
        failing.map(|(name, value)| format!("it is not healthy: {name} is {value}")),
        "look at the called pod's sidecar with `osm proxy get clusters`",
    )
}

/// Checks that an Envoy has a certificate of its own, and one of those who sign.
#[must_use]
pub fn certificates(certs: &Value, pod: &str) -> Check {
    let what = format!("the Envoy of {pod} has certificates");
    let entries = || certs["certificates"].as_array().into_iter().flatten();
    let has = |list: &str| entries().any(|entry| entry[list].as_array().is_some_and(|list| !list.is_empty()));
    let trouble = match (has("cert_chain"), has("ca_cert")) {
        (true, true) => None,
        (false, _) => Some("it has none of its own".to_owned()),
        (true, false) => Some("it has none of an authority".to_owned()),
    };
    Check::unless(
        what,
        trouble,
        "its connection to the control plane brings them; the log of its container says more",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clusters(health: &str) -> Value {
        json!({"cluster_statuses": [{"name": "shop/till|80", "host_statuses": [{
            "address": {"socket_address": {"address": "10.0.0.5", "port_value": 8080}},
            "health_status": {"eds_health_status": health},
        }]}]})
    }

    fn reason(clusters: &Value, name: &str, address: &str) -> Option<String> {
        endpoints(clusters, &BTreeSet::from([name.to_owned()]), &[address.to_owned()]).reason
    }

    #[test]
    fn an_endpoint_is_found_by_cluster_and_address() {
        assert_eq!(reason(&clusters("HEALTHY"), "shop/till|80", "10.0.0.5"), None);
        let other = reason(&clusters("HEALTHY"), "shop/vault|80", "10.0.0.5").unwrap();
        assert!(other.contains("none of the clusters shop/vault|80"), "{other}");
        let elsewhere = reason(&clusters("HEALTHY"), "shop/till|80", "10.0.0.6").unwrap();
        assert!(elsewhere.contains("no endpoint at 10.0.0.6"), "{elsewhere}");
        let ill = reason(&clusters("UNHEALTHY"), "shop/till|80", "10.0.0.5").unwrap();
        assert!(ill.contains("UNHEALTHY"), "{ill}");
    }

    #[test]
    fn an_envoy_needs_a_certificate_and_an_authority() {
        let both = json!({"certificates": [{"ca_cert": [{}], "cert_chain": [{}]}]});
        assert!(certificates(&both, "p").ok);
        assert!(!certificates(&json!({"certificates": [{"ca_cert": [{}]}]}), "p").ok);
        assert!(!certificates(&json!({}), "p").ok);
    }
}
