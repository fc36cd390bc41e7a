//! The addresses behind an upstream.

use std::net::IpAddr;
use std::num::NonZeroU16;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::AdditionalAddress;
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

/// The assignment of addresses to a cluster, each an endpoint.
pub(super) fn assignment(
    cluster_name: String,
    addresses: impl Iterator<Item = (IpAddr, NonZeroU16)>,
) -> ClusterLoadAssignment {
    assigned(cluster_name, addresses.map(|(ip, port)| endpoint([socket_address(ip, port)])).collect())
}

/// The assignment of one endpoint to a cluster; its addresses are tried in turn.
pub(super) fn one(
    cluster_name: String,
    addresses: impl Iterator<Item = (IpAddr, NonZeroU16)>,
) -> ClusterLoadAssignment {
    assigned(cluster_name, vec![endpoint(addresses.map(|(ip, port)| socket_address(ip, port)))])
}

fn assigned(cluster_name: String, lb_endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
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

fn endpoint(addresses: impl IntoIterator<Item = Address>) -> LbEndpoint {
    let mut addresses = addresses.into_iter();
    let endpoint = Endpoint {
        address: addresses.next(),
        additional_addresses: addresses.map(|address| AdditionalAddress { address: Some(address) }).collect(),
        ..Default::default()
    };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}
