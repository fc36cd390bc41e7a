//! Service ports that the workload dials: a listener each, and routes for HTTP.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU16;

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
use osm_core::ir::{
    MatchedRoute, MemberName, OutboundMember, OutboundRoute, OutboundService, RefusedService, ServicePortName,
};
use osm_core::model::Protocol;

use super::{cluster_key, distinct, http, listener, names, requests, resource, server_name};
use crate::resource::{Resource, ResourceKey, ResourceKind};

/// Fits every host name.
pub(super) const EVERY_HOST: &str = "*";

/// The listener of a service port, and for HTTP its route configuration. A headless
/// service has no listener of its own.
#[must_use]
pub fn outbound_service(service: &OutboundService) -> Vec<Resource> {
    let OutboundService { name, protocol, addresses, hostnames, matched, route, otherwise, origin } = service;
    let places = || addresses.iter().map(|address| (*address, name.port));
    let own = Own { name, protocol: *protocol, route, origin };
    let listener_name = names::outbound_listener(name, *protocol);
    let mut resources = Vec::new();
    if !addresses.is_empty() {
        resources.push(listener_of(&own, listener_name, places(), None));
    }
    if protocol.is_http() {
        let domains = hostnames.iter().map(|host| host.to_string()).collect();
        resources.push(route_configuration(name, domains, matched, route, otherwise.as_ref(), origin));
    }
    resources
}

/// The listener of a member of a headless service. For HTTP it follows the routes of
/// the service's port.
#[must_use]
pub fn outbound_member(member: &OutboundMember) -> Resource {
    let OutboundMember { name, member, protocol, place, server_name, route, origin } = member;
    let own = Own { name, protocol: *protocol, route, origin };
    let asked = match member {
        MemberName::Host(_) => Some(&**server_name),
        // The cluster asks for it by the name of the service.
        MemberName::Address(_) => None,
    };
    listener_of(&own, names::member_listener(name, member, *protocol, *place), [*place].into_iter(), asked)
}

/// What a listener is for.
struct Own<'a> {
    name: &'a ServicePortName,
    protocol: Protocol,
    route: &'a OutboundRoute,
    origin: &'a Origin,
}

/// A listener that leads on what comes to these places; a member that was dialled is
/// `asked` for by this name instead of its cluster's.
fn listener_of(
    own: &Own<'_>,
    listener_name: String,
    places: impl Iterator<Item = (IpAddr, NonZeroU16)>,
    asked: Option<&str>,
) -> Resource {
    let Own { name, protocol, route, origin } = own;
    let mut filters: Vec<Filter> = Vec::new();
    let (needs, origins) = match protocol {
        Protocol::Http | Protocol::Grpc => {
            // Which route a request follows is not known yet.
            filters.extend(asked.map(server_name::note));
            filters.push(http::outbound(&names::outbound_routes(name), asked.is_some()));
            (Vec::new(), vec![(*origin).clone()])
        }
        Protocol::Tcp | Protocol::TcpServerFirst => {
            filters.extend(asked.map(server_name::ask));
            filters.extend(tcp_destination(route).map(|to| listener::tcp_proxy(&listener_name, to)));
            let origins = distinct([(*origin).clone()].into_iter().chain(route_origin(route)));
            (clusters(route), origins)
        }
    };
    let chain = listener::chain(&listener_name, filters);
    let message = listener::virtual_listener(listener_name.clone(), places, chain);
    resource(ResourceKind::Listener, listener_name, &message, needs, origins)
}

/// The listener of a service port or member that the workload may not dial: it
/// closes connections. It has the name of the one that would let them through.
#[must_use]
pub fn refused(service: &RefusedService) -> Resource {
    let RefusedService { name, member, protocol, places, origin } = service;
    let listener_name = match member.as_ref().zip(places.first()) {
        Some((member, place)) => names::member_listener(name, member, *protocol, *place),
        None => names::outbound_listener(name, *protocol),
    };
    let chain = listener::chain(&listener_name, Vec::new());
    let message = listener::virtual_listener(listener_name.clone(), places.iter().copied(), chain);
    resource(ResourceKind::Listener, listener_name, &message, Vec::new(), vec![origin.clone()])
}

/// The routes of a service port, for requests to these domains, and where those to all
/// others lead, if anywhere. The first one that fits a request takes it; the last one
/// fits every request.
pub(super) fn route_configuration(
    name: &ServicePortName,
    domains: Vec<String>,
    matched: &[MatchedRoute],
    route: &OutboundRoute,
    otherwise: Option<&OutboundRoute>,
    origin: &Origin,
) -> Resource {
    let mut routes = Vec::new();
    for MatchedRoute { requests, route } in matched {
        routes.extend(requests.iter().map(|request| to(requests::fitting(request), route)));
    }
    routes.push(to(every_request(), route));
    let host =
        VirtualHost { name: names::outbound_virtual_host(name), domains, routes, ..Default::default() };
    let others = otherwise.map(|route| VirtualHost {
        name: names::members_virtual_host(name),
        domains: vec![EVERY_HOST.to_owned()],
        routes: vec![to(every_request(), route)],
        ..Default::default()
    });
    let routes_name = names::outbound_routes(name);
    let message = RouteConfiguration {
        name: routes_name.clone(),
        virtual_hosts: [host].into_iter().chain(others).collect(),
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let all = || matched.iter().map(|matched| &matched.route).chain([route]).chain(otherwise);
    let origins = distinct([origin.clone()].into_iter().chain(all().filter_map(route_origin)));
    resource(ResourceKind::Route, routes_name, &message, distinct(all().flat_map(clusters)), origins)
}

fn to(fits: RouteMatch, route: &OutboundRoute) -> Route {
    let asking = match route {
        OutboundRoute::Member(_) => HashMap::from([server_name::of_noted()]),
        _ => HashMap::new(),
    };
    Route {
        r#match: Some(fits),
        action: Some(action(route)),
        typed_per_filter_config: asking,
        ..Default::default()
    }
}

/// Fits every request.
pub(super) fn every_request() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

fn action(route: &OutboundRoute) -> Action {
    match route {
        OutboundRoute::Single(to) => to_cluster(ClusterSpecifier::Cluster(names::cluster(to))),
        OutboundRoute::Member(to) => to_cluster(ClusterSpecifier::Cluster(names::members_cluster(to))),
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
        OutboundRoute::Member(to) => Some(tcp::ClusterSpecifier::Cluster(names::members_cluster(to))),
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
    let names: Vec<String> = match route {
        OutboundRoute::Single(to) => vec![names::cluster(to)],
        OutboundRoute::Member(to) => vec![names::members_cluster(to)],
        OutboundRoute::Weighted { backends, origin: _ } => backends.keys().map(names::cluster).collect(),
        OutboundRoute::Unavailable { origin: _ } => Vec::new(),
    };
    names.into_iter().map(cluster_key).collect()
}

fn route_origin(route: &OutboundRoute) -> Option<Origin> {
    match route {
        OutboundRoute::Single(_) | OutboundRoute::Member(_) => None,
        OutboundRoute::Weighted { origin, .. } | OutboundRoute::Unavailable { origin } => {
            Some(origin.clone())
        }
    }
}
