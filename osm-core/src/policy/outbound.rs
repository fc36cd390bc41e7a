//! What a client does to reach one service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::reach::{Allowed, Reach};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::identity::Principal;
use crate::ir::{
    MatchedRoute, OutboundRoute, OutboundService, RefusedService, Requests, ServicePortName, Upstream,
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
        let has_upstream = reached.is_some();
        if let Some((upstream, endpoints)) = reached {
            all.upstreams.push(upstream);
            all.endpoints.push(endpoints);
        }
        // Of a port that the client may not use at all there is nothing to dial.
        let is_open =
            has_upstream || key.allowed == Allowed::All || leads_to(splits, key, *number, port.protocol);
        if service.addresses.is_empty() || !is_open {
            continue;
        }
        let mut matched = Vec::new();
        let mut everything = None;
        for split in splits.iter().filter(|split| applies(split, port.protocol)) {
            let route = split_route(snapshot, split, key, *number, &mut all.diagnostics);
            if let SplitScope::Requests(Requests::These(requests)) = &split.scope {
                matched.push(MatchedRoute { requests: requests.clone(), route });
            } else {
                everything = Some(route);
                break;
            }
        }
        let route = everything.unwrap_or_else(|| match has_upstream {
            true => OutboundRoute::Single(name.clone()),
            false => OutboundRoute::Unavailable { origin: service.origin.clone() },
        });
        all.outbound.push(OutboundService {
            name,
            protocol: port.protocol,
            addresses: service.addresses.clone(),
            hostnames: hostnames.clone(),
            matched,
            route,
            origin: service.origin.clone(),
        });
    }
    all
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

/// Decides what is refused of a service that a client may not reach.
#[must_use]
pub fn refused(service: &LinkedService) -> Vec<RefusedService> {
    if service.addresses.is_empty() {
        return Vec::new();
    }
    let refuse = |(number, port): (&NonZeroU16, &LinkedPort)| RefusedService {
        name: ServicePortName::new(service.name.clone(), *number),
        protocol: port.protocol,
        addresses: service.addresses.clone(),
        origin: Origin::Default("a service of the mesh that no TrafficTarget opens to the client is refused"),
    };
    service.ports.iter().map(refuse).collect()
}

/// The upstream of one port; `None` when no identity behind it may be reached.
fn upstream(
    snapshot: &MeshSnapshot,
    service: &LinkedService,
    port: &LinkedPort,
    name: &ServicePortName,
    allowed: &Allowed,
) -> Option<(Upstream, UpstreamEndpoints)> {
    let trust_domain = &snapshot.options().trust_domain;
    let servers = allowed.servers(service, port);
    if servers.is_empty() {
        return None;
    }
    let server_identities: BTreeSet<Principal> =
        servers.iter().map(|identity| identity.principal(trust_domain)).collect();
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
