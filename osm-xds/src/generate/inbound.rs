//! What a proxy does for the workload beside it.
//!
//! Who may do what is no part of a filter chain, since a chain that changes cuts
//! the connections that it serves. It stands in route configurations for
//! HTTP, and for TCP in the secrets by which handshakes are judged.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::listener::INBOUND_PORT;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch};
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy as tcp;
use envoy_types::pb::google::protobuf::UInt32Value;
use osm_core::diagnostic::Origin;
use osm_core::interception::IpFamilies;
use osm_core::ir::{Access, HttpRule, InboundAccess, InboundService, TcpRule};

use super::outbound::{every_request, to_cluster};
use super::{access, cluster, cluster_key, distinct, http, key, listener, names, resource, tls};
use crate::encode::pack;
use crate::resource::{Resource, ResourceKey, ResourceKind};

/// The application's cluster, and for HTTP the route configuration that says
/// who may make which requests.
#[must_use]
pub fn inbound_service(service: &InboundService, families: IpFamilies) -> Vec<Resource> {
    let local = cluster::local(service, families);
    match &service.access {
        InboundAccess::Http(access) => {
            let routes = route_configuration(service, access, local.key.clone());
            vec![local, routes]
        }
        InboundAccess::Tcp(_) => vec![local],
    }
}

/// The listener for all services of the workload, each behind its port and
/// server name; `None` when it serves none. A TCP service of which nobody is a
/// client has no way in.
#[must_use]
pub fn inbound_listener(services: &[Arc<InboundService>], families: IpFamilies) -> Option<Resource> {
    let mut taken = BTreeSet::new();
    let served: Vec<&InboundService> = services
        .iter()
        .map(Arc::as_ref)
        .filter(|service| taken.insert((service.target_port, service.server_name.clone())))
        .collect();
    // A service's own name comes before that of another one's member.
    let mut names = |service: &InboundService| {
        let own =
            service.member_names.iter().filter(|name| taken.insert((service.target_port, Arc::clone(name))));
        [&service.server_name].into_iter().chain(own).map(ToString::to_string).collect()
    };
    if served.is_empty() {
        return None;
    }
    let place = (families, INBOUND_PORT);
    let mut message = listener::redirected(names::INBOUND_LISTENER, place, TrafficDirection::Inbound);
    message.listener_filters.push(listener::server_name());
    message.filter_chains = served.iter().filter_map(|service| chain(service, names(service))).collect();
    if message.filter_chains.is_empty() {
        // Envoy wants at least one chain; this one closes what comes.
        message.filter_chains.push(listener::chain("inbound_nobody", Vec::new()));
    }
    let needs = served.iter().flat_map(|service| needs(service)).collect();
    // Who may do what is no part of it, nor is who said so.
    let asked = served.iter().filter_map(|service| service.tls.asked_by());
    let origins = distinct(served.iter().map(|service| &service.origin).chain(asked).cloned());
    Some(resource(ResourceKind::Listener, names::INBOUND_LISTENER.to_owned(), &message, needs, origins))
}

fn chain(service: &InboundService, server_names: Vec<String>) -> Option<FilterChain> {
    let InboundService {
        service: _,
        target_port,
        protocol: _,
        server_name: _,
        member_names: _,
        tls: spoken,
        access,
        origin: _,
    } = service;
    let name = names::inbound_chain(service);
    let (filter, socket, protocols) = match access {
        InboundAccess::Http(_) => {
            let filter = http::inbound(&names::inbound_routes(service));
            // gRPC's own clients have no proxy that would ask for the mesh by name.
            let http2 = names::HTTP2_ALPN;
            (
                filter,
                tls::downstream(names::TRUST_SECRET, &[http2], &spoken.settings),
                vec![names::MESH_ALPN, http2],
            )
        }
        InboundAccess::Tcp(access) => {
            access::tcp(access)?;
            let socket = tls::downstream(&names::inbound_validation(service), &[], &spoken.settings);
            (to_application(service, &name), socket, vec![names::MESH_ALPN])
        }
    };
    let matches = FilterChainMatch {
        destination_port: Some(UInt32Value { value: target_port.get().into() }),
        server_names,
        transport_protocol: "tls".to_owned(),
        application_protocols: protocols.into_iter().map(str::to_owned).collect(),
        ..Default::default()
    };
    Some(FilterChain {
        filter_chain_match: Some(matches),
        transport_socket: Some(socket),
        ..listener::chain(&name, vec![filter])
    })
}

fn to_application(service: &InboundService, stat_prefix: &str) -> Filter {
    let local = names::local_cluster(&service.service, service.target_port);
    listener::tcp_proxy(stat_prefix, tcp::ClusterSpecifier::Cluster(local))
}

/// One host for any name (the server name in TLS has said which service is
/// meant) with one route, whose rules are the union of what is allowed.
fn route_configuration(
    service: &InboundService,
    access: &Access<Vec<HttpRule>>,
    local: ResourceKey,
) -> Resource {
    let rules = (access::HTTP_FILTER.to_owned(), pack(&access::http(access)));
    let route = Route {
        r#match: Some(every_request()),
        action: Some(to_cluster(ClusterSpecifier::Cluster(local.name.to_string()))),
        typed_per_filter_config: HashMap::from([rules]),
        ..Default::default()
    };
    let host = VirtualHost {
        name: names::inbound_virtual_host(service),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    let name = names::inbound_routes(service);
    let message = RouteConfiguration { name: name.clone(), virtual_hosts: vec![host], ..Default::default() };
    resource(ResourceKind::Route, name, &message, vec![local], distinct(origins(service)))
}

/// What the listener's chain for a service refers to.
fn needs(service: &InboundService) -> Vec<ResourceKey> {
    match &service.access {
        InboundAccess::Tcp(access) if access::tcp(access).is_some() => vec![
            cluster_key(names::local_cluster(&service.service, service.target_port)),
            key(ResourceKind::Secret, names::inbound_validation(service)),
        ],
        InboundAccess::Tcp(_) | InboundAccess::Http(_) => Vec::new(),
    }
}

/// Who made the service, and who decided on its access.
pub(super) fn origins(service: &InboundService) -> Vec<Origin> {
    let mut origins = vec![service.origin.clone()];
    match &service.access {
        InboundAccess::Http(Access::Everyone(origin) | Access::Nobody(origin))
        | InboundAccess::Tcp(Access::Everyone(origin) | Access::Nobody(origin)) => {
            origins.push(origin.clone())
        }
        InboundAccess::Http(Access::These(rules)) => {
            origins.extend(rules.iter().map(|rule| rule.origin.clone()))
        }
        InboundAccess::Tcp(Access::These(rules)) => {
            origins.extend(rules.iter().map(|rule: &TcpRule| rule.origin.clone()));
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use osm_core::ir::Tls;
    use osm_core::model::Protocol;

    use super::*;

    fn served(protocol: Protocol, access: InboundAccess) -> Arc<InboundService> {
        Arc::new(InboundService {
            service: "shop/store".parse().expect("a name"),
            target_port: 80.try_into().expect("not 0"),
            protocol,
            server_name: "store.shop.svc.cluster.local".into(),
            tls: Tls { settings: Arc::default(), origin: Origin::Default("TLS") },
            member_names: BTreeSet::new(),
            access,
            origin: Origin::Default("a service"),
        })
    }

    fn principals(accounts: &[&str]) -> BTreeSet<osm_core::identity::Principal> {
        let principal = |account: &&str| format!("spiffe://cluster.local/{account}/shop").parse();
        accounts.iter().map(principal).collect::<Result<_, _>>().expect("principals")
    }

    fn tcp(accounts: &[&str]) -> Access<Vec<TcpRule>> {
        let origin = Origin::Default("a target");
        Access::These(vec![TcpRule { name: "a".into(), principals: principals(accounts), origin }])
    }

    fn http(accounts: &[&str]) -> Access<Vec<HttpRule>> {
        let (requests, origin) = (osm_core::ir::Requests::Any, Origin::Default("a target"));
        Access::These(vec![HttpRule { name: "a".into(), principals: principals(accounts), requests, origin }])
    }

    #[test]
    fn the_listener_is_the_same_whoever_may_connect() {
        let everyone = || Origin::Default("permissive");
        for protocol in [Protocol::Tcp, Protocol::TcpServerFirst] {
            let accesses = [Access::Everyone(everyone()), tcp(&["buyer"]), tcp(&["buyer", "thief"])];
            let listeners = accesses.map(|access| {
                inbound_listener(&[served(protocol, InboundAccess::Tcp(access))], IpFamilies::V4)
                    .expect("a listener")
            });
            assert!(listeners.iter().all(|listener| *listener == listeners[0]), "{protocol}");
        }
        let accesses = [Access::Everyone(everyone()), http(&["buyer"]), Access::Nobody(everyone())];
        let listeners = accesses.map(|access| {
            inbound_listener(&[served(Protocol::Http, InboundAccess::Http(access))], IpFamilies::V4)
                .expect("a listener")
        });
        assert!(listeners.iter().all(|listener| *listener == listeners[0]));
    }

    #[test]
    fn i10_whoever_names_nobody_lets_nobody_in() {
        for nobody in [Access::Nobody(Origin::Default("denied")), tcp(&[]), Access::These(Vec::new())] {
            let service = served(Protocol::Tcp, InboundAccess::Tcp(nobody));
            assert_eq!(crate::generate::validation_secret(&service, "a root"), None);
            assert_eq!(chain(&service, Vec::new()), None);
            assert_eq!(needs(&service), []);
        }
    }
}
