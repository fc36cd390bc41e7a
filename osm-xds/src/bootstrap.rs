//! The file an Envoy is started with: who it is, and where its control plane is.
//!
//! Everything else comes over xDS. The text is a pure function of a
//! [`Bootstrap`]; local mode and injection write the same. One setting can only
//! be an argument: [`drain_arguments`].

mod credentials;
mod pages;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use osm_core::identity::ProxyUuid;
use serde_json::{Value, json};

pub use credentials::{
    CERTIFICATE_SECRET_FILE, Credentials, TOKEN_FILE, TOKEN_SECRET_FILE, TRUST_SECRET_FILE, certificate_file,
    token_file, trust_file,
};
pub use pages::{METRICS_PATH, Pages, READY_PATH};

/// The name of the cluster of the control plane.
pub const CONTROL_PLANE_CLUSTER: &str = "osm-controller";

/// RE2 programs up to this size are accepted by the proxy; paths and headers
/// of policies are checked against a smaller bound before they are sent.
const RE2_MAX_PROGRAM: u32 = 100_000;
/// Connections that a proxy takes from all its clients together.
const MAX_DOWNSTREAM_CONNECTIONS: u32 = 50_000;

/// How long a connection lives on after its listener or filter chain was taken
/// away, as happens to the connections of a client that loses its access. Envoy's
/// own ten minutes would be an answer to another question.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The arguments of Envoy that make [`DRAIN_TIME`] hold; they can't stand in the
/// file. Whoever starts an Envoy of the mesh has to give them.
#[must_use]
pub fn drain_arguments() -> [String; 4] {
    let seconds = DRAIN_TIME.as_secs().to_string();
    ["--drain-time-s".to_owned(), seconds, "--drain-strategy".to_owned(), "immediate".to_owned()]
}

/// What an Envoy is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Who it is; `None` where that is said by its arguments `--service-node` and
    /// `--service-cluster`.
    pub node: Option<Node>,
    /// Where the control plane is.
    pub control_plane: ControlPlane,
    /// How it proves who it is.
    pub credentials: Credentials,
    /// Where it can be asked about itself.
    pub admin: Admin,
    /// What it answers itself to those outside the mesh.
    pub pages: Pages,
}

/// Who a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `node.id`, which its credentials must prove.
    pub proxy: ProxyUuid,
    /// `node.cluster`: under which name statistics and traces report it,
    /// customarily `service-account.namespace`.
    pub cluster: String,
}

/// Where the control plane listens, and how it proves that it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// A host name, resolved again as DNS says, or an IP address.
    pub host: String,
    /// The port of ADS.
    pub port: u16,
    /// The DNS name that its certificate must have.
    pub server_name: String,
}

/// Where an Envoy can be asked about itself. Whoever reaches it may stop it:
/// never an address that others can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// An address, customarily on loopback, and a TCP port.
    Address(IpAddr, u16),
    /// A Unix socket.
    Socket(PathBuf),
}

impl Bootstrap {
    /// The configuration, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { node, control_plane, credentials, admin, pages } = self;
        let node =
            node.as_ref().map(|Node { proxy, cluster }| json!({ "id": proxy.as_str(), "cluster": cluster }));
        let mut clusters = vec![control_plane.to_json(credentials)];
        clusters.extend(pages.clusters(admin));
        // Whoever waits for readiness waits for what the control plane says, and never begins without.
        let patience = if pages.readiness { "0s" } else { "15s" };
        json!({
            "node": node.unwrap_or_else(|| json!({})),
            "admin": { "address": admin.to_json() },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": CONTROL_PLANE_CLUSTER } }],
                },
                "cds_config": { "resource_api_version": "V3", "initial_fetch_timeout": patience, "ads": {} },
                "lds_config": { "resource_api_version": "V3", "initial_fetch_timeout": patience, "ads": {} },
            },
            "static_resources": { "clusters": clusters, "listeners": pages.listeners() },
            // A statistic is made at its first use: half the memory of a big mesh.
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
            "layered_runtime": { "layers": [{
                "name": "mesh",
                "static_layer": { "re2.max_program_size.error_level": RE2_MAX_PROGRAM },
            }] },
            "overload_manager": { "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
                },
            }] },
        })
    }
}

impl ControlPlane {
    fn to_json(&self, credentials: &Credentials) -> Value {
        let Self { host, port, server_name } = self;
        let discovery = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
        json!({
            "name": CONTROL_PLANE_CLUSTER,
            "type": discovery,
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {
                        "connection_keepalive": { "interval": "30s", "timeout": "20s" },
                    } },
                    "http_filters": credentials.http_filters(),
                },
            },
            "upstream_connection_options": { "tcp_keepalive": {
                "keepalive_probes": 5, "keepalive_time": 60, "keepalive_interval": 5,
            } },
            "load_assignment": {
                "cluster_name": CONTROL_PLANE_CLUSTER,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": {
                    "socket_address": { "address": host, "port_value": port },
                } } }] }],
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": credentials.tls(server_name),
            },
        })
    }
}

impl Admin {
    fn to_json(&self) -> Value {
        match self {
            Self::Address(ip, port) => {
                json!({ "socket_address": { "address": ip.to_string(), "port_value": port } })
            }
            Self::Socket(path) => json!({ "pipe": { "path": path.display().to_string() } }),
        }
    }
}
