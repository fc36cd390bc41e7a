//! The sidecars in a cluster, as `osm proxy` and `osm certs` tell of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::mesh::osm;
use crate::kubectl::until;

/// A pod with a sidecar, by namespace and name.
pub type Pod = (String, String);

/// What the proxies of pods say, by pod.
pub type ByPod<T> = BTreeMap<Pod, T>;

/// All pods that have a sidecar and go on.
///
/// # Errors
/// When the command line does not tell.
pub fn all() -> Result<Vec<Pod>> {
    let list: Value = serde_json::from_str(&osm(&["proxy", "list", "--output=json"])?).context("a list")?;
    list.as_array().context("a list of sidecars")?.iter().map(pod).collect()
}

fn pod(object: &Value) -> Result<Pod> {
    let text = |name: &str| object[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    Ok((text("namespace")?, text("pod")?))
}

fn ask((namespace, pod): &Pod, query: &str) -> Result<Value> {
    let said = osm(&["proxy", "get", query, pod, "--namespace", namespace])?;
    serde_json::from_str(&said).with_context(|| format!("what {namespace}/{pod} says of {query}"))
}

/// The configuration that is in force in each proxy: everything but what it was started with and its
/// certificates, with versions and the times at which each resource came.
///
/// # Errors
/// When a proxy does not answer.
pub fn configurations() -> Result<ByPod<Value>> {
    let of = |pod: Pod| {
        let mut dump = ask(&pod, "config_dump?include_eds")?;
        let parts = dump["configs"].as_array_mut().context("parts of a configuration")?;
        parts.retain(|part| {
            let kind = part["@type"].as_str().unwrap_or_default();
            !kind.ends_with("BootstrapConfigDump") && !kind.ends_with("SecretsConfigDump")
        });
        Ok((pod, dump))
    };
    all()?.into_iter().map(of).collect()
}

/// How many resources with a version there are in a configuration.
#[must_use]
pub fn resources(configuration: &Value) -> usize {
    match configuration {
        Value::Object(object) => {
            usize::from(object.contains_key("version_info")) + object.values().map(resources).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(resources).sum(),
        _ => 0,
    }
}

/// Waits until every proxy has a stream to the control plane, and tells how many they are.
///
/// # Errors
/// With those that have none.
pub fn connected() -> Result<usize> {
    until("stream of every proxy", || {
        let proxies = all()?;
        for proxy in &proxies {
            let stats = ask(proxy, "stats?filter=^control_plane.connected_state$&format=json")?;
            if stats["stats"][0]["value"] != 1 {
                bail!("{}/{} is not connected: {stats}", proxy.0, proxy.1);
            }
        }
        Ok(proxies.len())
    })
}

/// A workload's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub uri: String,
    /// Its number.
    pub serial: String,
    /// When it ends, in a form that sorts.
    pub expires: String,
}

/// The certificate by which each proxy proves for whom it works. One that talks to nobody has none.
///
/// # Errors
/// When a proxy does not answer.
pub fn certificates() -> Result<ByPod<Certificate>> {
    let of = |pod: Pod| Ok(certificate(&pod, |uri| !is_proxy(uri))?.map(|certificate| (pod, certificate)));
    all()?.into_iter().filter_map(|pod| of(pod).transpose()).collect()
}

/// The certificate by which a proxy proves itself to its control plane. One that has a token has none.
///
/// # Errors
/// When the proxy does not answer.
pub fn own_certificate(pod: &Pod) -> Result<Option<Certificate>> {
    certificate(pod, is_proxy)
}

fn is_proxy(uri: &str) -> bool {
    uri.contains("/sidecar/")
}

/// The first certificate of a proxy that has such a name.
fn certificate(pod: &Pod, is_meant: impl Fn(&str) -> bool) -> Result<Option<Certificate>> {
    let certs = ask(pod, "certs")?;
    let entries = certs["certificates"].as_array().into_iter().flatten();
    let mut leaves = entries.filter_map(|entry| entry["cert_chain"].as_array()).flatten();
    let name = |leaf: &Value| {
        let names = leaf["subject_alt_names"].as_array().into_iter().flatten();
        names.into_iter().filter_map(|name| name["uri"].as_str()).find(|uri| is_meant(uri)).map(str::to_owned)
    };
    let text = |leaf: &Value, name: &str| leaf[name].as_str().unwrap_or_default().to_owned();
    let of_leaf = |leaf: &Value| {
        let (serial, expires) = (text(leaf, "serial_number"), text(leaf, "expiration_time"));
        Some(Certificate { uri: name(leaf)?, serial, expires })
    };
    Ok(leaves.find_map(of_leaf))
}

/// Tells in what two configurations differ: the first place, with both values there.
#[must_use]
pub fn difference(one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: Map<String, Value> =
                one.iter().chain(other).map(|(name, _)| (name.clone(), Value::Null)).collect();
            names.keys().find_map(|name| {
                let of = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                difference(&of(one), &of(other)).map(|place| format!("{name}.{place}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.into_iter().find_map(|(index, (one, other))| {
                difference(one, other).map(|place| format!("{index}.{place}"))
            })
        }
        (one, other) => (one != other).then(|| format!(": {one} and {other}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_told_with_its_place() {
        let one = json!({"a": [{"version_info": "1"}], "b": 2});
        assert_eq!(difference(&one, &one), None);
        let other = json!({"a": [{"version_info": "2"}], "b": 2});
        assert_eq!(difference(&one, &other).as_deref(), Some("a.0.version_info.: \"1\" and \"2\""));
        assert_eq!(difference(&one, &json!({"a": one["a"]})).as_deref(), Some("b.: 2 and null"));
    }

    #[test]
    fn resources_are_what_has_a_version() {
        let dump =
            json!({"configs": [{"version_info": "x", "clusters": [{"version_info": "y"}, {"name": "z"}]}]});
        assert_eq!(resources(&dump), 2);
    }
}
