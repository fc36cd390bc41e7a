//! The messages that are encoded, and where their maps are.
//!
//! A test of the generator compares the table with the descriptors: a map
//! that is used and not listed fails it.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http_rbac;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3 as http_filter_state;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::set_filter_state::v3 as network_filter_state;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early_header_mutation;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, Secret, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

use super::Canonical;

macro_rules! messages {
    ($($message:ty => $maps:expr;)*) => {
        $(impl Canonical for $message {
            const MAPS: &'static [&'static [u32]] = $maps;
        })*
    };
}

messages! {
    // typed_extension_protocol_options
    Cluster => &[&[36]];
    ClusterLoadAssignment => &[];
    Listener => &[];
    // virtual_hosts.typed_per_filter_config, virtual_hosts.routes.typed_per_filter_config
    RouteConfiguration => &[&[2, 15], &[2, 3, 13]];
    Secret => &[];
    UpstreamTlsContext => &[];
    DownstreamTlsContext => &[];
    HttpProtocolOptions => &[];
    HttpConnectionManager => &[];
    TcpProxy => &[];
    network_filter_state::Config => &[];
    http_filter_state::Config => &[];
    // rules.policies
    http_rbac::Rbac => &[&[1, 2]];
    // rbac.rules.policies
    http_rbac::RbacPerRoute => &[&[2, 1, 2]];
    Router => &[];
    OriginalDst => &[];
    TlsInspector => &[];
    early_header_mutation::HeaderMutation => &[];
}
