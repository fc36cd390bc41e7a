//! The status of a mesh as tables.

use comfy_table::Cell;

use super::lines::{Painter, seconds};
use crate::cli::table::table;
use crate::local::api::{Phase, PodStatus, ProcessStatus, ProxyStatus, RootsStatus, ServiceStatus, Status};

/// Everything, for people to read.
pub(super) fn status(status: &Status) -> String {
    let Status { name, phase, manifests, running_ms, control_plane, pods, services, findings, .. } = status;
    let phase = match phase {
        Phase::Starting => "starting",
        Phase::Up => "up",
        Phase::Stopping => "stopping",
    };
    let policy =
        if control_plane.permissive { "permissive: everybody may call everybody" } else { "SMI policy" };
    let behind = match (control_plane.running, control_plane.behind) {
        (false, _) => "control plane is being restarted".to_owned(),
        (true, 0) => format!("{} proxies connected, all up to date", control_plane.proxies),
        (true, behind) => format!("{} proxies connected, {behind} behind", control_plane.proxies),
    };
    let paths: Vec<String> = manifests.iter().map(|path| path.display().to_string()).collect();
    let roots = status.roots.as_ref().map(|roots| {
        let RootsStatus { issuing, trusted, trust_domains, settled, message, .. } = roots;
        let progress = if *settled { String::new() } else { format!("\nroots: {message}") };
        let domains = match trust_domains.as_slice() {
            [] | [_] => String::new(),
            several => format!("\ntrust domains: {}", several.join(", ")),
        };
        format!("root {issuing} signs; trusted: {}{domains}{progress}", trusted.join(", "))
    });
    let mut parts = vec![
        format!("mesh {name}: {phase} for {} from {}", seconds(*running_ms), paths.join(", ")),
        format!("{policy}; {behind}; snapshot {}", control_plane.snapshot),
    ];
    parts.extend(roots);
    parts.extend([String::new(), pod_table(pods), String::new(), service_table(services)]);
    let refused: Vec<String> = pods.iter().flat_map(refusals).collect();
    if !refused.is_empty() {
        parts.push(String::new());
        parts.extend(refused);
    }
    if !findings.is_empty() {
        parts.push(String::new());
        parts.extend(findings.iter().map(|finding| Painter::for_stdout().finding(finding)));
    }
    parts.join("\n")
}

fn pod_table(pods: &[PodStatus]) -> String {
    let mut table = table(&["POD", "STATE", "RESTARTS", "ADDRESS", "PROXY", "ACKED", "CERTIFICATE"]);
    for pod in pods {
        let restarts: u32 = pod.containers.iter().map(|container| container.restarts).sum();
        let state = match &pod.reason {
            None if pod.ready => "ready".to_owned(),
            None => "not ready".to_owned(),
            Some(reason) => reason.clone(),
        };
        let (proxy, acknowledged, certificate) = match &pod.proxy {
            None => ("none".to_owned(), "-".to_owned(), "-".to_owned()),
            Some(proxy) => (proxy_state(proxy), acknowledged(proxy), certificate(proxy)),
        };
        table.add_row(vec![
            Cell::new(&pod.pod),
            Cell::new(state),
            Cell::new(restarts),
            Cell::new(&pod.address),
            Cell::new(proxy),
            Cell::new(acknowledged),
            Cell::new(certificate),
        ]);
    }
    table.trim_fmt()
}

fn proxy_state(proxy: &ProxyStatus) -> String {
    let ProcessStatus { pid, restarts, .. } = &proxy.process;
    let state = match (pid, proxy.connected, proxy.in_sync) {
        (None, ..) => "not running",
        (Some(_), false, _) => "not connected",
        (Some(_), true, false) => "behind",
        (Some(_), true, true) => "in sync",
    };
    match (proxy.refused.len(), restarts) {
        (0, 0) => state.to_owned(),
        (0, restarts) => format!("{state}, {restarts} restarts"),
        (refused, _) => format!("{state}, {refused} refused"),
    }
}

/// The version that a proxy has acknowledged, and how many resources it has.
fn acknowledged(proxy: &ProxyStatus) -> String {
    let resources: usize = proxy.resources.values().sum();
    match proxy.versions.1 {
        Some(version) => format!("v{version}, {resources} res."),
        None => "-".to_owned(),
    }
}

fn certificate(proxy: &ProxyStatus) -> String {
    let Some(certificate) = &proxy.certificate else { return "none yet".to_owned() };
    match u64::try_from(certificate.expires_in) {
        Ok(left) => format!("{} left", span(left)),
        Err(_) => "EXPIRED".to_owned(),
    }
}

/// A span of time by its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn service_table(services: &[ServiceStatus]) -> String {
    let mut table = table(&["SERVICE", "ADDRESS", "PORTS", "PODS"]);
    for service in services {
        let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
        let address = service.address.as_deref().unwrap_or("headless");
        let pods = if service.pods.is_empty() { "none".to_owned() } else { service.pods.join(" ") };
        table.add_row([service.service.as_str(), address, &ports.join(" "), &pods]);
    }
    table.trim_fmt()
}

fn refusals(pod: &PodStatus) -> Vec<String> {
    let refused = pod.proxy.iter().flat_map(|proxy| &proxy.refused);
    refused
        .map(|refused| {
            format!(
                "{} refused {} (from {}): {}",
                pod.pod,
                refused.resource,
                refused.origins.join(", "),
                refused.message
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A mesh of one pod, whose proxy refuses this.
    fn mesh(refused: &Value) -> Status {
        let process =
            json!({ "name": "app", "pid": 7, "ready": true, "restarts": 0, "last_end": null, "log": "l" });
        let proxy = json!({
            "uuid": "6f1a", "process": process, "connected": true, "in_sync": true, "versions": [4, 4],
            "resources": { "cluster": 3, "route": 2 },
            "sent": { "responses": 1, "resources": 5, "bytes": 1, "removed": 0 },
            "refused": refused, "certificate": null, "own_certificate": null,
        });
        let pod = json!({
            "pod": "shop/buyer-0", "address": "10.244.0.1", "identity": "shop/buyer", "location": "shop.yaml:1",
            "phase": "running", "ready": true, "reason": null, "containers": [process], "proxy": proxy,
        });
        let control_plane = json!({
            "xds_address": "x", "admin_address": "a", "running": true, "restarts": 0, "snapshot": 4,
            "permissive": false, "proxies": 1, "behind": 0,
        });
        let status = json!({
            "name": "demo", "mesh_name": "osm", "phase": "up", "manifests": ["shop.yaml"], "running_ms": 1000,
            "control_plane": control_plane, "pods": [pod], "services": [], "findings": [],
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn what_a_proxy_refuses_is_shown_with_the_objects_that_made_it_until_it_is_gone() {
        let refused = json!([{
            "resource": "route rds-outbound.shop/store_80",
            "message": "Only unique names for virtual hosts are permitted",
            "origins": ["Service shop/store@4", "HTTPRouteGroup shop/routes@2"],
        }]);
        let shown = status(&mesh(&refused));
        let row = shown.lines().find(|line| line.contains("10.244.0.1")).expect("a row of the pod");
        assert!(row.contains("in sync, 1 refused"), "{shown}");
        let line = "shop/buyer-0 refused route rds-outbound.shop/store_80 (from Service shop/store@4, HTTPRouteGroup \
                    shop/routes@2): Only unique names for virtual hosts are permitted";
        assert!(shown.lines().any(|found| found == line), "{shown}");
        let mended = status(&mesh(&json!([])));
        assert!(!mended.contains("refused"), "{mended}");
    }

    #[test]
    fn a_change_of_roots_is_shown_until_it_is_over() {
        let mut mesh = mesh(&json!([]));
        let mut roots = RootsStatus {
            issuing: "a".to_owned(),
            serving: "a".to_owned(),
            trusted: vec!["a".to_owned(), "b".to_owned()],
            trust_domains: vec!["new.example".to_owned(), "old.example".to_owned()],
            stage: 3,
            settled: false,
            message: "waiting for 5 s until all trust b: shop/buyer-0 is not connected".to_owned(),
            held_up_by: vec!["shop/buyer-0 is not connected".to_owned()],
        };
        mesh.roots = Some(roots.clone());
        let shown = status(&mesh);
        let lines: Vec<_> = shown.lines().skip(2).take(3).collect();
        let expected = ["root a signs; trusted: a, b", "trust domains: new.example, old.example"];
        assert_eq!(lines, [expected[0], expected[1], &format!("roots: {}", roots.message)], "{shown}");
        roots.settled = true;
        mesh.roots = Some(roots);
        assert!(!status(&mesh).contains("waiting"));
    }

    #[test]
    fn a_span_is_told_by_its_largest_units() {
        for (seconds, expected) in [(5, "5 s"), (65, "1 min"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(seconds), expected);
        }
    }
}
