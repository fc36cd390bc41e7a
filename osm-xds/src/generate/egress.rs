//! The listener that takes every outgoing connection, and the way out.

use super::listener::OUTBOUND_PORT;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
use envoy_types::pb::google::protobuf::BoolValue;
use osm_core::interception::IpFamilies;
use osm_core::ir::Egress;

use super::{cluster, cluster_key, listener, names, resource};
use crate::resource::{Resource, ResourceKind};

/// The listener that hands a connection to the listener of the service that is
/// dialled, and does with all others what `egress` says.
#[must_use]
pub fn outbound_listener(egress: &Egress, families: IpFamilies) -> Vec<Resource> {
    let name = names::OUTBOUND_LISTENER;
    let (origin, way_out) = match egress {
        Egress::Refuse(origin) => (origin, None),
        Egress::Passthrough(origin) => (origin, Some(cluster::passthrough())),
    };
    let filters = way_out
        .iter()
        .map(|out| listener::tcp_proxy(&out.name, ClusterSpecifier::Cluster(out.name.clone())))
        .collect();
    let place = (families, OUTBOUND_PORT);
    let mut message = listener::redirected(name, place, TrafficDirection::Outbound);
    message.use_original_dst = Some(BoolValue { value: true });
    message.filter_chains = vec![listener::chain("outbound-egress-filter-chain", filters)];
    let needs = way_out.iter().map(|out| cluster_key(out.name.clone())).collect();
    let mut resources =
        vec![resource(ResourceKind::Listener, name.to_owned(), &message, needs, vec![origin.clone()])];
    resources.extend(way_out.map(|out| {
        resource(ResourceKind::Cluster, out.name.clone(), &out, Vec::new(), vec![origin.clone()])
    }));
    resources
}
