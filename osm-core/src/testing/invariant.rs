//! Checks of the invariants that live in this crate, each a function from values
//! to a verdict, so that a planted violation shows that it can fail.
//!
//! The names are those of `ARCHITECTURE.md`. An error says what was found.

mod access;
mod provenance;

pub use access::check_i9;
pub use provenance::{check_i16, origins};

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::ir::{
    Access, HttpRule, InboundAccess, MatchedRoute, MemberName, OutboundRoute, OutboundService, ProxyIr,
    RequestMatch, Requests, ServicePortName, TcpRule,
};
use crate::model::{MeshObject, Methods, Workload};
use crate::snapshot::{ChangeSet, MeshSnapshot};

/// A verdict: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

fn demand(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// I2: two snapshots of equal facts are equal.
///
/// # Errors
/// When they differ.
pub fn check_i2(one: &MeshSnapshot, other: &MeshSnapshot) -> Verdict {
    demand(one == other, || format!("equal facts made different snapshots:\n{one:#?}\n{other:#?}"))
}

/// I3: no object is dropped in silence. Every one that could have an effect has
/// it, or there is a finding about it.
///
/// # Errors
/// The first object that is neither in force nor spoken of.
pub fn check_i3(snapshot: &MeshSnapshot, objects: &[MeshObject]) -> Verdict {
    for object in objects {
        let name = object.object_ref();
        let is_monitored = name.namespace.as_ref().is_some_and(|namespace| snapshot.is_monitored(namespace));
        if is_monitored && !is_in_force(snapshot, object) && snapshot.diagnostics_of(&name).is_empty() {
            return Err(format!("{name} is not in force, and nobody says why"));
        }
    }
    Ok(())
}

fn is_in_force(snapshot: &MeshSnapshot, object: &MeshObject) -> bool {
    match object {
        MeshObject::TrafficTarget(target) => {
            snapshot.targets_to(&target.destination).iter().any(|linked| linked.name == target.name)
        }
        MeshObject::TrafficSplit(split) => {
            snapshot.splits_of(&split.service).iter().any(|linked| linked.name == split.name)
        }
        MeshObject::Service(service) => snapshot.service(&service.name).is_some_and(|linked| {
            linked.ports.len() == service.ports.len() && linked.addresses.len() == service.addresses.len()
        }),
        MeshObject::Workload(workload) => {
            let is_near = |other: &&Arc<Workload>| other.name.namespace == workload.name.namespace;
            let beside = workload.proxy.as_ref().map(|proxy| snapshot.workloads_of(proxy).find(is_near));
            snapshot.workload(&workload.name).is_some_and(|linked| **linked == *workload)
                && beside.is_none_or(|found| found.is_some_and(|found| found.name == workload.name))
        }
        MeshObject::MeshConfig(config) => snapshot.config() == config,
        MeshObject::RootCertificate(root) => {
            let counting = snapshot.root_certificates().get(&root.name.name);
            counting.is_some_and(|counting| **counting == *root)
        }
        // These have an effect only through others, which speak for them.
        MeshObject::Namespace(_)
        | MeshObject::ServiceAccount(_)
        | MeshObject::EndpointSlice(_)
        | MeshObject::HttpRouteGroup(_)
        | MeshObject::TcpRoute(_) => true,
    }
}

/// I4: the IR is complete and in order: what a part refers to is there, each
/// key once and sorted.
///
/// # Errors
/// The first part that is missing or out of place.
pub fn check_i4(ir: &ProxyIr) -> Verdict {
    let upstreams: Vec<&ServicePortName> = ir.upstreams.iter().map(|part| &part.name).collect();
    let outbound: Vec<&ServicePortName> = ir.outbound.iter().map(|part| &part.name).collect();
    let endpoints: Vec<&ServicePortName> = ir.endpoints.iter().map(|part| &part.name).collect();
    for (what, keys) in [("upstreams", &upstreams), ("outbound", &outbound)] {
        demand(keys.is_sorted_by(|a, b| a < b), || format!("{what} are not sorted or not unique: {keys:?}"))?;
    }
    demand(upstreams == endpoints, || format!("upstreams {upstreams:?} have endpoints {endpoints:?}"))?;
    check_dialled(ir)?;
    let known: BTreeSet<_> = upstreams.into_iter().collect();
    let of_members = ir.members.iter().map(|member| (&member.name, vec![&member.route]));
    let of_services = ir.outbound.iter().map(|service| (&service.name, routes(service).collect()));
    for (name, routes) in of_services.chain(of_members) {
        let backends = routes.into_iter().flat_map(|route| match route {
            OutboundRoute::Single(name) | OutboundRoute::Member(name) => vec![name],
            OutboundRoute::Weighted { backends, origin: _ } => backends.keys().collect(),
            OutboundRoute::Unavailable { origin: _ } => Vec::new(),
        });
        let missing = backends.into_iter().find(|backend| !known.contains(backend));
        demand(missing.is_none(), || format!("{name} leads to {missing:?}, which is no upstream"))?;
    }
    let inbound: Vec<_> = ir.inbound.iter().map(|part| (&part.service, part.target_port)).collect();
    demand(inbound.is_sorted_by(|a, b| a < b), || {
        format!("inbound is not sorted or not unique: {inbound:?}")
    })?;
    for service in &ir.inbound {
        let is_http = matches!(service.access, InboundAccess::Http(_));
        demand(is_http == service.protocol.is_http(), || {
            format!("{} speaks {} under the other kind of access", service.service, service.protocol)
        })?;
    }
    Ok(())
}

/// What is dialled or refused: each place belongs to one of them, and is in order.
fn check_dialled(ir: &ProxyIr) -> Verdict {
    let mut listeners = BTreeSet::new();
    let mut places = BTreeSet::new();
    let mut add =
        |name: &ServicePortName, member: Option<&MemberName>, at: &BTreeSet<(IpAddr, NonZeroU16)>| {
            let what = || format!("{name} {member:?}");
            let key = (name.clone(), member.map(|member| (member.clone(), at.first().copied())));
            demand(listeners.insert(key), || format!("{} is dialled or refused twice", what()))?;
            demand(!at.is_empty(), || format!("{} has no place", what()))?;
            let taken = at.iter().find(|place| !places.insert(**place));
            demand(taken.is_none(), || format!("{} is at {taken:?}, where another one is", what()))
        };
    for service in &ir.outbound {
        let is_headless = service.otherwise.is_some();
        demand(service.addresses.is_empty() == is_headless && !service.hostnames.is_empty(), || {
            format!("{} has no address or no host name", service.name)
        })?;
        if !is_headless {
            let at = service.addresses.iter().map(|address| (*address, service.name.port)).collect();
            add(&service.name, None, &at)?;
        }
    }
    for member in &ir.members {
        add(&member.name, Some(&member.member), &BTreeSet::from([member.place]))?;
        let has_routes = ir.outbound.iter().any(|service| service.name == member.name);
        demand(has_routes == member.protocol.is_http(), || format!("{} has no routes", member.name))?;
    }
    ir.refused.iter().try_for_each(|service| add(&service.name, service.member.as_ref(), &service.places))
}

/// I10: absence is never permission: "these" is never an empty list, which a
/// generator could write as "everyone".
///
/// # Errors
/// The first empty list that stands for a grant.
pub fn check_i10(ir: &ProxyIr) -> Verdict {
    for service in &ir.inbound {
        let at = &service.service;
        match &service.access {
            InboundAccess::Http(Access::These(rules)) => {
                demand(!rules.is_empty(), || format!("{at} lets in an empty list of rules"))?;
                rules.iter().try_for_each(check_http_rule)?;
            }
            InboundAccess::Tcp(Access::These(rules)) => {
                demand(!rules.is_empty(), || format!("{at} lets in an empty list of rules"))?;
                for TcpRule { name, principals, origin: _ } in rules {
                    demand(!principals.is_empty(), || format!("rule {name} names nobody"))?;
                }
            }
            InboundAccess::Http(Access::Everyone(_) | Access::Nobody(_))
            | InboundAccess::Tcp(Access::Everyone(_) | Access::Nobody(_)) => {}
        }
    }
    for upstream in &ir.upstreams {
        let name = &upstream.name;
        demand(!upstream.server_identities.is_empty(), || format!("{name} may be served by an empty list"))?;
    }
    for service in &ir.outbound {
        for route in routes(service) {
            if let OutboundRoute::Weighted { backends, origin: _ } = route {
                let sum = backends.values().map(|weight| u64::from(*weight)).sum::<u64>();
                demand(sum > 0, || format!("the weights of {} sum to 0", service.name))?;
            }
        }
        for MatchedRoute { requests, route: _ } in &service.matched {
            demand(service.protocol.is_http(), || format!("{} has no requests to match", service.name))?;
            check_requests(&service.name, requests)?;
        }
    }
    Ok(())
}

fn check_http_rule(rule: &HttpRule) -> Verdict {
    let HttpRule { name, principals, requests, origin: _ } = rule;
    demand(!principals.is_empty(), || format!("rule {name} names nobody"))?;
    match requests {
        Requests::Any => Ok(()),
        Requests::These(requests) => check_requests(name, requests),
    }
}

/// All routes of a service, as they are tried.
fn routes(service: &OutboundService) -> impl Iterator<Item = &OutboundRoute> {
    service.matched.iter().map(|matched| &matched.route).chain([&service.route]).chain(&service.otherwise)
}

fn check_requests(name: &dyn std::fmt::Display, requests: &[RequestMatch]) -> Verdict {
    demand(!requests.is_empty(), || format!("{name} has an empty list of requests"))?;
    for RequestMatch { path, methods, headers: _ } in requests {
        let is_empty = matches!(methods, Methods::These(none) if none.is_empty());
        demand(!is_empty, || format!("{name} has a match with an empty list of methods"))?;
        demand(path.as_deref() != Some(""), || format!("{name} has a match with an empty path"))?;
    }
    Ok(())
}

/// I13: no model type can be serialised, because the crate cannot: `serde` is
/// not in what `cargo tree --edges normal --prefix none` says of it.
///
/// # Errors
/// The line that names it.
pub fn check_i13(tree: &str) -> Verdict {
    let found = tree.lines().find(|line| line.starts_with("serde"));
    demand(found.is_none(), || format!("the crate depends on {found:?}"))
}

/// I15: a change set names everything that differs between two snapshots.
///
/// # Errors
/// The first difference that it does not name.
pub fn check_i15(before: &MeshSnapshot, after: &MeshSnapshot, change: &ChangeSet) -> Verdict {
    let diagnostics = |snapshot: &MeshSnapshot| snapshot.diagnostics().cloned().collect::<Vec<_>>();
    demand(change.diagnostics || diagnostics(before) == diagnostics(after), || "findings".to_owned())?;
    if change.settings {
        return Ok(());
    }
    demand(before.config() == after.config(), || "settings changed".to_owned())?;
    let services = before.services().chain(after.services()).map(|service| service.name.clone());
    for name in services.collect::<BTreeSet<_>>() {
        let is_same = before.service(&name) == after.service(&name)
            && before.splits_of(&name) == after.splits_of(&name);
        demand(is_same || change.services.contains(&name), || format!("service {name} changed"))?;
    }
    let workloads = before.workloads().chain(after.workloads());
    for workload in workloads {
        let identity = workload.identity();
        let is_same = before.targets_to(&identity) == after.targets_to(&identity);
        demand(is_same || change.access_to.contains(&identity), || format!("access to {identity} changed"))?;
        let is_same = before.reach_of(&identity).eq(after.reach_of(&identity));
        demand(is_same || change.reach_of.contains(&identity), || format!("reach of {identity} changed"))?;
        let Some(proxy) = &workload.proxy else { continue };
        let serves = |snapshot: &MeshSnapshot| {
            let workload = snapshot.workload_of(proxy)?;
            let proxy = crate::identity::ProxyId::new(proxy.clone(), workload.identity());
            crate::policy::classify(snapshot, &proxy).ok()
        };
        let is_same = serves(before) == serves(after);
        demand(is_same || change.proxies.contains(proxy), || format!("what proxy {proxy} serves changed"))?;
    }
    Ok(())
}
