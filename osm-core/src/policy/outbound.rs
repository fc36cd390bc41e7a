//! What a client does to reach one service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::members;
use super::reach::{Allowed, Reach};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::ir::{
    MatchedRoute, OutboundMember, OutboundRoute, OutboundService, Requests, ServicePortName, Upstream,
    UpstreamEndpoints,
};
use crate::model::Protocol;
use crate::name::{NamespaceName, ServiceName};
use crate::snapshot::{LinkedPort, LinkedService, LinkedSplit, MeshSnapshot, SplitScope};

/// Everything about a client that matters for reaching one service. Clients
/// with equal keys reach the service in the same way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundKey {
    /// The service.
    pub service: ServiceName,
    /// What of it may be used.
    pub allowed: Allowed,
    /// Whether the client is in the service's namespace, where its short name resolves.
    pub same_namespace: bool,
    /// The backends of its splits that may be reached, port by port.
    pub backends: BTreeSet<ServicePortName>,
}

/// What a client does to reach one service: an entry for each port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOutbound {
    /// What can be dialled.
    pub outbound: Vec<OutboundService>,
    /// What can be dialled of it, member by member, where it is headless.
    pub members: Vec<OutboundMember>,
    /// Where connections go.
    pub upstreams: Vec<Upstream>,
    /// Their endpoints.
    pub endpoints: Vec<UpstreamEndpoints>,
    /// Findings on the way.
    pub diagnostics: Vec<Diagnostic>,
}

/// Finds what matters about a client for reaching a service. `None` when it
/// may not be reached, or does not exist.
#[must_use]
pub fn outbound_key(
    snapshot: &MeshSnapshot,
    service: &ServiceName,
    reach: &Reach,
    client_namespace: &NamespaceName,
) -> Option<OutboundKey> {
    let linked = snapshot.service(service)?;
    let allowed = reach.within(linked);
    let splits = snapshot.splits_of(service).iter();
    let backends: BTreeSet<ServicePortName> =
        splits.flat_map(|split| reachable_backends(snapshot, split, reach)).collect();
    if matches!(&allowed, Allowed::These(none) if none.is_empty()) && backends.is_empty() {
        return None;
    }
    let same_namespace = service.namespace == *client_namespace;
    Some(OutboundKey { service: service.clone(), allowed, same_namespace, backends })
}

fn reachable_backends(
    snapshot: &MeshSnapshot,
    split: &LinkedSplit,
    reach: &Reach,
) -> impl Iterator<Item = ServicePortName> {
    let backends = split.backends.keys().filter_map(|name| snapshot.service(name));
    backends.flat_map(|backend| {
        let allowed = reach.within(backend);
        let open = move |port: &LinkedPort| !allowed.servers(backend, port).is_empty();
        let ports = backend.ports.iter().filter(move |(_, port)| open(port));
        ports.map(|(number, _)| ServicePortName::new(backend.name.clone(), *number))
    })
}

/// Decides what clients of a key do to reach its service.
#[must_use]
pub fn outbound(snapshot: &MeshSnapshot, key: &OutboundKey) -> ServiceOutbound {
    let Some(service) = snapshot.service(&key.service) else { return ServiceOutbound::default() };
    let splits = snapshot.splits_of(&key.service);
    let hostnames = hostnames(service, key.same_namespace);
    let mut all = ServiceOutbound::default();
    for (number, port) in &service.ports {
        let name = ServicePortName::new(key.service.clone(), *number);
        let reached = upstream(snapshot, service, port, &name, &key.allowed);
        let own = match &reached {
            Some(_) if service.headless => OutboundRoute::Member(name.clone()),
            Some(_) => OutboundRoute::Single(name.clone()),
            None => OutboundRoute::Unavailable { origin: service.origin.clone() },
        };
        // Of a port that the client may not use at all there is nothing to dial.
        let is_open =
            reached.is_some() || key.allowed == Allowed::All || leads_to(splits, key, *number, port.protocol);
        if let Some((upstream, endpoints)) = reached {
            all.upstreams.push(upstream);
            all.endpoints.push(endpoints);
        }
        if !is_open || (service.addresses.is_empty() && !service.headless) {
            continue;
        }
        let (matched, everything) = split_routes(snapshot, key, *number, port.protocol, &mut all.diagnostics);
        if service.headless {
            let divided = everything.as_ref().or(matched.first().map(|matched| &matched.route));
            let members = members::outbound(snapshot, service, &name, port, &key.allowed, &own, divided);
            all.members.extend(members);
            // Without requests there is nothing to route. With them there is, even where no address
            // is dialled: some clients ask by name.
            if !port.protocol.is_http() {
                continue;
            }
        }
        all.outbound.push(OutboundService {
            name,
            protocol: port.protocol,
            addresses: service.addresses.clone(),
            hostnames: hostnames.clone(),
            matched,
            route: everything.unwrap_or_else(|| own.clone()),
            otherwise: service.headless.then_some(own),
            origin: service.origin.clone(),
        });
    }
    all
}

/// Where splits lead certain requests to one port of their root, and where they
/// lead everything else; `None` leaves that to the root.
fn split_routes(
    snapshot: &MeshSnapshot,
    key: &OutboundKey,
    port: NonZeroU16,
    protocol: Protocol,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<MatchedRoute>, Option<OutboundRoute>) {
    let mut matched = Vec::new();
    for split in snapshot.splits_of(&key.service).iter().filter(|split| applies(split, protocol)) {
        let route = split_route(snapshot, split, key, port, diagnostics);
        if let SplitScope::Requests(Requests::These(requests)) = &split.scope {
            matched.push(MatchedRoute { requests: requests.clone(), route });
        } else {
            return (matched, Some(route));
        }
    }
    (matched, None)
}

/// Whether a split divides anything of what is spoken.
fn applies(split: &LinkedSplit, protocol: Protocol) -> bool {
    match &split.scope {
        SplitScope::Everything => true,
        SplitScope::Requests(_) => protocol.is_http(),
    }
}

/// Whether splits lead one port of their root to a backend that may be reached.
fn leads_to(splits: &[LinkedSplit], key: &OutboundKey, port: NonZeroU16, protocol: Protocol) -> bool {
    let splits = splits.iter().filter(|split| applies(split, protocol));
    let mut backends = splits.flat_map(|split| split.backends.keys());
    backends.any(|name| key.backends.contains(&ServicePortName::new(name.clone(), port)))
}

/// The upstream of one port; `None` when no identity behind it may be reached.
fn upstream(
    snapshot: &MeshSnapshot,
    service: &LinkedService,
    port: &LinkedPort,
    name: &ServicePortName,
    allowed: &Allowed,
) -> Option<(Upstream, UpstreamEndpoints)> {
    let servers = allowed.servers(service, port);
    if servers.is_empty() {
        return None;
    }
    let server_identities = snapshot.trust_domains().demanded_principals(&servers);
    let endpoints = port
        .endpoints
        .iter()
        .filter(|(_, endpoint)| !endpoint.is_second)
        .filter(|((_, target), endpoint)| allowed.opens(&endpoint.identity, port.protocol, *target));
    let endpoints = UpstreamEndpoints {
        name: name.clone(),
        addresses: endpoints.map(|(address, _)| *address).collect(),
        origin: service.origin.clone(),
    };
    let upstream = Upstream {
        name: name.clone(),
        protocol: port.protocol,
        server_name: service.fqdn().into(),
        server_identities,
        tls: super::tls(snapshot),
        members: members::port(service, port),
        origin: service.origin.clone(),
    };
    Some((upstream, endpoints))
}

/// Where a split leads one port of its root.
fn split_route(
    snapshot: &MeshSnapshot,
    split: &LinkedSplit,
    key: &OutboundKey,
    port: NonZeroU16,
    diagnostics: &mut Vec<Diagnostic>,
) -> OutboundRoute {
    let mut backends = BTreeMap::new();
    for (name, weight) in &split.backends {
        let serves = snapshot
            .service(name)
            .is_some_and(|backend| backend.ports.contains_key(&port) && !backend.identities.is_empty());
        if !serves {
            continue;
        }
        let backend = ServicePortName::new(name.clone(), port);
        if key.backends.contains(&backend) {
            backends.insert(backend, *weight);
        } else if let Origin::Object(object, _) = &split.origin {
            let message = format!(
                "a client of {} may not reach the backend {name}, which gets none of that client's traffic; \
                 give the client a TrafficTarget for it",
                key.service
            );
            let finding = Diagnostic::new(Severity::Warning, "backend-not-allowed", object.clone(), message);
            diagnostics.push(finding.at("spec.backends"));
        }
    }
    if backends.values().all(|weight| *weight == 0) {
        return OutboundRoute::Unavailable { origin: split.origin.clone() };
    }
    OutboundRoute::Weighted { backends, origin: split.origin.clone() }
}

/// The hosts by which a service is asked for, sorted: its names and its addresses.
fn hostnames(service: &LinkedService, same_namespace: bool) -> Vec<Arc<str>> {
    let name = &service.name;
    let base = format!("{}.{}", name.name, name.namespace);
    let mut names: Vec<Arc<str>> = ["", ".svc", ".svc.cluster", ".svc.cluster.local"]
        .iter()
        .map(|end| format!("{base}{end}").into())
        .collect();
    if same_namespace {
        names.push(name.name.as_str().into());
    }
    names.extend(service.addresses.iter().map(|address| match address {
        IpAddr::V4(address) => Arc::from(address.to_string()),
        IpAddr::V6(address) => Arc::from(format!("[{address}]")),
    }));
    names.sort_unstable();
    names.dedup();
    names
}
