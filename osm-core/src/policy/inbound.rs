//! What a proxy does for the workload beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use crate::diagnostic::Origin;
use crate::identity::{Principal, ServiceIdentity};
use crate::ir::{Access, HttpRule, InboundAccess, InboundService, ProxyClass, ServicePortName, TcpRule};
use crate::model::Protocol;
use crate::name::{Hostname, ServiceName};
use crate::snapshot::{LinkedTarget, MeshSnapshot};

/// Decides what proxies of a class serve: one entry for each service and port
/// of the workload, in that order.
#[must_use]
pub fn inbound(snapshot: &MeshSnapshot, class: &ProxyClass) -> Vec<InboundService> {
    let mut by_target: BTreeMap<(&ServiceName, NonZeroU16), NonZeroU16> = BTreeMap::new();
    for (ServicePortName { service, port }, target) in &class.serves {
        // Service ports that lead to one port of the workload are one; the lowest names the protocol.
        by_target.entry((service, *target)).or_insert(*port);
    }
    let none = BTreeSet::new();
    by_target
        .into_iter()
        .filter_map(|((service, target), port)| {
            let name = ServicePortName::new(service.clone(), port);
            let hostnames = class.hostnames.get(service).unwrap_or(&none);
            inbound_service(snapshot, &class.identity, hostnames, &name, target)
        })
        .collect()
}

/// Decides what is served for one service port at one port of the workload, which
/// has these host names under the service.
/// `None` when the service has no such port.
#[must_use]
pub fn inbound_service(
    snapshot: &MeshSnapshot,
    identity: &ServiceIdentity,
    hostnames: &BTreeSet<Hostname>,
    name: &ServicePortName,
    target_port: NonZeroU16,
) -> Option<InboundService> {
    let service = snapshot.service(&name.service)?;
    let protocol = service.ports.get(&name.port)?.protocol;
    Some(InboundService {
        service: name.service.clone(),
        target_port,
        protocol,
        server_name: service.fqdn().into(),
        tls: super::tls(snapshot),
        member_names: hostnames.iter().map(|hostname| service.member_fqdn(hostname).into()).collect(),
        access: access(snapshot, identity, protocol, target_port),
        origin: service.origin.clone(),
    })
}

fn access(
    snapshot: &MeshSnapshot,
    identity: &ServiceIdentity,
    protocol: Protocol,
    target_port: NonZeroU16,
) -> InboundAccess {
    let permissive = snapshot.config().permissive;
    let targets = snapshot.targets_to(identity);
    let denied = Origin::Default("what no TrafficTarget allows is denied");
    if protocol.is_http() {
        InboundAccess::Http(if permissive {
            Access::Everyone(snapshot.config_origin())
        } else {
            rules_or_nobody(targets.iter().filter_map(|target| http_rule(snapshot, target)).collect(), denied)
        })
    } else {
        InboundAccess::Tcp(if permissive {
            Access::Everyone(snapshot.config_origin())
        } else {
            let rules = targets.iter().filter_map(|target| tcp_rule(snapshot, target, target_port));
            rules_or_nobody(rules.collect(), denied)
        })
    }
}

fn rules_or_nobody<T>(rules: Vec<T>, denied: Origin) -> Access<Vec<T>> {
    if rules.is_empty() { Access::Nobody(denied) } else { Access::These(rules) }
}

fn http_rule(snapshot: &MeshSnapshot, target: &LinkedTarget) -> Option<HttpRule> {
    Some(HttpRule {
        name: target.name.to_string().into(),
        principals: principals(snapshot, target),
        requests: target.requests.clone()?,
        origin: target.origin.clone(),
    })
}

fn tcp_rule(snapshot: &MeshSnapshot, target: &LinkedTarget, port: NonZeroU16) -> Option<TcpRule> {
    target.ports.as_ref().filter(|ports| ports.contains(port.get()))?;
    Some(TcpRule {
        name: target.name.to_string().into(),
        principals: principals(snapshot, target),
        origin: target.origin.clone(),
    })
}

fn principals(snapshot: &MeshSnapshot, target: &LinkedTarget) -> BTreeSet<Principal> {
    snapshot.trust_domains().principals(&target.sources)
}
