//! The fields of a MeshConfig, and which of them have no effect yet.

use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::crds::schema::{self, DURATION};
use crate::manifest::field;

/// The settings of a mesh.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshConfigSpec {
    /// The proxies.
    #[serde(deserialize_with = "field::nullable")]
    pub sidecar: SidecarSpec,
    /// Which traffic the mesh takes, and how.
    #[serde(deserialize_with = "field::nullable")]
    pub traffic: TrafficSpec,
    /// What can be seen of it.
    #[serde(deserialize_with = "field::nullable")]
    pub observability: ObservabilitySpec,
    /// Certificates.
    #[serde(deserialize_with = "field::nullable")]
    pub certificate: CertificateSpec,
    /// Switches.
    #[serde(deserialize_with = "field::nullable")]
    pub feature_flags: FeatureFlags,
}

/// What must be true of the two versions of TLS, in the language of the API server.
const TLS_ORDER: &str = "!has(self.tlsMinProtocolVersion) || !has(self.tlsMaxProtocolVersion) \
    || self.tlsMinProtocolVersion == 'TLS_AUTO' || self.tlsMaxProtocolVersion == 'TLS_AUTO' \
    || self.tlsMinProtocolVersion <= self.tlsMaxProtocolVersion";
const TLS_ORDER_MESSAGE: &str = "tlsMinProtocolVersion is newer than tlsMaxProtocolVersion";

/// Settings of the proxies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [json!({"rule": TLS_ORDER, "message": TLS_ORDER_MESSAGE})]))]
pub struct SidecarSpec {
    /// Whether the init container is privileged.
    #[serde(deserialize_with = "field::nullable")]
    pub enable_privileged_init_container: bool,
    /// How much a proxy logs.
    #[serde(deserialize_with = "word_or_nothing")]
    pub log_level: Option<LogLevel>,
    /// The most proxies that one controller serves; 0 is no limit.
    #[serde(deserialize_with = "field::nullable")]
    pub max_data_plane_connections: u32,
    /// The proxy's image.
    #[serde(deserialize_with = "field::nullable")]
    pub envoy_image: String,
    /// The proxy's image on Windows.
    #[serde(deserialize_with = "field::nullable")]
    pub envoy_windows_image: String,
    /// The init container's image.
    #[serde(deserialize_with = "field::nullable")]
    pub init_container_image: String,
    /// The proxy's requests and limits, in the words of Kubernetes.
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<serde_json::Value>,
    /// How often everything is sent again, as a duration.
    #[serde(deserialize_with = "field::nullable")]
    #[schemars(extend("pattern" = DURATION))]
    pub config_resync_interval: String,
    /// The oldest TLS between proxies.
    #[serde(deserialize_with = "word_or_nothing")]
    #[schemars(extend("x-written-default" = "TLSv1_2"))]
    pub tls_min_protocol_version: Option<TlsVersion>,
    /// The newest TLS between proxies.
    #[serde(deserialize_with = "word_or_nothing")]
    #[schemars(extend("x-written-default" = "TLSv1_3"))]
    pub tls_max_protocol_version: Option<TlsVersion>,
    /// Cipher suites between proxies.
    #[serde(deserialize_with = "field::nullable")]
    pub cipher_suites: Vec<String>,
    /// Curves between proxies.
    #[serde(deserialize_with = "field::nullable")]
    pub ecdh_curves: Vec<String>,
    /// Where the proxy finds its application.
    #[serde(deserialize_with = "word_or_nothing")]
    #[schemars(extend("x-written-default" = "Localhost"))]
    pub local_proxy_mode: Option<LocalProxyMode>,
}

/// How much a proxy logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words speak for themselves")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warning,
    Warn,
    Error,
    Critical,
    Off,
}

/// A version of TLS, in Envoy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[expect(non_camel_case_types, reason = "the schema writes them so")]
#[expect(missing_docs, reason = "the words speak for themselves")]
pub enum TlsVersion {
    TLS_AUTO,
    TLSv1_0,
    TLSv1_1,
    TLSv1_2,
    TLSv1_3,
}

/// Where a proxy finds its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum LocalProxyMode {
    /// On the loopback address.
    Localhost,
    /// On the pod's own address.
    PodIP,
}

/// Which traffic the mesh takes, and how.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrafficSpec {
    /// Whether addresses that the mesh does not know may be reached.
    #[serde(deserialize_with = "field::nullable")]
    pub enable_egress: bool,
    /// Destinations that bypass the proxy.
    #[serde(rename = "outboundIPRangeExclusionList", deserialize_with = "field::nullable")]
    #[schemars(schema_with = "schema::ipv4_networks")]
    pub outbound_ip_range_exclusion_list: Vec<Ipv4Net>,
    /// The only destinations that do not.
    #[serde(rename = "outboundIPRangeInclusionList", deserialize_with = "field::nullable")]
    #[schemars(schema_with = "schema::ipv4_networks")]
    pub outbound_ip_range_inclusion_list: Vec<Ipv4Net>,
    /// Destination ports that bypass the proxy.
    #[serde(deserialize_with = "field::nullable")]
    pub outbound_port_exclusion_list: Vec<NonZeroU16>,
    /// Ports of the pod that bypass the proxy.
    #[serde(deserialize_with = "field::nullable")]
    pub inbound_port_exclusion_list: Vec<NonZeroU16>,
    /// Interfaces that bypass the proxy.
    #[serde(deserialize_with = "field::nullable")]
    pub network_interface_exclusion_list: Vec<String>,
    /// Whether everybody in the mesh may reach everybody in it.
    #[serde(deserialize_with = "field::nullable")]
    pub enable_permissive_traffic_policy_mode: bool,
    /// Who else is asked about a request.
    #[serde(deserialize_with = "field::nullable")]
    pub inbound_external_authorization: ExternalAuthorization,
}

/// Who else is asked about a request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalAuthorization {
    /// Whether anybody is.
    #[serde(deserialize_with = "field::nullable")]
    pub enable: bool,
    /// Its address.
    #[serde(deserialize_with = "field::nullable")]
    pub address: String,
    /// Its port.
    #[serde(deserialize_with = "field::nullable")]
    pub port: Option<NonZeroU16>,
    /// The prefix of its statistics.
    #[serde(deserialize_with = "field::nullable")]
    #[schemars(extend("x-written-default" = "inboundExtAuthz"))]
    pub stat_prefix: String,
    /// How long to wait for it, as a duration.
    #[serde(deserialize_with = "field::nullable")]
    #[schemars(extend("pattern" = DURATION, "x-written-default" = "1s"))]
    pub timeout: String,
    /// Whether a request passes when it does not answer.
    #[serde(deserialize_with = "field::nullable")]
    pub failure_mode_allow: bool,
}

/// What can be seen of a mesh.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ObservabilitySpec {
    /// How much the control plane logs.
    #[serde(deserialize_with = "field::nullable")]
    pub osm_log_level: String,
    /// Whether the debug server runs.
    #[serde(deserialize_with = "field::nullable")]
    pub enable_debug_server: bool,
    /// Where traces go.
    #[serde(deserialize_with = "field::nullable")]
    pub tracing: TracingSpec,
}

/// Where traces go.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TracingSpec {
    /// Whether there are any.
    #[serde(deserialize_with = "field::nullable")]
    pub enable: bool,
    /// The collector's port.
    #[serde(deserialize_with = "field::nullable")]
    pub port: Option<NonZeroU16>,
    /// The collector's address.
    #[serde(deserialize_with = "field::nullable")]
    pub address: String,
    /// The collector's path.
    #[serde(deserialize_with = "field::nullable")]
    pub endpoint: String,
}

/// Settings of certificates.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertificateSpec {
    /// How long a workload's certificate lives, as a duration.
    #[schemars(extend("pattern" = DURATION))]
    pub service_cert_validity_duration: Option<String>,
    /// The size of keys: 256 or 384 for ECDSA, 2048, 3072 or 4096 for RSA; 0 is 256.
    #[serde(deserialize_with = "field::nullable")]
    pub cert_key_bit_size: u32,
    /// The certificate of an ingress gateway.
    pub ingress_gateway: Option<IngressGateway>,
}

/// The certificate of an ingress gateway.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressGateway {
    /// Its names.
    #[schemars(extend("minItems" = 1))]
    pub subject_alt_names: Vec<String>,
    /// How long it lives, as a duration.
    pub validity_duration: String,
    /// Where it is stored.
    pub secret: SecretRef,
}

/// A Secret.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Switches, all off unless they are on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are all that the schema says")]
pub struct FeatureFlags {
    #[serde(rename = "enableWASMStats", deserialize_with = "field::nullable")]
    pub enable_wasm_stats: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_egress_policy: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_multicluster_mode: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_snapshot_cache_mode: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_async_proxy_service_mapping: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_ingress_backend_policy: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_envoy_active_health_checks: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_retry_policy: bool,
    #[serde(deserialize_with = "field::nullable")]
    pub enable_mesh_root_certificate: bool,
}

impl MeshConfigSpec {
    /// The paths of the fields that ask for something that the mesh does not do
    /// yet. What it does anyway, or does not do when asked not to, is not among them.
    pub(crate) fn fields_without_effect(&self) -> Vec<String> {
        paths(vec![
            ("sidecar", self.sidecar.asked()),
            ("traffic", self.traffic.asked()),
            ("observability", self.observability.asked()),
            ("certificate", self.certificate.asked()),
            ("featureFlags", self.feature_flags.asked()),
        ])
    }

    /// The paths of the fields that ask for something that is done when a pod is injected,
    /// and nowhere else.
    #[must_use]
    pub fn fields_of_injection(&self) -> Vec<String> {
        paths(vec![("sidecar", self.sidecar.injected()), ("traffic", self.traffic.injected())])
    }
}

fn paths(parts: Vec<(&str, Asked)>) -> Vec<String> {
    let fields = parts.into_iter().flat_map(|(part, fields)| {
        fields.into_iter().filter(|(_, asked)| *asked).map(move |(name, _)| format!("spec.{part}.{name}"))
    });
    fields.collect()
}

type Asked = Vec<(&'static str, bool)>;

impl SidecarSpec {
    fn injected(&self) -> Asked {
        vec![
            ("enablePrivilegedInitContainer", self.enable_privileged_init_container),
            ("logLevel", self.log_level.is_some()),
            ("envoyImage", !self.envoy_image.is_empty()),
            ("initContainerImage", !self.init_container_image.is_empty()),
            ("resources", self.resources.as_ref().is_some_and(|value| *value != serde_json::json!({}))),
            ("localProxyMode", self.local_proxy_mode == Some(LocalProxyMode::PodIP)),
        ]
    }

    fn asked(&self) -> Asked {
        vec![("envoyWindowsImage", !self.envoy_windows_image.is_empty())]
    }
}

impl TrafficSpec {
    fn injected(&self) -> Asked {
        vec![
            ("outboundIPRangeExclusionList", !self.outbound_ip_range_exclusion_list.is_empty()),
            ("outboundIPRangeInclusionList", !self.outbound_ip_range_inclusion_list.is_empty()),
            ("outboundPortExclusionList", !self.outbound_port_exclusion_list.is_empty()),
            ("inboundPortExclusionList", !self.inbound_port_exclusion_list.is_empty()),
            ("networkInterfaceExclusionList", !self.network_interface_exclusion_list.is_empty()),
        ]
    }

    fn asked(&self) -> Asked {
        vec![("inboundExternalAuthorization", self.inbound_external_authorization.enable)]
    }
}

impl ObservabilitySpec {
    fn asked(&self) -> Asked {
        vec![
            ("osmLogLevel", !self.osm_log_level.is_empty()),
            ("enableDebugServer", self.enable_debug_server),
            ("tracing", self.tracing.enable),
        ]
    }
}

impl CertificateSpec {
    fn asked(&self) -> Asked {
        vec![("ingressGateway", self.ingress_gateway.is_some())]
    }
}

impl FeatureFlags {
    fn asked(&self) -> Asked {
        vec![
            ("enableWASMStats", self.enable_wasm_stats),
            ("enableEgressPolicy", self.enable_egress_policy),
            ("enableMulticlusterMode", self.enable_multicluster_mode),
            ("enableSnapshotCacheMode", self.enable_snapshot_cache_mode),
            ("enableAsyncProxyServiceMapping", self.enable_async_proxy_service_mapping),
            ("enableIngressBackendPolicy", self.enable_ingress_backend_policy),
            ("enableEnvoyActiveHealthChecks", self.enable_envoy_active_health_checks),
            ("enableRetryPolicy", self.enable_retry_policy),
        ]
    }
}

/// Reads one of some words; an empty text, like no text, is none of them.
fn word_or_nothing<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    use serde::de::IntoDeserializer;
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => T::deserialize(text.into_deserializer()).map(Some),
        _ => Ok(None),
    }
}
