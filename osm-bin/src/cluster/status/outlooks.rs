//! What the mesh makes of each policy object. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Origin};
use osm_core::identity::ServiceIdentity;
use osm_core::model::{MeshObject, RouteRule, TrafficTarget};
use osm_core::name::{Kind, ObjectRef, QualifiedName};
use osm_core::snapshot::MeshSnapshot;
use osm_k8s::source::cluster::PolicyObjects;
use osm_k8s::status::{Outlook, Outlooks};

use super::fleet::Fleet;

/// Looks at the objects, and only when something has changed.
#[derive(Default)]
pub(super) struct Looker {
    seen: Option<Seen>,
    made: Arc<Outlooks>,
}

/// What was looked at.
struct Seen {
    version: u64,
    objects: Arc<PolicyObjects>,
    fleet: Fleet,
}

impl Looker {
    /// What the mesh makes of the objects; the same as before if nothing has changed.
    pub(super) fn look(
        &mut self,
        snapshot: &MeshSnapshot,
        fleet: Fleet,
        objects: &Arc<PolicyObjects>,
    ) -> Arc<Outlooks> {
        let is_same = |seen: &Seen| {
            seen.version == snapshot.version() && Arc::ptr_eq(&seen.objects, objects) && seen.fleet == fleet
        };
        if !self.seen.as_ref().is_some_and(is_same) {
            self.made = Arc::new(outlooks(snapshot, &fleet, objects));
            self.seen = Some(Seen { version: snapshot.version(), objects: Arc::clone(objects), fleet });
        }
        Arc::clone(&self.made)
    }
}

/// What the mesh makes of each object. One that the snapshot has of another generation is
/// left out: what is found of that one would be said of this one. Of a mesh that is not
/// known yet nothing is said.
fn outlooks(snapshot: &MeshSnapshot, fleet: &Fleet, objects: &PolicyObjects) -> Outlooks {
    if snapshot.version() == 0 {
        return Outlooks::new();
    }
    let routes = users_of_routes(objects);
    let mut findings = findings(snapshot, objects);
    let mut outlook = |name: &ObjectRef, fact: Option<&MeshObject>| {
        let concerned = match fact {
            Some(MeshObject::TrafficTarget(target)) => Some(parties(target)),
            _ if matches!(name.kind, Kind::HttpRouteGroup | Kind::TcpRoute) => {
                Some(routes.get(name).cloned().unwrap_or_default())
            }
            _ => None,
        };
        let findings = findings.remove(name).unwrap_or_default();
        // What is not in force is on no proxy.
        let programmed = fact.map(|_| fleet.programmed(name, concerned.as_ref()));
        Outlook { findings, programmed }
    };
    let known = objects.iter().filter(|(_, object)| {
        object.fact.as_ref().is_none_or(|fact| {
            generation(snapshot, fact).is_none_or(|generation| generation == fact.meta().generation)
        })
    });
    known.map(|(name, object)| (name.clone(), outlook(name, object.fact.as_ref()))).collect()
}

/// What is wrong with each object, the source's findings first.
fn findings(snapshot: &MeshSnapshot, objects: &PolicyObjects) -> BTreeMap<ObjectRef, Vec<Diagnostic>> {
    let mut findings: BTreeMap<ObjectRef, Vec<Diagnostic>> = BTreeMap::new();
    for finding in snapshot.diagnostics() {
        if let Some(object) = finding.object.as_ref().filter(|object| objects.contains_key(object)) {
            findings.entry(object.clone()).or_default().push(finding.clone());
        }
    }
    findings
}

/// The generation at which an object is in a snapshot, where that tells.
fn generation(snapshot: &MeshSnapshot, fact: &MeshObject) -> Option<i64> {
    let origin = match fact {
        MeshObject::TrafficTarget(target) => {
            let in_force = snapshot.targets_to(&target.destination);
            in_force.iter().find(|one| one.name == target.name)?.origin.clone()
        }
        MeshObject::TrafficSplit(split) => {
            let in_force = snapshot.splits_of(&split.service);
            in_force.iter().find(|one| one.name == split.name)?.origin.clone()
        }
        MeshObject::MeshConfig(config) if config.name == snapshot.options().mesh_config => {
            snapshot.config_origin()
        }
        _ => return None,
    };
    match origin {
        Origin::Object(_, generation) => Some(generation),
        Origin::Default(_) => None,
    }
}

/// Whom a target is about.
fn parties(target: &TrafficTarget) -> BTreeSet<ServiceIdentity> {
    target.sources.iter().cloned().chain([target.destination.clone()]).collect()
}

/// Whom each route object is about: those of the targets that name it.
fn users_of_routes(objects: &PolicyObjects) -> BTreeMap<ObjectRef, BTreeSet<ServiceIdentity>> {
    let mut users: BTreeMap<ObjectRef, BTreeSet<ServiceIdentity>> = BTreeMap::new();
    for object in objects.values() {
        let Some(MeshObject::TrafficTarget(target)) = &object.fact else { continue };
        for rule in &target.rules {
            let (kind, name) = match rule {
                RouteRule::Http { group, .. } => (Kind::HttpRouteGroup, group),
                RouteRule::Tcp { route } => (Kind::TcpRoute, route),
                // Of a kind of rule that is not known here nobody can say whom it is about.
                _ => continue,
            };
            let route = QualifiedName::new(target.name.namespace.clone(), name.clone());
            users.entry(ObjectRef::namespaced(kind, &route)).or_default().extend(parties(target));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use osm_core::diagnostic::Severity;
    use osm_core::model::{SplitBackend, TrafficSplit};
    use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
    use osm_core::source::SourceEvent;
    use osm_k8s::ManifestKind;
    use osm_k8s::source::cluster::PolicyObject;
    use osm_k8s::status::PolicyStatus;

    use super::super::fleet::tests::proxy;
    use super::*;

    fn split(generation: i64) -> MeshObject {
        let mut split =
            TrafficSplit::new("shop/s".parse().expect("a name"), "shop/root".parse().expect("a name"));
        split.backends = vec![SplitBackend { service: "shop/leaf".parse().expect("a name"), weight: 1 }];
        split.meta.generation = generation;
        split.into()
    }

    fn objects(facts: &[MeshObject]) -> Arc<PolicyObjects> {
        let object = |fact: &MeshObject| PolicyObject {
            kind: ManifestKind::TrafficSplit,
            api_version: ManifestKind::TrafficSplit.api_version(),
            uid: "u".to_owned(),
            generation: fact.meta().generation,
            status: PolicyStatus::default(),
            fact: Some(fact.clone()),
        };
        Arc::new(facts.iter().map(|fact| (fact.object_ref(), Arc::new(object(fact)))).collect())
    }

    fn snapshot(events: impl IntoIterator<Item = SourceEvent>) -> Arc<MeshSnapshot> {
        let mut builder = SnapshotBuilder::new(MeshOptions::default());
        builder.apply(SourceEvent::Reset);
        let namespace = osm_core::model::Namespace::monitored("shop".parse().expect("a name"), "osm");
        builder.apply(SourceEvent::apply(namespace));
        events.into_iter().for_each(|event| builder.apply(event));
        builder.apply(SourceEvent::Ready);
        builder.build().expect("a first one").0
    }

    #[test]
    fn an_object_of_another_generation_than_the_snapshots_is_left_out() {
        let snapshot = snapshot([SourceEvent::apply(split(2))]);
        assert_eq!(generation(&snapshot, &split(7)), Some(2), "the split is in force");
        let names = |generation| outlooks(&snapshot, &Fleet::default(), &objects(&[split(generation)])).len();
        assert_eq!((names(1), names(2), names(3)), (0, 1, 0));
    }

    #[test]
    fn what_the_source_finds_wrong_is_in_the_outlook_as_what_the_mesh_finds_is() {
        let name = split(1).object_ref();
        let finding = Diagnostic::new(Severity::Error, "unreadable", name.clone(), "it does not read");
        let snapshot = snapshot([SourceEvent::Diagnostics(vec![finding]), SourceEvent::apply(split(1))]);
        let found = &outlooks(&snapshot, &Fleet::default(), &objects(&[split(1)]))[&name].findings;
        assert_eq!(found[0].code, "unreadable");
        // The mesh has no such services.
        assert!(found.len() > 1, "{found:?}");
    }

    #[test]
    fn nothing_is_looked_at_again_until_objects_mesh_or_proxies_change() {
        let (one, mut looker) = (snapshot([]), Looker::default());
        let all = objects(&[split(1)]);
        let fleet = |has| [proxy("shop/root", has, &[])].into_iter().collect::<Fleet>();
        let first = looker.look(&one, fleet(false), &all);
        assert!(Arc::ptr_eq(&first, &looker.look(&one, fleet(false), &all)));
        let synced = looker.look(&one, fleet(true), &all);
        assert!(!Arc::ptr_eq(&first, &synced) && first != synced);
        let others = objects(&[split(1)]);
        let again = looker.look(&one, fleet(true), &others);
        assert!(!Arc::ptr_eq(&synced, &again));
        assert!(Arc::ptr_eq(&again, &looker.look(&one, fleet(true), &others)));
        let unknown = MeshSnapshot::empty(MeshOptions::default());
        assert!(looker.look(&unknown, fleet(true), &others).is_empty(), "another snapshot");
    }
}
