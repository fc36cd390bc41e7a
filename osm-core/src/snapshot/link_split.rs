//! The splits in force for a root service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::Facts;
use super::in_namespace;
use super::link_requests::{add_request, request_match, sorted};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::ir::Requests;
use crate::model::{ServicePort, TrafficSplit};
use crate::name::{Kind, ObjectRef, QualifiedName, ServiceName};

/// The most kinds of requests that one split can divide: each is a route of its
/// own to all backends.
const MAX_REQUESTS: usize = 256;

/// A split in force for a root service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedSplit {
    /// Its name.
    pub name: QualifiedName,
    /// The object that made it.
    pub origin: Origin,
    /// The root service.
    pub root: ServiceName,
    /// What it divides.
    pub scope: SplitScope,
    /// The backends and their weights; equal names are summed.
    pub backends: BTreeMap<ServiceName, u32>,
}

/// What a split divides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitScope {
    /// All requests and connections.
    Everything,
    /// These requests, on ports that speak HTTP, and no connections.
    Requests(Requests),
}

type Findings = Vec<(ObjectRef, Vec<Diagnostic>)>;

/// Links the splits of one root, in the order in which they are tried: those of
/// certain requests by name, then the first by name of those of everything.
/// Findings come with the object that they are about. `dialled_as` is another service
/// that has places of the root's members.
pub(super) fn link(
    facts: &Facts,
    root: &ServiceName,
    dialled_as: Option<&ServiceName>,
) -> (Vec<LinkedSplit>, Findings) {
    let mut in_force: Vec<LinkedSplit> = Vec::new();
    let mut findings = Vec::new();
    let named = facts.splits_by_root.get(root).filter_map(|name| facts.splits.get(name));
    let mut splits: Vec<&Arc<TrafficSplit>> = named.collect();
    splits.sort_by_key(|split| split.matches.is_none());
    for split in splits {
        let object = ObjectRef::namespaced(Kind::TrafficSplit, &split.name);
        let mut found = Vec::new();
        let mut find = |severity, code, field: &str, message: String| {
            let finding = Diagnostic::new(severity, code, object.clone(), message).at(field);
            found.push(finding.located(split.meta.location.clone()));
        };
        if let Some(first) = in_force.iter().find(|first| leaves_nothing_to(first, split)) {
            let message =
                format!("TrafficSplit {} already divides {root}; only the first by name counts", first.name);
            find(Severity::Error, "duplicate-split", "spec.service", message);
        } else {
            check(facts, split, &mut find);
            if let Some(other) = dialled_as {
                let message = format!(
                    "the root is headless, and pods of it are dialled as those of Service {other}: what is asked of \
                     the root there goes to the pod that is dialled, and is not divided; make {other} the root"
                );
                find(Severity::Warning, "members-of-another", "spec.service", message);
            }
            let scope = scope(facts, split, &mut find);
            in_force.extend(scope.map(|scope| linked(split, &object, scope)));
        }
        findings.push((object, found));
    }
    (in_force, findings)
}

/// Whether a split in force divides all that a later one is meant to divide.
fn leaves_nothing_to(first: &LinkedSplit, later: &TrafficSplit) -> bool {
    match &first.scope {
        SplitScope::Everything => true,
        // Connections are left, which a split with matches does not divide.
        SplitScope::Requests(Requests::Any) => later.matches.is_some(),
        SplitScope::Requests(Requests::These(_)) => false,
    }
}

/// What a split divides; `None` when no request fits.
fn scope(
    facts: &Facts,
    split: &TrafficSplit,
    find: &mut impl FnMut(Severity, &'static str, &str, String),
) -> Option<SplitScope> {
    let Some(groups) = &split.matches else { return Some(SplitScope::Everything) };
    let mut requests = None;
    for (index, group) in groups.iter().enumerate() {
        let name = in_namespace(&split.name.namespace, group);
        let field = format!("spec.matches[{index}].name");
        let Some(group) = facts.groups.get(&name) else {
            let message = format!("HTTPRouteGroup {name} does not exist; no request fits it until it does");
            find(Severity::Error, "missing-route-group", &field, message);
            continue;
        };
        if group.matches.is_empty() {
            let message = format!("HTTPRouteGroup {name} has no matches; no request fits it until it has");
            find(Severity::Warning, "no-matches", &field, message);
        }
        for written in &group.matches {
            match request_match(written) {
                Ok(request) => add_request(&mut requests, request),
                Err(error) => {
                    let message =
                        format!("no request fits match `{}` of HTTPRouteGroup {name}: {error}", written.name);
                    find(Severity::Error, "invalid-regex", &field, message);
                }
            }
        }
    }
    if requests.is_none() {
        let message = "no request fits, so nothing is divided and all of them go to the root; name an \
                       HTTPRouteGroup with matches, or leave `matches` out to divide everything";
        find(Severity::Error, "split-of-nothing", "spec.matches", message.to_owned());
    }
    let requests = requests.map(sorted)?;
    if let Requests::These(kinds) = &requests
        && kinds.len() > MAX_REQUESTS
    {
        let message = format!(
            "its groups have {} kinds of requests; a split divides at most {MAX_REQUESTS}, and this one is not in force",
            kinds.len()
        );
        find(Severity::Error, "too-many-matches", "spec.matches", message);
        return None;
    }
    Some(SplitScope::Requests(requests))
}

fn check(facts: &Facts, split: &TrafficSplit, find: &mut impl FnMut(Severity, &'static str, &str, String)) {
    let Some(root) = facts.services.get(&split.service) else {
        let message =
            format!("the root Service {} does not exist; nothing is divided until it does", split.service);
        return find(Severity::Warning, "split-of-nowhere", "spec.service", message);
    };
    if root.headless && root.ports.iter().any(speaks_without_requests) {
        let message = "the root is headless: connections without requests to one of its members that has a host name \
                       go to that member and are not divided";
        find(Severity::Info, "members-not-divided", "spec.service", message.to_owned());
    }
    let mut divided = Vec::new();
    for port in &root.ports {
        if split.matches.is_some()
            && let Ok(spoken) = port.protocol()
            && !spoken.is_http()
        {
            let message = format!(
                "port {} of the root speaks {spoken}, which has no requests to match; none of its connections are divided",
                port.port
            );
            find(Severity::Warning, "matches-without-requests", "spec.matches", message);
        } else {
            divided.push(port);
        }
    }
    for (index, backend) in split.backends.iter().enumerate() {
        let field = format!("spec.backends[{index}].service");
        let Some(service) = facts.services.get(&backend.service) else {
            let message =
                format!("the backend Service {} does not exist and gets no traffic", backend.service);
            find(Severity::Warning, "split-to-nowhere", &field, message);
            continue;
        };
        for port in &divided {
            let Some(own) = service.ports.iter().find(|has| has.port == port.port) else {
                let message = format!(
                    "the backend Service {} has no port {} as the root has; it gets none of that port's traffic",
                    backend.service, port.port
                );
                find(Severity::Warning, "split-to-nowhere", &field, message);
                continue;
            };
            if let (Ok(spoken), Ok(served)) = (port.protocol(), own.protocol())
                && spoken != served
            {
                let message = format!(
                    "the root speaks {spoken} on port {} and the backend Service {} {served}; make them the same",
                    port.port, backend.service
                );
                find(Severity::Warning, "mixed-protocols", &field, message);
            }
        }
    }
    if split.backends.iter().all(|backend| backend.weight == 0) {
        let message = "the weights sum to 0, so every request fails; give one backend a weight".to_owned();
        find(Severity::Error, "split-without-weight", "spec.backends", message);
    }
}

fn speaks_without_requests(port: &ServicePort) -> bool {
    port.protocol().is_ok_and(|spoken| !spoken.is_http())
}

fn linked(split: &TrafficSplit, object: &ObjectRef, scope: SplitScope) -> LinkedSplit {
    let mut backends: BTreeMap<ServiceName, u32> = BTreeMap::new();
    for backend in &split.backends {
        let weight = backends.entry(backend.service.clone()).or_default();
        *weight = weight.saturating_add(backend.weight);
    }
    LinkedSplit {
        name: split.name.clone(),
        origin: Origin::Object(object.clone(), split.meta.generation),
        root: split.service.clone(),
        scope,
        backends,
    }
}
