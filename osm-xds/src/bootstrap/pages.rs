//! What a proxy answers itself, to those outside the mesh: whether it is ready, its
//! metrics, and the probes of the application beside it.
//!
//! These listeners stand in the bootstrap, since they are the same as long as the pod
//! lives. Envoy opens them once the control plane has been heard, not before.

use std::net::IpAddr;

use osm_core::interception::{HEALTHCHECK_PORT, IpFamilies, METRICS_PORT};
use osm_core::probe::{AnsweredProbe, ProbePurpose, ProbeQuestion};
use serde_json::{Value, json};

use super::Admin;

/// What a proxy answers itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    /// Whether it says on [`HEALTHCHECK_PORT`], at [`READY_PATH`], that it has its
    /// configuration: not before it has taken clusters and listeners from its control
    /// plane. It waits for them as long as it takes.
    pub readiness: bool,
    /// Whether it shows its metrics on [`METRICS_PORT`], at [`METRICS_PATH`].
    pub metrics: bool,
    /// The probes that it answers for its application.
    pub probes: Vec<AnsweredProbe>,
    /// The versions of IP in which it is asked, and in which it asks its application.
    pub families: IpFamilies,
}

/// Where a proxy says that it is ready.
pub const READY_PATH: &str = "/ready";
/// Where a proxy shows its metrics.
pub const METRICS_PATH: &str = "/stats/prometheus";

const ADMIN_CLUSTER: &str = "osm-admin";

/// Asks the administration pages how often clusters and listeners were taken. That Envoy
/// is live is no proof: it is after a refusal, too.
const READY_SCRIPT: &str = r#"
function envoy_on_request(request)
  local path = "/stats?filter=^(cluster_manager.cds|listener_manager.lds).update_success$"
  local headers = { [":method"] = "GET", [":path"] = path, [":authority"] = "admin" }
  local answer, text = request:httpCall("osm-admin", headers, nil, 1000)
  local taken = 0
  for count in string.gmatch(text or "", "update_success: (%d+)") do
    if tonumber(count) > 0 then taken = taken + 1 end
  end
  if taken == 2 then
    request:respond({ [":status"] = "200" }, "ready\n")
  else
    request:respond({ [":status"] = "503" }, "the configuration is not there yet\n")
  end
end
"#;

impl Pages {
    /// The listeners, by port.
    pub(super) fn listeners(&self) -> Vec<Value> {
        let Self { readiness, metrics, probes, families } = self;
        let listener = |name: &str, port, filters, routes| listener(name, (*families, port), filters, routes);
        let mut listeners = Vec::new();
        if *metrics {
            let route = json!({ "match": { "path": METRICS_PATH }, "route": { "cluster": ADMIN_CLUSTER } });
            listeners.push(listener("metrics_listener", METRICS_PORT, vec![], vec![route]));
        }
        for purpose in ProbePurpose::ALL {
            let mine: Vec<_> = probes.iter().filter(|probe| probe.purpose == purpose).collect();
            if !mine.is_empty() {
                let filters = mine.iter().filter_map(|probe| health_filter(probe)).collect();
                let routes = mine.iter().filter_map(|probe| route(probe)).collect();
                let name = format!("{}_listener", purpose.as_str());
                listeners.push(listener(&name, purpose.port(), filters, routes));
            }
        }
        if *readiness {
            let script = filter(
                "envoy.filters.http.lua",
                json!({
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": { "inline_string": READY_SCRIPT },
                }),
            );
            let route = json!({ "match": { "path": READY_PATH }, "direct_response": { "status": 503 } });
            listeners.push(listener("ready_listener", HEALTHCHECK_PORT, vec![script], vec![route]));
        }
        listeners
    }

    /// The clusters that the listeners use.
    pub(super) fn clusters(&self, admin: &Admin) -> Vec<Value> {
        let Self { readiness, metrics, probes, families } = self;
        let admin = || json!({ "address": admin.to_json() });
        let pages = (*readiness || *metrics).then(|| cluster(ADMIN_CLUSTER, "1s", admin()));
        pages.into_iter().chain(probes.iter().map(|probe| probe_cluster(probe, *families))).collect()
    }
}

fn cluster_name(probe: &AnsweredProbe) -> String {
    format!("{}_{}_cluster", probe.container, probe.purpose.as_str())
}

fn cluster(name: &str, timeout: &str, endpoint: Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": timeout,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }],
        },
    })
}

fn probe_cluster(probe: &AnsweredProbe, families: IpFamilies) -> Value {
    let AnsweredProbe { port, timeout, question, .. } = probe;
    let timeout = seconds(*timeout);
    let endpoint = addresses(families.loopback(), port.get());
    let mut cluster = cluster(&cluster_name(probe), &timeout, endpoint);
    match question {
        ProbeQuestion::Http { tls: false, .. } => {}
        ProbeQuestion::Http { tls: true, .. } => {
            cluster["transport_socket"] = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": { "tls_params": { "tls_maximum_protocol_version": "TLSv1_3" } },
            } });
        }
        ProbeQuestion::Tcp { interval } => {
            cluster["health_checks"] = health_checks(&timeout, *interval, "tcp_health_check", json!({}));
        }
        ProbeQuestion::Grpc { service, interval } => {
            let asked = json!({ "service_name": service });
            cluster["health_checks"] = health_checks(&timeout, *interval, "grpc_health_check", asked);
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            });
        }
    }
    cluster
}

/// One look decides, since who probes counts failures itself. What does not work is looked
/// at each second, so that its start is not noticed a whole interval late.
fn health_checks(timeout: &str, interval: std::time::Duration, kind: &str, question: Value) -> Value {
    let every = seconds(interval);
    json!([{
        "timeout": timeout,
        "interval": every,
        "no_traffic_interval": every,
        "no_traffic_healthy_interval": every,
        "unhealthy_interval": "1s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        kind: question,
    }])
}

/// Answers by what the proxy has seen itself, where an answer can't be passed on.
fn health_filter(probe: &AnsweredProbe) -> Option<Value> {
    match probe.question {
        ProbeQuestion::Http { .. } => None,
        ProbeQuestion::Tcp { .. } | ProbeQuestion::Grpc { .. } => Some(filter(
            "envoy.filters.http.health_check",
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
                "pass_through_mode": false,
                "headers": [{ "name": ":path", "string_match": { "exact": probe.path() } }],
                "cluster_min_healthy_percentages": { cluster_name(probe): { "value": 100 } },
            }),
        )),
    }
}

fn route(probe: &AnsweredProbe) -> Option<Value> {
    match &probe.question {
        ProbeQuestion::Http { path, .. } => Some(json!({
            "match": { "path": probe.path() },
            "route": {
                "cluster": cluster_name(probe),
                "prefix_rewrite": path,
                "timeout": seconds(probe.timeout),
            },
        })),
        ProbeQuestion::Tcp { .. } | ProbeQuestion::Grpc { .. } => None,
    }
}

fn listener(
    name: &str,
    (families, port): (IpFamilies, u16),
    mut filters: Vec<Value>,
    routes: Vec<Value>,
) -> Value {
    filters.push(filter(
        "envoy.filters.http.router",
        json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }),
    ));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "generate_request_id": false,
        "http_filters": filters,
        "route_config": { "name": name, "virtual_hosts": [
            { "name": name, "domains": ["*"], "routes": routes },
        ] },
    });
    let mut listener = addresses(families.everywhere(), port);
    listener["name"] = name.into();
    listener["filter_chains"] =
        json!([{ "filters": [filter("envoy.filters.network.http_connection_manager", manager)] }]);
    listener
}

/// What has these addresses: the first, and what is tried or listened on besides.
fn addresses(addresses: &[IpAddr], port: u16) -> Value {
    let mut addresses = addresses
        .iter()
        .map(|address| json!({ "socket_address": { "address": address.to_string(), "port_value": port } }));
    let mut has = json!({ "address": addresses.next() });
    let more: Vec<Value> = addresses.map(|address| json!({ "address": address })).collect();
    if !more.is_empty() {
        has["additional_addresses"] = more.into();
    }
    has
}

fn filter(name: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": config })
}

/// A duration as Envoy writes it.
fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
