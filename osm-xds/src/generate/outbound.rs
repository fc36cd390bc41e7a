//! Service ports that the workload dials: a listener each, and routes for HTTP.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy as tcp;
use envoy_types::pb::google::protobuf::UInt32Value;
use osm_core::diagnostic::Origin;
use osm_core::ir::{MatchedRoute, OutboundRoute, OutboundService, RefusedService, ServicePortName};
use osm_core::model::Protocol;

use super::{cluster_key, distinct, http, listener, names, requests, resource};
use crate::resource::{Resource, ResourceKey, ResourceKind};

/// The listener of a service port, and for HTTP its route configuration.
#[must_use]
pub fn outbound_service(service: &OutboundService) -> Vec<Resource> {
    let OutboundService { name, protocol, addresses, hostnames, matched, route, origin } = service;
    let listener_name = names::outbound_listener(name, *protocol);
    let listener = |filters: Vec<Filter>, needs: Vec<ResourceKey>, origins: Vec<Origin>| {
        let chain = listener::chain(&listener_name, filters);
        let message = listener::virtual_listener(listener_name.clone(), addresses, name.port, chain);
        resource(ResourceKind::Listener, listener_name.clone(), &message, needs, origins)
    };
    match protocol {
        Protocol::Http | Protocol::Grpc => {
            let manager = http::outbound(&names::outbound_routes(name));
            let listener = listener(vec![manager], Vec::new(), vec![origin.clone()]);
            let domains = hostnames.iter().map(|host| host.to_string()).collect();
            vec![listener, route_configuration(name, domains, matched, route, origin)]
        }
        Protocol::Tcp | Protocol::TcpServerFirst => {
            let origins = distinct([origin.clone()].into_iter().chain(route_origin(route)));
            let proxy = tcp_destination(route).map(|to| listener::tcp_proxy(&listener_name, to));
            vec![listener(proxy.into_iter().collect(), clusters(route), origins)]
        }
    }
}

/// The listener of a service port that the workload may not dial: it closes
/// connections. It has the name of the one that would let them through.
#[must_use]
pub fn refused(service: &RefusedService) -> Resource {
    let RefusedService { name, protocol, addresses, origin } = service;
    let listener_name = names::outbound_listener(name, *protocol);
    let chain = listener::chain(&listener_name, Vec::new());
    let message = listener::virtual_listener(listener_name.clone(), addresses, name.port, chain);
    resource(ResourceKind::Listener, listener_name, &message, Vec::new(), vec![origin.clone()])
}

/// The routes of a service port, for requests to these domains. The first one
/// that fits a request takes it; the last one fits every request.
pub(super) fn route_configuration(
    name: &ServicePortName,
    domains: Vec<String>,
    matched: &[MatchedRoute],
    route: &OutboundRoute,
    origin: &Origin,
) -> Resource {
    let mut routes = Vec::new();
    for MatchedRoute { requests, route } in matched {
        routes.extend(requests.iter().map(|request| to(requests::fitting(request), route)));
    }
    routes.push(to(every_request(), route));
    let host =
        VirtualHost { name: names::outbound_virtual_host(name), domains, routes, ..Default::default() };
    let routes_name = names::outbound_routes(name);
    let message = RouteConfiguration {
        name: routes_name.clone(),
        virtual_hosts: vec![host],
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let all = || matched.iter().map(|matched| &matched.route).chain([route]);
    let origins = distinct([origin.clone()].into_iter().chain(all().filter_map(route_origin)));
    resource(ResourceKind::Route, routes_name, &message, distinct(all().flat_map(clusters)), origins)
}

fn to(fits: RouteMatch, route: &OutboundRoute) -> Route {
    Route { r#match: Some(fits), action: Some(action(route)), ..Default::default() }
}

/// Fits every request.
pub(super) fn every_request() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

fn action(route: &OutboundRoute) -> Action {
    match route {
        OutboundRoute::Single(to) => to_cluster(ClusterSpecifier::Cluster(names::cluster(to))),
        OutboundRoute::Weighted { backends, origin: _ } => {
            to_cluster(ClusterSpecifier::WeightedClusters(weighted(backends)))
        }
        OutboundRoute::Unavailable { origin } => {
            let body = Specifier::InlineString(format!("no backend is available: {}\n", origin.name()));
            Action::DirectResponse(DirectResponseAction {
                status: 503,
                body: Some(DataSource { specifier: Some(body), ..Default::default() }),
                ..Default::default()
            })
        }
    }
}

/// Sends requests on, however long they take to answer.
pub(super) fn to_cluster(to: ClusterSpecifier) -> Action {
    Action::Route(RouteAction {
        cluster_specifier: Some(to),
        timeout: http::seconds(0),
        ..Default::default()
    })
}

fn weighted(backends: &BTreeMap<ServicePortName, u32>) -> WeightedCluster {
    let cluster = |(name, weight): (&ServicePortName, &u32)| ClusterWeight {
        name: names::cluster(name),
        weight: Some(UInt32Value { value: *weight }),
        ..Default::default()
    };
    WeightedCluster { clusters: backends.iter().map(cluster).collect(), ..Default::default() }
}

/// Where TCP connections go; `None` closes them. A weight of 0 is not allowed
/// there, and means the same as not being named.
fn tcp_destination(route: &OutboundRoute) -> Option<tcp::ClusterSpecifier> {
    match route {
        OutboundRoute::Single(to) => Some(tcp::ClusterSpecifier::Cluster(names::cluster(to))),
        OutboundRoute::Weighted { backends, origin: _ } => {
            let cluster = |(name, weight): (&ServicePortName, &u32)| tcp::weighted_cluster::ClusterWeight {
                name: names::cluster(name),
                weight: *weight,
                ..Default::default()
            };
            let clusters = backends.iter().filter(|(_, weight)| **weight > 0).map(cluster).collect();
            Some(tcp::ClusterSpecifier::WeightedClusters(tcp::WeightedCluster { clusters }))
        }
        OutboundRoute::Unavailable { origin: _ } => None,
    }
}

fn clusters(route: &OutboundRoute) -> Vec<ResourceKey> {
    let names: Vec<&ServicePortName> = match route {
        OutboundRoute::Single(to) => vec![to],
        OutboundRoute::Weighted { backends, origin: _ } => backends.keys().collect(),
        OutboundRoute::Unavailable { origin: _ } => Vec::new(),
    };
    names.into_iter().map(|name| cluster_key(names::cluster(name))).collect()
}

fn route_origin(route: &OutboundRoute) -> Option<Origin> {
    match route {
        OutboundRoute::Single(_) => None,
        OutboundRoute::Weighted { origin, .. } | OutboundRoute::Unavailable { origin } => {
            Some(origin.clone())
        }
    }
}
