//! The names of all resources, as operators and users of statistics see them.
//!
//! `docs/differences-from-osm.md` says which forms are Open Service Mesh's.

use std::num::NonZeroU16;

use osm_core::ir::{InboundService, ServicePortName};
use osm_core::model::Protocol;
use osm_core::name::ServiceName;

/// The listener that takes all outgoing connections and hands them on.
pub const OUTBOUND_LISTENER: &str = "outbound-listener";
/// The listener that takes all incoming connections.
pub const INBOUND_LISTENER: &str = "inbound-listener";
/// The cluster of connections that pass through unchanged.
pub const PASSTHROUGH_CLUSTER: &str = "passthrough-outbound";
/// The secret with the certificate of the asking proxy's workload.
pub const CERTIFICATE_SECRET: &str = "service-cert";
/// The secret with the certificates of authorities that the mesh trusts.
pub const TRUST_SECRET: &str = "root-cert-for-mtls";
/// The application protocol (ALPN) of connections between proxies.
pub const MESH_ALPN: &str = "osm";
/// The application protocol (ALPN) of HTTP/2, which gRPC insists on.
pub const HTTP2_ALPN: &str = "h2";
/// What programs that have their certificates from files call the provider of
/// them, in their own bootstrap.
pub const CERTIFICATE_PROVIDER: &str = "default";

/// The cluster of a service port, and its endpoints: `ns/svc|port`.
#[must_use]
pub fn cluster(name: &ServicePortName) -> String {
    format!("{}|{}", name.service, name.port)
}

/// The cluster of the application beside the proxy: `ns/svc|port|local`.
#[must_use]
pub fn local_cluster(service: &ServiceName, target_port: NonZeroU16) -> String {
    format!("{service}|{target_port}|local")
}

/// The listener of a service port that clients dial: `outbound_ns/svc_port_protocol`.
/// A service that is refused has its listener under the same name.
#[must_use]
pub fn outbound_listener(name: &ServicePortName, protocol: Protocol) -> String {
    format!("outbound_{}_{}_{protocol}", name.service, name.port)
}

/// What a client that dials by name calls a service port: `host:port`.
#[must_use]
pub fn dialled(host: &str, port: NonZeroU16) -> String {
    format!("{host}:{port}")
}

/// The routes of a service port that clients dial: `rds-outbound.ns/svc_port`.
#[must_use]
pub fn outbound_routes(name: &ServicePortName) -> String {
    format!("rds-outbound.{}_{}", name.service, name.port)
}

/// The virtual host in it: `outbound_virtual-host|svc.ns.svc.cluster.local`.
#[must_use]
pub fn outbound_virtual_host(name: &ServicePortName) -> String {
    format!("outbound_virtual-host|{}.{}.svc.cluster.local", name.service.name, name.service.namespace)
}

/// The filter chain of a service on the workload: `inbound_ns/svc_port_protocol`.
#[must_use]
pub fn inbound_chain(service: &InboundService) -> String {
    format!("inbound_{}_{}_{}", service.service, service.target_port, service.protocol)
}

/// The routes of a service on the workload: `rds-inbound.ns/svc_port`.
#[must_use]
pub fn inbound_routes(service: &InboundService) -> String {
    format!("rds-inbound.{}_{}", service.service, service.target_port)
}

/// The virtual host in it: `inbound_virtual-host|svc.ns.svc.cluster.local`.
#[must_use]
pub fn inbound_virtual_host(service: &InboundService) -> String {
    format!("inbound_virtual-host|{}", service.server_name)
}

/// The secret with the trust and the client names of a TCP service on the
/// workload: `root-cert-for-mtls-inbound:ns/svc_port`.
#[must_use]
pub fn inbound_validation(service: &InboundService) -> String {
    format!("root-cert-for-mtls-inbound:{}_{}", service.service, service.target_port)
}
