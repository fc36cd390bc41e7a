//! What the mesh's operator says about proxies: flags of the control plane, and the
//! MeshConfig, which wins.

use osm_core::interception::{Interception, IpNet, LocalProxyMode as Mode, OutboundScope};
use serde_json::Value;

use super::init_container::POD_ADDRESSES;
use crate::manifest::{LocalProxyMode, LogLevel, MeshConfigSpec};

/// How a proxy stands in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarKind {
    /// As an init container that goes on (Kubernetes 1.29 and later): the application starts
    /// when its proxy has its configuration, and a Job ends with its own containers.
    Native,
    /// As one more container.
    Classic,
}

impl SidecarKind {
    /// The kind of a cluster whose version has this minor number after `1.`.
    pub(super) fn of_minor(minor: u32) -> Self {
        if minor >= FIRST_WITH_NATIVE { Self::Native } else { Self::Classic }
    }
}

/// What a proxy proves itself with to its control plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyIdentity {
    /// The token of its pod, which Kubernetes keeps fresh: there is no key at rest.
    #[default]
    Token,
    /// A certificate, in a Secret of its pod: the way of Open Service Mesh.
    Secret,
}

/// The first version of Kubernetes whose init containers may go on, unless told not to.
const FIRST_WITH_NATIVE: u32 = 29;

/// What holds where the MeshConfig says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarDefaults {
    /// The mesh.
    pub mesh_name: String,
    /// The namespace of its control plane.
    pub osm_namespace: String,
    /// The proxy's image.
    pub sidecar_image: String,
    /// The image of the init container, with `sh`, `iptables-restore` and `ip6tables-restore`.
    pub init_image: String,
    /// When the images are pulled; empty leaves it to Kubernetes.
    pub pull_policy: String,
    /// How proxies stand in their pods; `None` is natively where the cluster knows that.
    pub kind: Option<SidecarKind>,
    /// What proxies prove themselves with.
    pub identity: ProxyIdentity,
}

/// What holds for the next pod.
#[derive(Debug, Clone, PartialEq)]
pub struct InjectionSettings {
    pub(super) mesh_name: String,
    pub(super) osm_namespace: String,
    pub(super) sidecar_image: String,
    pub(super) init_image: String,
    pub(super) pull_policy: String,
    pub(super) kind: SidecarKind,
    pub(super) identity: ProxyIdentity,
    pub(super) log_level: &'static str,
    pub(super) resources: Option<Value>,
    pub(super) privileged_init: bool,
    pub(super) interception: Interception,
}

impl SidecarDefaults {
    /// The settings under a MeshConfig, in a cluster with this kind of sidecars. An interface whose name can't be one is not excluded.
    #[must_use]
    pub fn under(&self, spec: &MeshConfigSpec, of_cluster: SidecarKind) -> InjectionSettings {
        let (sidecar, traffic) = (&spec.sidecar, &spec.traffic);
        let or =
            |text: &String, default: &String| if text.is_empty() { default.clone() } else { text.clone() };
        let mut interception = Interception::default();
        if sidecar.local_proxy_mode == Some(LocalProxyMode::PodIP) {
            interception.local_proxy = Mode::PodIp(POD_ADDRESSES.to_vec());
        }
        interception.excluded_inbound_ports = traffic.inbound_port_exclusion_list.iter().copied().collect();
        interception.excluded_outbound_ports = traffic.outbound_port_exclusion_list.iter().copied().collect();
        interception.excluded_networks =
            traffic.outbound_ip_range_exclusion_list.iter().copied().map(IpNet::V4).collect();
        if !traffic.outbound_ip_range_inclusion_list.is_empty() {
            let only = traffic.outbound_ip_range_inclusion_list.iter().copied().map(IpNet::V4);
            interception.outbound = OutboundScope::Only(only.collect());
        }
        let interfaces = traffic.network_interface_exclusion_list.iter();
        interception.excluded_interfaces = interfaces.filter_map(|name| name.parse().ok()).collect();
        InjectionSettings {
            mesh_name: self.mesh_name.clone(),
            osm_namespace: self.osm_namespace.clone(),
            sidecar_image: or(&sidecar.envoy_image, &self.sidecar_image),
            init_image: or(&sidecar.init_container_image, &self.init_image),
            pull_policy: self.pull_policy.clone(),
            kind: self.kind.unwrap_or(of_cluster),
            identity: self.identity,
            log_level: log_level(sidecar.log_level),
            resources: sidecar.resources.clone().filter(Value::is_object),
            privileged_init: sidecar.enable_privileged_init_container,
            interception,
        }
    }
}

fn log_level(level: Option<LogLevel>) -> &'static str {
    match level {
        Some(LogLevel::Trace) => "trace",
        Some(LogLevel::Debug) => "debug",
        Some(LogLevel::Info) => "info",
        Some(LogLevel::Warning | LogLevel::Warn) => "warning",
        None | Some(LogLevel::Error) => "error",
        Some(LogLevel::Critical) => "critical",
        Some(LogLevel::Off) => "off",
    }
}
