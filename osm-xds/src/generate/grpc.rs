//! Resources for the client in gRPC's own libraries (`xds:///service:port`).
//!
//! It is the proxy of its own workload for what that calls, and of nothing else:
//! it dials names instead of addresses, so it has one listener for each name; it
//! takes its certificate from files instead of secrets (gRFC A29); it speaks
//! HTTP/2 and nothing else. Which requests go where and whom to trust is the
//! same as for an Envoy, and so are routes and endpoints but for the host names.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use osm_core::ir::{MatchedRoute, OutboundRoute, OutboundService, ProxyIr, RequestMatch, Upstream};
use osm_core::model::Methods;

use super::{endpoints, http, names, outbound, resource, tls};
use crate::encode::pack;
use crate::resource::{Resource, ResourceKind};

/// All resources of one such client, in the order of their keys.
#[must_use]
pub fn client(ir: &ProxyIr) -> Vec<Resource> {
    let ProxyIr {
        principal: _,
        families: _,
        inbound: _,
        outbound,
        members: _,
        upstreams,
        endpoints: places,
        refused: _,
        egress: _,
    } = ir;
    let mut resources: Vec<Resource> =
        outbound.iter().flat_map(|service| outbound_service(service)).collect();
    resources.extend(upstreams.iter().filter_map(|to| upstream(to)));
    resources.extend(places.iter().map(|places| endpoints::endpoints(places)));
    resources.sort_by(|one, other| one.key.cmp(&other.key));
    resources
}

/// A listener for each name of a service port, and the routes that they share.
/// A port that speaks something else than HTTP has none.
#[must_use]
pub fn outbound_service(service: &OutboundService) -> Vec<Resource> {
    let OutboundService { name, protocol, addresses: _, hostnames, matched, route, otherwise: _, origin } =
        service;
    if !protocol.is_http() {
        return Vec::new();
    }
    let routes = names::outbound_routes(name);
    let listener = |host: &Arc<str>| {
        let listener_name = names::dialled(host, name.port);
        let message = Listener {
            name: listener_name.clone(),
            api_listener: Some(ApiListener { api_listener: Some(pack(&http::library(&routes))) }),
            ..Default::default()
        };
        resource(ResourceKind::Listener, listener_name, &message, Vec::new(), vec![origin.clone()])
    };
    let mut resources: Vec<Resource> = hostnames.iter().map(listener).collect();
    let matched = calls(matched);
    let domains = vec![outbound::EVERY_HOST.to_owned()];
    let route = by_name(route);
    resources.push(outbound::route_configuration(name, domains, &matched, &route, None, origin));
    resources
}

/// The cluster of a service port; `None` when it speaks something else than HTTP.
#[must_use]
pub fn upstream(to: &Upstream) -> Option<Resource> {
    let Upstream { name, protocol, server_name, server_identities, tls: _, members: _, origin } = to;
    if !protocol.is_http() {
        return None;
    }
    let name = names::cluster(name);
    let cluster = Cluster {
        name: name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(tls::ads()), ..Default::default() }),
        lb_policy: LbPolicy::RoundRobin.into(),
        transport_socket: Some(tls::library(server_name, server_identities)),
        ..Default::default()
    };
    Some(resource(ResourceKind::Cluster, name, &cluster, Vec::new(), vec![origin.clone()]))
}

/// Where a client that dials no address is led instead of a member that it dialled:
/// to any of them.
fn by_name(route: &OutboundRoute) -> OutboundRoute {
    match route {
        OutboundRoute::Member(name) => OutboundRoute::Single(name.clone()),
        other => other.clone(),
    }
}

/// The kinds of requests that a call can be. Every call is a POST, and the library
/// has no method to look at.
fn calls(matched: &[MatchedRoute]) -> Vec<MatchedRoute> {
    let is_call = |request: &&RequestMatch| match &request.methods {
        Methods::Any => true,
        Methods::These(methods) => methods.contains("POST"),
    };
    let calls = matched.iter().map(|MatchedRoute { requests, route }| {
        let calls = requests.iter().filter(is_call);
        let calls = calls.map(|request| RequestMatch { methods: Methods::Any, ..request.clone() });
        MatchedRoute { requests: calls.collect(), route: route.clone() }
    });
    calls.filter(|matched| !matched.requests.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
    use osm_core::diagnostic::Origin;
    use osm_core::ir::ServicePortName;
    use osm_core::model::Protocol;
    use prost::Message;

    use super::*;

    fn service(protocol: Protocol, methods: &[Methods]) -> OutboundService {
        let name = |service: &str| {
            let service = format!("shop/{service}").parse().expect("a name");
            ServicePortName::new(service, 9000.try_into().expect("not 0"))
        };
        let origin = Origin::Default("a service");
        let request = |methods: &Methods| RequestMatch {
            path: None,
            methods: methods.clone(),
            headers: BTreeSet::new(),
        };
        let route =
            OutboundRoute::Weighted { backends: BTreeMap::from([(name("next"), 1)]), origin: origin.clone() };
        OutboundService {
            name: name("stock"),
            protocol,
            addresses: vec!["10.96.0.1".parse().expect("an address")],
            hostnames: vec!["10.96.0.1".into(), "stock".into(), "stock.shop".into()],
            matched: vec![MatchedRoute { requests: methods.iter().map(request).collect(), route }],
            route: OutboundRoute::Single(name("stock")),
            otherwise: None,
            origin,
        }
    }

    fn these(methods: &[&str]) -> Methods {
        Methods::These(methods.iter().map(|method| (*method).to_owned()).collect())
    }

    fn routes(methods: &[Methods]) -> usize {
        let resources = outbound_service(&service(Protocol::Grpc, methods));
        let routes = resources.last().expect("routes");
        let routes = RouteConfiguration::decode(routes.body.clone()).expect("the message of its type");
        assert_eq!(routes.virtual_hosts[0].domains, ["*"]);
        assert!(
            routes.virtual_hosts[0]
                .routes
                .iter()
                .all(|route| { route.r#match.as_ref().is_some_and(|fits| fits.headers.is_empty()) })
        );
        routes.virtual_hosts[0].routes.len()
    }

    #[test]
    fn each_name_is_a_listener_and_a_port_without_http_has_none() {
        let resources = outbound_service(&service(Protocol::Grpc, &[Methods::Any]));
        let names: Vec<_> = resources.iter().map(|resource| resource.key.name.to_string()).collect();
        assert_eq!(
            names,
            ["10.96.0.1:9000", "stock:9000", "stock.shop:9000", "rds-outbound.shop/stock_9000"]
        );
        assert!(outbound_service(&service(Protocol::Tcp, &[])).is_empty());
    }

    #[test]
    fn a_call_is_a_post_and_fits_no_other_method() {
        assert_eq!(routes(&[Methods::Any]), 2);
        assert_eq!(routes(&[these(&["GET", "POST"])]), 2);
        assert_eq!(routes(&[these(&["GET"])]), 1);
        assert_eq!(routes(&[these(&["GET"]), these(&["POST"])]), 2);
    }
}
