//! What listeners of all kinds are made of.

use std::net::IpAddr;
use std::num::NonZeroU16;

use envoy_types::pb::envoy::config::core::v3::{Address, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::{
    AdditionalAddress, Filter, FilterChain, Listener, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use osm_core::interception::IpFamilies;

use super::endpoints::socket_address;
use crate::encode::pack;

/// Where outgoing connections are redirected to.
pub(super) const OUTBOUND_PORT: u16 = 15001;
/// Where incoming connections are redirected to.
pub(super) const INBOUND_PORT: u16 = 15003;

/// A listener on a port of the pod, to which connections are redirected: a socket for each
/// version of IP, since only so it is known where a connection was going.
pub(super) fn redirected(
    name: &str,
    (families, port): (IpFamilies, u16),
    direction: TrafficDirection,
) -> Listener {
    let port = NonZeroU16::new(port);
    let mut addresses =
        families.everywhere().iter().filter_map(|address| Some(socket_address(*address, port?)));
    Listener {
        name: name.to_owned(),
        address: addresses.next(),
        additional_addresses: addresses.map(additional).collect(),
        traffic_direction: direction.into(),
        listener_filters: vec![original_destination()],
        ..Default::default()
    }
}

/// A listener that is handed connections to these addresses and ports.
pub(super) fn virtual_listener(
    name: String,
    places: impl IntoIterator<Item = (IpAddr, NonZeroU16)>,
    chain: FilterChain,
) -> Listener {
    let mut addresses = places.into_iter().map(|(address, port)| socket_address(address, port));
    Listener {
        name,
        address: addresses.next(),
        additional_addresses: addresses.map(additional).collect(),
        bind_to_port: Some(BoolValue { value: false }),
        traffic_direction: TrafficDirection::Outbound.into(),
        filter_chains: vec![chain],
        ..Default::default()
    }
}

/// A filter chain for every connection; one without filters closes them.
pub(super) fn chain(name: &str, filters: Vec<Filter>) -> FilterChain {
    FilterChain { name: name.to_owned(), filters, ..Default::default() }
}

/// A network filter.
pub(super) fn filter(name: &str, config: Any) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

/// Passes bytes on to a cluster, or to several by weight.
pub(super) fn tcp_proxy(stat_prefix: &str, to: ClusterSpecifier) -> Filter {
    let proxy =
        TcpProxy { stat_prefix: stat_prefix.to_owned(), cluster_specifier: Some(to), ..Default::default() };
    filter("envoy.filters.network.tcp_proxy", pack(&proxy))
}

/// Finds out where a redirected connection was going.
fn original_destination() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_dst", pack(&OriginalDst {}))
}

/// Finds out which server name is asked for.
pub(super) fn server_name() -> ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", pack(&TlsInspector::default()))
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn additional(address: Address) -> AdditionalAddress {
    AdditionalAddress { address: Some(address), ..Default::default() }
}
