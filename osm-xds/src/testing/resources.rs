//! Small resources that are messages as Envoy reads them, each with a note in
//! it: another note makes another version.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::core::v3::{ConfigSource, DataSource, TransportSocket, data_source};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, GenericSecret, SdsSecretConfig, Secret, UpstreamTlsContext, secret,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};

/// The key of a resource.
#[must_use]
pub fn key(kind: ResourceKind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, ResourceName::new(name))
}

/// A cluster whose endpoints come by EDS, and which needs these secrets.
#[must_use]
pub fn cluster(name: &str, note: &str, secrets: &[&str]) -> Arc<Resource> {
    let secret =
        |name: &&str| SdsSecretConfig { name: (*name).to_owned(), sds_config: Some(ConfigSource::default()) };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: secrets.iter().map(secret).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let socket = TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(SocketConfig::TypedConfig(pack(&context))),
    };
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: note.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        transport_socket: (!secrets.is_empty()).then_some(socket),
        ..Default::default()
    };
    let needs = secrets.iter().map(|secret| key(ResourceKind::Secret, secret)).collect();
    resource(ResourceKind::Cluster, name, &message, needs)
}

/// Endpoints of a cluster.
#[must_use]
pub fn endpoints(cluster: &str, note: &str) -> Arc<Resource> {
    let locality = Locality { zone: note.to_owned(), ..Default::default() };
    let message = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints { locality: Some(locality), ..Default::default() }],
        ..Default::default()
    };
    resource(ResourceKind::Endpoints, cluster, &message, vec![])
}

/// A secret.
#[must_use]
pub fn secret(name: &str, note: &str) -> Arc<Resource> {
    let text = DataSource {
        specifier: Some(data_source::Specifier::InlineString(note.to_owned())),
        ..Default::default()
    };
    let generic = GenericSecret { secret: Some(text), ..Default::default() };
    let message = Secret { name: name.to_owned(), r#type: Some(secret::Type::GenericSecret(generic)) };
    resource(ResourceKind::Secret, name, &message, vec![])
}

/// An HTTP listener whose routes come by RDS.
#[must_use]
pub fn http_listener(name: &str, note: &str, routes: &str) -> Arc<Resource> {
    let rds = Rds { route_config_name: routes.to_owned(), ..Default::default() };
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        stat_prefix: note.to_owned(),
        ..Default::default()
    };
    listener(name, pack(&manager), vec![])
}

/// A TCP listener that sends to a cluster.
#[must_use]
pub fn tcp_listener(name: &str, note: &str, cluster: &str) -> Arc<Resource> {
    let proxy = TcpProxy {
        stat_prefix: note.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    listener(name, pack(&proxy), vec![key(ResourceKind::Cluster, cluster)])
}

/// Routes to clusters.
#[must_use]
pub fn routes(name: &str, note: &str, clusters: &[&str]) -> Arc<Resource> {
    let route = |cluster: &&str| Route {
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster((*cluster).to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let host = VirtualHost {
        name: note.to_owned(),
        routes: clusters.iter().map(route).collect(),
        ..Default::default()
    };
    let message =
        RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![host], ..Default::default() };
    let needs = clusters.iter().map(|cluster| key(ResourceKind::Cluster, cluster)).collect();
    resource(ResourceKind::Route, name, &message, needs)
}

fn listener(name: &str, filter: Any, needs: Vec<ResourceKey>) -> Arc<Resource> {
    let filter = Filter { name: "filter".to_owned(), config_type: Some(FilterConfig::TypedConfig(filter)) };
    let chain = FilterChain { filters: vec![filter], ..Default::default() };
    let message = Listener { name: name.to_owned(), filter_chains: vec![chain], ..Default::default() };
    resource(ResourceKind::Listener, name, &message, needs)
}

fn resource(
    kind: ResourceKind,
    name: &str,
    message: &impl Message,
    needs: Vec<ResourceKey>,
) -> Arc<Resource> {
    Arc::new(Resource::new(key(kind, name), message.encode_to_vec().into(), needs, vec![]))
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}
