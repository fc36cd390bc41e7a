//! The file an Envoy is started with: who it is, and where its control plane is.
//!
//! Everything else comes over xDS. The text is a pure function of a
//! [`Bootstrap`]; local mode and injection write the same. One setting can only
//! be an argument: [`drain_arguments`].

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use osm_core::identity::ProxyUuid;
use serde_json::{Value, json};

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
    /// Which proxy it is: `node.id`, which its certificate must prove.
    pub proxy: ProxyUuid,
    /// `node.cluster`: under which name statistics and traces report it,
    /// customarily `service-account.namespace`.
    pub cluster: String,
    /// Where the control plane is.
    pub control_plane: ControlPlane,
    /// How it proves who it is.
    pub credentials: Credentials,
    /// Where it can be asked about itself.
    pub admin: Admin,
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

/// Files, in the form of [`certificate_file`] and [`trust_file`], that an Envoy
/// reads again whenever another file is renamed to take their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The proxy's certificate chain and key.
    pub certificate: PathBuf,
    /// The authorities that may have signed the control plane's certificate.
    pub trust: PathBuf,
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
        let Self { proxy, cluster, control_plane, credentials, admin } = self;
        json!({
            "node": { "id": proxy.as_str(), "cluster": cluster },
            "admin": { "address": admin.to_json() },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": CONTROL_PLANE_CLUSTER } }],
                },
                "cds_config": { "resource_api_version": "V3", "ads": {} },
                "lds_config": { "resource_api_version": "V3", "ads": {} },
            },
            "static_resources": { "clusters": [control_plane.to_json(credentials)] },
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
                "typed_config": credentials.to_json(server_name),
            },
        })
    }
}

impl Credentials {
    fn to_json(&self, server_name: &str) -> Value {
        let Self { certificate, trust } = self;
        json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": server_name,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                // Envoy's clients stop at TLS 1.2 unless told otherwise.
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificate_sds_secret_configs": [file_secret(CERTIFICATE, certificate)],
                "combined_validation_context": {
                    // Any certificate of the mesh would do without this.
                    "default_validation_context": { "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": server_name } },
                    ] },
                    "validation_context_sds_secret_config": file_secret(TRUST, trust),
                },
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

const CERTIFICATE: &str = "tls_sds";
const TRUST: &str = "validation_context_sds";

fn file_secret(name: &str, path: &Path) -> Value {
    json!({ "name": name, "sds_config": {
        "resource_api_version": "V3",
        "path_config_source": { "path": path.display().to_string() },
    } })
}

/// The file for [`Credentials::certificate`], of a certificate chain and its key in PEM.
#[must_use]
pub fn certificate_file(chain_pem: &str, key_pem: &str) -> Value {
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": CERTIFICATE,
        "tls_certificate": {
            "certificate_chain": { "inline_string": chain_pem },
            "private_key": { "inline_string": key_pem },
        },
    }] })
}

/// The file for [`Credentials::trust`], of the trusted authorities in PEM.
#[must_use]
pub fn trust_file(bundle_pem: &str) -> Value {
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": TRUST,
        "validation_context": { "trusted_ca": { "inline_string": bundle_pem } },
    }] })
}
