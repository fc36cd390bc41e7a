//! The split in force for a root service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::Facts;
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::model::TrafficSplit;
use crate::name::{Kind, ObjectRef, QualifiedName, ServiceName};

/// The split in force for a root service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedSplit {
    /// Its name.
    pub name: QualifiedName,
    /// The object that made it.
    pub origin: Origin,
    /// The root service.
    pub root: ServiceName,
    /// The backends and their weights; equal names are summed.
    pub backends: BTreeMap<ServiceName, u32>,
}

/// Links the splits of one root. The first by name is in force; findings come
/// with the object that they are about.
pub(super) fn link(
    facts: &Facts,
    root: &ServiceName,
) -> (Option<LinkedSplit>, Vec<(ObjectRef, Vec<Diagnostic>)>) {
    let mut in_force: Option<LinkedSplit> = None;
    let mut findings = Vec::new();
    for split in facts.splits_by_root.get(root).filter_map(|name| facts.splits.get(name)) {
        let object = ObjectRef::namespaced(Kind::TrafficSplit, &split.name);
        let mut found = Vec::new();
        let mut find = |severity, code, field: &str, message: String| {
            let finding = Diagnostic::new(severity, code, object.clone(), message).at(field);
            found.push(finding.located(split.meta.location.clone()));
        };
        if let Some(first) = &in_force {
            let message =
                format!("TrafficSplit {} already divides {root}; only the first by name counts", first.name);
            find(Severity::Error, "duplicate-split", "spec.service", message);
        } else {
            check(facts, split, &mut find);
            in_force = linked(split, &object);
        }
        findings.push((object, found));
    }
    (in_force, findings)
}

fn check(facts: &Facts, split: &TrafficSplit, find: &mut impl FnMut(Severity, &'static str, &str, String)) {
    let Some(root) = facts.services.get(&split.service) else {
        let message =
            format!("the root Service {} does not exist; nothing is divided until it does", split.service);
        return find(Severity::Warning, "split-of-nowhere", "spec.service", message);
    };
    for (index, backend) in split.backends.iter().enumerate() {
        let field = format!("spec.backends[{index}].service");
        let Some(service) = facts.services.get(&backend.service) else {
            let message =
                format!("the backend Service {} does not exist and gets no traffic", backend.service);
            find(Severity::Warning, "split-to-nowhere", &field, message);
            continue;
        };
        for port in &root.ports {
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

fn linked(split: &Arc<TrafficSplit>, object: &ObjectRef) -> Option<LinkedSplit> {
    let mut backends: BTreeMap<ServiceName, u32> = BTreeMap::new();
    for backend in &split.backends {
        let weight = backends.entry(backend.service.clone()).or_default();
        *weight = weight.saturating_add(backend.weight);
    }
    Some(LinkedSplit {
        name: split.name.clone(),
        origin: Origin::Object(object.clone(), split.meta.generation),
        root: split.service.clone(),
        backends,
    })
}
