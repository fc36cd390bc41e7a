//! Probes of the application: what the proxy answers in its place.
//!
//! What a probe of Kubernetes sends to a port of the application would be led to the proxy
//! and refused. HTTP and HTTPS requests go to a port of the proxy that passes them on; for a
//! TCP connection and a gRPC call the proxy looks itself, and tells by HTTP. Programs
//! run in the container and are left alone, as are probes of another host and of ports that
//! bypass the proxy.

use std::num::NonZeroU16;
use std::time::Duration;

use osm_core::interception::Interception;
use osm_core::probe::{AnsweredProbe, ProbePurpose, ProbeQuestion};
use serde_json::{Map, Value, json};

use super::patch::Operation;

/// Rewrites all probes of a pod. What can't be understood is left as it is, with a warning.
pub(super) fn rewrite(
    pod: &Value,
    interception: &Interception,
    operations: &mut Vec<Operation>,
    warnings: &mut Vec<String>,
) -> Vec<AnsweredProbe> {
    let mut probes = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, container) in containers.iter().enumerate() {
            for purpose in ProbePurpose::ALL {
                let member = format!("{}Probe", purpose.as_str());
                let Some(probe) = container[&member].as_object() else { continue };
                match answered(container, purpose, probe, interception) {
                    Ok(Some((answered, value))) => {
                        let path = format!("/spec/{list}/{index}/{member}");
                        operations.push(Operation::Replace { path, value });
                        probes.push(answered);
                    }
                    Ok(None) => {}
                    Err(reason) => warnings
                        .push(format!("spec.{list}[{index}].{member}: {reason}; the probe is not rewritten")),
                }
            }
        }
    }
    probes
}

/// The probe that the proxy answers, and what Kubernetes asks then; `None` when it is to be left alone.
fn answered(
    container: &Value,
    purpose: ProbePurpose,
    probe: &Map<String, Value>,
    interception: &Interception,
) -> Result<Option<(AnsweredProbe, Value)>, String> {
    let Some((kind, action)) = ["httpGet", "tcpSocket", "grpc"]
        .iter()
        .find_map(|kind| Some((*kind, probe.get(*kind)?.as_object()?)))
    else {
        return Ok(None);
    };
    if action.get("host").and_then(Value::as_str).is_some_and(|host| !host.is_empty()) {
        return Ok(None);
    }
    let port = port_number(container, action.get("port").unwrap_or(&Value::Null))?;
    if interception.excluded_inbound_ports.contains(&port) {
        return Ok(None);
    }
    let of = |member: &str, default: u64| {
        let seconds = probe.get(member).and_then(Value::as_u64).filter(|seconds| *seconds > 0);
        Duration::from_secs(seconds.unwrap_or(default))
    };
    let (timeout, interval) = (of("timeoutSeconds", 1), of("periodSeconds", 10));
    let text = |member: &str| action.get(member).and_then(Value::as_str).unwrap_or_default();
    let (question, query) = match kind {
        "httpGet" => {
            let (path, query) = match text("path").split_once('?') {
                Some((path, query)) => (path, format!("?{query}")),
                None => (text("path"), String::new()),
            };
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            (ProbeQuestion::Http { path, tls: text("scheme") == "HTTPS" }, query)
        }
        "tcpSocket" => (ProbeQuestion::Tcp { interval }, String::new()),
        _ => (ProbeQuestion::Grpc { service: text("service").to_owned(), interval }, String::new()),
    };
    let name = container["name"].as_str().ok_or("its container has no name")?.to_owned();
    let answered = AnsweredProbe { purpose, container: name, port, timeout, question };
    let mut get = json!({
        "path": format!("{}{query}", answered.path()),
        "port": purpose.port(),
        "scheme": "HTTP",
    });
    if let Some(headers) = action.get("httpHeaders").filter(|headers| headers.is_array()) {
        get["httpHeaders"] = headers.clone();
    }
    let mut rewritten = probe.clone();
    rewritten.remove(kind);
    rewritten.insert("httpGet".to_owned(), get);
    Ok(Some((answered, Value::Object(rewritten))))
}

fn port_number(container: &Value, port: &Value) -> Result<NonZeroU16, String> {
    let number = |value: &Value| {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok()).and_then(NonZeroU16::new);
        number.ok_or_else(|| format!("{value} is not a port"))
    };
    let Some(name) = port.as_str() else { return number(port) };
    let declared = container["ports"].as_array().into_iter().flatten().find(|one| one["name"] == name);
    match declared {
        Some(declared) => number(&declared["containerPort"]),
        // Kubernetes takes a number in quotes as well.
        None => name.parse().map_err(|_| {
            format!("its container has no port named `{}`", name.escape_debug().take(40).collect::<String>())
        }),
    }
}
