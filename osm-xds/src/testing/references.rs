//! What a resource refers to and where it listens, read from its message as Envoy reads it.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, TransportSocket};
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::config::listener::v3::{Filter, Listener};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier as RouteTo;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier as TcpTo;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, UpstreamTlsContext,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{DecodeError, Message, Name};

use crate::resource::ResourceKind;

/// The names in a resource that mean other resources of the same proxy, and what it
/// takes for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Its own name.
    pub name: String,
    /// The endpoints that it asks for (a cluster whose discovery is EDS).
    pub endpoints: Option<String>,
    /// The secrets that it asks for.
    pub secrets: BTreeSet<String>,
    /// The route configurations that it asks for.
    pub routes: BTreeSet<String>,
    /// The clusters that it sends to.
    pub clusters: BTreeSet<String>,
    /// The addresses and ports where it takes connections (a listener).
    pub places: BTreeSet<(String, u32)>,
}

/// Reads what a resource refers to from its message.
///
/// # Errors
/// When the bytes are not a message of this kind.
pub fn references(kind: ResourceKind, body: &[u8]) -> Result<References, DecodeError> {
    match kind {
        ResourceKind::Cluster => of_cluster(&Cluster::decode(body)?),
        ResourceKind::Endpoints => {
            let name = ClusterLoadAssignment::decode(body)?.cluster_name;
            Ok(References { name, ..References::default() })
        }
        ResourceKind::Secret => Ok(References { name: Secret::decode(body)?.name, ..References::default() }),
        ResourceKind::Listener => of_listener(&Listener::decode(body)?),
        ResourceKind::Route => {
            let routes = RouteConfiguration::decode(body)?;
            let mut found = References { name: routes.name.clone(), ..References::default() };
            of_routes(&routes, &mut found);
            Ok(found)
        }
    }
}

fn of_cluster(cluster: &Cluster) -> Result<References, DecodeError> {
    let mut found = References { name: cluster.name.clone(), ..References::default() };
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())) {
        let service = cluster.eds_cluster_config.as_ref().map(|config| config.service_name.clone());
        let name = service.filter(|name| !name.is_empty()).unwrap_or_else(|| cluster.name.clone());
        found.endpoints = Some(name);
    }
    of_socket(cluster.transport_socket.as_ref(), &mut found)?;
    Ok(found)
}

fn of_listener(listener: &Listener) -> Result<References, DecodeError> {
    let addresses = listener
        .address
        .iter()
        .chain(listener.additional_addresses.iter().filter_map(|it| it.address.as_ref()));
    let places = addresses.filter_map(place).collect();
    let mut found = References { name: listener.name.clone(), places, ..References::default() };
    for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        of_socket(chain.transport_socket.as_ref(), &mut found)?;
        for filter in &chain.filters {
            of_filter(filter, &mut found)?;
        }
    }
    Ok(found)
}

fn place(address: &Address) -> Option<(String, u32)> {
    let Some(AddressKind::SocketAddress(socket)) = &address.address else { return None };
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    Some((socket.address.clone(), port))
}

fn of_filter(filter: &Filter, found: &mut References) -> Result<(), DecodeError> {
    let Some(FilterConfig::TypedConfig(config)) = &filter.config_type else { return Ok(()) };
    if let Some(manager) = unpack::<HttpConnectionManager>(config)? {
        match &manager.route_specifier {
            Some(RouteSpecifier::Rds(rds)) => drop(found.routes.insert(rds.route_config_name.clone())),
            Some(RouteSpecifier::RouteConfig(routes)) => of_routes(routes, found),
            _ => {}
        }
    }
    if let Some(proxy) = unpack::<TcpProxy>(config)? {
        match proxy.cluster_specifier {
            Some(TcpTo::Cluster(cluster)) => drop(found.clusters.insert(cluster)),
            Some(TcpTo::WeightedClusters(weighted)) => {
                found.clusters.extend(weighted.clusters.into_iter().map(|cluster| cluster.name));
            }
            None => {}
        }
    }
    Ok(())
}

fn of_routes(routes: &RouteConfiguration, found: &mut References) {
    for route in routes.virtual_hosts.iter().flat_map(|host| &host.routes) {
        let Some(Action::Route(action)) = &route.action else { continue };
        match &action.cluster_specifier {
            Some(RouteTo::Cluster(cluster)) => drop(found.clusters.insert(cluster.clone())),
            Some(RouteTo::WeightedClusters(weighted)) => {
                found.clusters.extend(weighted.clusters.iter().map(|cluster| cluster.name.clone()));
            }
            _ => {}
        }
    }
}

fn of_socket(socket: Option<&TransportSocket>, found: &mut References) -> Result<(), DecodeError> {
    let Some(SocketConfig::TypedConfig(config)) = socket.and_then(|socket| socket.config_type.as_ref())
    else {
        return Ok(());
    };
    let upstream = unpack::<UpstreamTlsContext>(config)?.and_then(|context| context.common_tls_context);
    let downstream = unpack::<DownstreamTlsContext>(config)?.and_then(|context| context.common_tls_context);
    for common in upstream.into_iter().chain(downstream) {
        found.secrets.extend(of_tls(&common));
    }
    Ok(())
}

fn of_tls(common: &CommonTlsContext) -> impl Iterator<Item = String> {
    let validation = match &common.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => Some(secret),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config.as_ref()
        }
        _ => None,
    };
    let secrets = common.tls_certificate_sds_secret_configs.iter().chain(validation);
    let by_discovery = |secret: &&SdsSecretConfig| secret.sds_config.is_some();
    secrets.filter(by_discovery).map(|secret| secret.name.clone()).collect::<Vec<_>>().into_iter()
}

/// The message in an `Any`, if it is one of this type.
fn unpack<M: Message + Name + Default>(any: &Any) -> Result<Option<M>, DecodeError> {
    if any.type_url != M::type_url() {
        return Ok(None);
    }
    M::decode(any.value.as_slice()).map(Some)
}
