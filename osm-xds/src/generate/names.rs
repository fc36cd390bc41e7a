//! The names of all resources, as operators and users of statistics see them.
//!
//! `docs/differences-from-osm.md` says which forms are Open Service Mesh's.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use osm_core::ir::{InboundService, MemberName, ServicePortName};
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

/// The cluster of the members of a headless service's port, each reached by the address
/// that was dialled: `ns/svc|port|members`.
#[must_use]
pub fn members_cluster(name: &ServicePortName) -> String {
    format!("{}|members", cluster(name))
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

/// The listener of a member of a headless service at a place:
/// `outbound_ns/svc/member_port_protocol_address:port`, without `/member` where it has no name.
/// One that is refused has its listener under the same name.
///
/// The member does not stand before a dot, as in its host name: names of services may have dots.
/// The place is part of the name, so that a listener never moves: Envoy refuses one that comes to
/// a place before another one has left it, but takes away before it adds.
#[must_use]
pub fn member_listener(
    name: &ServicePortName,
    member: &MemberName,
    protocol: Protocol,
    (address, dialled): (IpAddr, NonZeroU16),
) -> String {
    let ServicePortName { service, port } = name;
    let host = match member {
        MemberName::Host(host) => format!("/{host}"),
        MemberName::Address(_) => String::new(),
    };
    let place = SocketAddr::new(address, dialled.get());
    format!("outbound_{service}{host}_{port}_{protocol}_{place}")
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

/// The virtual host of all other names, in a headless service:
/// `outbound_virtual-host|svc.ns.svc.cluster.local|members`.
#[must_use]
pub fn members_virtual_host(name: &ServicePortName) -> String {
    format!("{}|members", outbound_virtual_host(name))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use osm_core::ir::{MemberName, ServicePortName};
    use osm_core::model::Protocol;

    use super::{member_listener, outbound_listener};

    #[test]
    fn no_two_listeners_share_a_name_whatever_dots_there_are_in_those_of_services() {
        let port = 80.try_into().expect("not 0");
        let place = |last: u8| ([10, 0, 0, last].into(), port);
        let members = [
            MemberName::Address([10, 0, 0, 1].into()),
            MemberName::Host("a".parse().expect("a name")),
            MemberName::Host("b".parse().expect("a name")),
        ];
        let (mut names, mut count) = (BTreeSet::new(), 0);
        for service in ["shop/a", "shop/b", "shop/a.b", "shop/b.a", "shop/a.a.b", "bank/a"] {
            let name = ServicePortName::new(service.parse().expect("a name"), port);
            for protocol in [Protocol::Http, Protocol::Tcp] {
                names.insert(outbound_listener(&name, protocol));
                for (member, last) in members.iter().flat_map(|member| [(member, 1), (member, 2)]) {
                    names.insert(member_listener(&name, member, protocol, place(last)));
                }
                count += 1 + 2 * members.len();
            }
        }
        assert_eq!(names.len(), count, "{names:?}");
    }
}
