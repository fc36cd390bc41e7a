//! Putting one linked thing into the next snapshot, with its indexes and findings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::ChangeSet;
use super::grant::Grant;
use super::link_service::LinkedService;
use super::link_target::LinkedTarget;
use super::{MeshSnapshot, SharedMap, SharedSet};
use crate::diagnostic::{Diagnostic, Severity};
use crate::identity::ServiceIdentity;
use crate::name::{Kind, ObjectRef, QualifiedName, ServiceName};

pub(super) fn finding_of(
    kind: Kind,
    name: &QualifiedName,
    severity: Severity,
    code: &'static str,
    message: String,
) -> Diagnostic {
    Diagnostic::new(severity, code, ObjectRef::namespaced(kind, name), message)
}

/// The most findings about one object; that there are more is said once.
pub(super) const MAX_FINDINGS: usize = 64;

pub(super) fn set_findings(
    all: &mut SharedMap<ObjectRef, Arc<[Diagnostic]>>,
    object: ObjectRef,
    mut found: Vec<Diagnostic>,
    change: &mut ChangeSet,
) {
    if found.len() > MAX_FINDINGS {
        let location = found[0].location.clone();
        found.truncate(MAX_FINDINGS);
        let message = "more findings are not shown; correct these first";
        let more = Diagnostic::new(Severity::Warning, "too-many-findings", object.clone(), message);
        found.push(more.located(location));
    }
    if all.get(&object).map_or(&[][..], |old| old) == found {
        return;
    }
    change.diagnostics = true;
    if found.is_empty() {
        all.remove_mut(&object);
    } else {
        all.insert_mut(object, found.into());
    }
}

/// Adds or removes one value of a shared map of sets; empty sets are not kept.
pub(super) fn update_set<K: Ord + Clone, V: Ord + Clone>(
    map: &mut SharedMap<K, SharedSet<V>>,
    key: K,
    value: &V,
    present: bool,
) {
    // A copy of a set shares all of it: this costs the depth of the set, not its size.
    let mut set = map.get(&key).cloned().unwrap_or_else(SharedSet::new_sync);
    if set.contains(value) == present {
        return;
    }
    if present {
        set.insert_mut(value.clone());
    } else {
        set.remove_mut(value);
    }
    if set.is_empty() {
        map.remove_mut(&key);
    } else {
        map.insert_mut(key, set);
    }
}

/// Keeps the indexes from workloads and identities to services right, and notes what is
/// served otherwise than before.
pub(super) fn update_members(
    next: &mut MeshSnapshot,
    change: &mut ChangeSet,
    service: &ServiceName,
    old: Option<&LinkedService>,
    new: Option<&LinkedService>,
) {
    let none = BTreeMap::new();
    let (before, after) = (old.map_or(&none, |s| &s.members), new.map_or(&none, |s| &s.members));
    let same_ports = match (old, new) {
        (Some(old), Some(new)) => {
            let protocols =
                |s: &LinkedService| s.ports.iter().map(|(n, p)| (*n, p.protocol)).collect::<Vec<_>>();
            protocols(old) == protocols(new)
        }
        _ => false,
    };
    if !same_ports || old.map(|old| &old.origin) != new.map(|new| &new.origin) {
        change.served.insert(service.clone());
    }
    for member in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        if same_ports && before.get(member) == after.get(member) {
            continue;
        }
        update_set(&mut next.memberships, member.clone(), service, after.contains_key(member));
        if let Some(proxy) = next.workloads.get(member).and_then(|workload| workload.proxy.as_ref()) {
            change.proxies.insert(proxy.clone());
        }
    }
    let none = BTreeSet::new();
    let (before, after) = (old.map_or(&none, |s| &s.identities), new.map_or(&none, |s| &s.identities));
    for identity in before.symmetric_difference(after) {
        update_set(&mut next.served_by, identity.clone(), service, after.contains(identity));
    }
}

pub(super) fn old_target(next: &MeshSnapshot, name: &QualifiedName) -> Option<Arc<LinkedTarget>> {
    let destination = next.target_destinations.get(name)?;
    next.targets_to(destination).iter().find(|target| target.name == *name).cloned()
}

/// Puts a target into the list of its destination, or takes it out.
pub(super) fn replace_target(
    next: &mut MeshSnapshot,
    destination: &ServiceIdentity,
    name: &QualifiedName,
    target: Option<&Arc<LinkedTarget>>,
) {
    let mut targets: Vec<Arc<LinkedTarget>> = next.targets_to(destination).to_vec();
    targets.retain(|has| has.name != *name);
    if let Some(target) = target {
        let at = targets.partition_point(|has| has.name < *name);
        targets.insert(at, Arc::clone(target));
        next.target_destinations.insert_mut(name.clone(), destination.clone());
    } else if next.target_destinations.get(name) == Some(destination) {
        next.target_destinations.remove_mut(name);
    }
    if targets.is_empty() {
        next.targets_to.remove_mut(destination);
    } else {
        next.targets_to.insert_mut(destination.clone(), Arc::new(targets));
    }
}

/// Notes what targets let `source` use of `destination` now.
pub(super) fn update_reach(
    next: &mut MeshSnapshot,
    change: &mut ChangeSet,
    source: &ServiceIdentity,
    destination: &ServiceIdentity,
) {
    let grant = Grant::of(next.targets_to(destination), source);
    if grant.as_ref() == next.grant(source, destination) {
        return;
    }
    let mut reached = next.reach_of.get(source).map(|reached| BTreeMap::clone(reached)).unwrap_or_default();
    match grant {
        Some(grant) => drop(reached.insert(destination.clone(), grant)),
        None => drop(reached.remove(destination)),
    }
    if reached.is_empty() {
        next.reach_of.remove_mut(source);
    } else {
        next.reach_of.insert_mut(source.clone(), Arc::new(reached));
    }
    change.reach_of.insert(source.clone());
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::{SharedMap, SharedSet, update_set};

    thread_local! {
        static WORK: Cell<u32> = const { Cell::new(0) };
    }

    /// A value that counts how often it is compared or copied.
    #[derive(Debug, PartialEq, Eq)]
    struct Counted(u32);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            WORK.set(WORK.get() + 1);
            Self(self.0)
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            WORK.set(WORK.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn one_more_in_a_set_costs_its_depth_and_not_its_size() {
        let mut map: SharedMap<u8, SharedSet<Counted>> = SharedMap::new_sync();
        for value in 0..10_000 {
            let before = map.clone();
            WORK.set(0);
            update_set(&mut map, 1, &Counted(value), true);
            assert!(WORK.get() <= 100, "{} at {value}", WORK.get());
            drop(before);
        }
        for value in 0..10_000 {
            WORK.set(0);
            update_set(&mut map, 1, &Counted(value), false);
            assert!(WORK.get() <= 200, "{} at {value}", WORK.get());
        }
        assert!(map.is_empty(), "empty sets are not kept");
    }
}
