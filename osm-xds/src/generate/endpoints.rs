//! The addresses behind an upstream.

use std::net::IpAddr;
use std::num::NonZeroU16;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use osm_core::ir::UpstreamEndpoints;

use super::{names, resource};
use crate::resource::{Resource, ResourceKind};

/// The endpoints of an upstream; all weigh the same.
#[must_use]
pub fn endpoints(upstream: &UpstreamEndpoints) -> Resource {
    let UpstreamEndpoints { name, addresses, origin } = upstream;
    let name = names::cluster(name);
    let message = assignment(name.clone(), addresses.iter().copied());
    resource(ResourceKind::Endpoints, name, &message, Vec::new(), vec![origin.clone()])
}

/// The assignment of addresses to a cluster.
pub(super) fn assignment(
    cluster_name: String,
    addresses: impl Iterator<Item = (IpAddr, NonZeroU16)>,
) -> ClusterLoadAssignment {
    let lb_endpoints: Vec<LbEndpoint> = addresses.map(|(ip, port)| endpoint(ip, port)).collect();
    let locality = LocalityLbEndpoints {
        // Envoy needs neither; gRPC's own client ignores localities without them.
        locality: Some(Locality::default()),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        lb_endpoints,
        ..Default::default()
    };
    let endpoints = if locality.lb_endpoints.is_empty() { Vec::new() } else { vec![locality] };
    ClusterLoadAssignment { cluster_name, endpoints, ..Default::default() }
}

/// An address and a TCP port.
pub(super) fn socket_address(ip: IpAddr, port: NonZeroU16) -> Address {
    let address = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.get().into())),
        ..Default::default()
    };
    Address { address: Some(AddressKind::SocketAddress(address)) }
}

fn endpoint(ip: IpAddr, port: NonZeroU16) -> LbEndpoint {
    let endpoint = Endpoint { address: Some(socket_address(ip, port)), ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}
