//! What a change of a fact costs follows the change, not the mesh: by counting
//! what is linked anew.

use std::sync::Arc;

use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::model::{MeshObject, Service, Workload};
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;
use osm_core::testing::{Fleet, told};

/// The service that changes.
const SERVICE: usize = 7;
/// Labels that every pod has, and one of its own service.
const LABELS: [(&str, &str); 2] = [("app.kubernetes.io/managed-by", "helm"), ("version", "v1")];

fn fleet(services: usize) -> Fleet {
    Fleet { services, endpoints: 2, clients: 20, reach: 3, permissive: false }
}

fn built(objects: Vec<MeshObject>) -> SnapshotBuilder {
    let mut builder = told(objects);
    builder.build().expect("a first snapshot");
    builder
}

/// A service that selects its pods by labels, of which the first is on every pod.
fn selecting(service: usize) -> Service {
    let mut object = Fleet::service(service);
    object.selector = LABELS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    object.selector.insert("z-app".to_owned(), format!("s{service}"));
    object
}

fn labelled(service: usize) -> Workload {
    let mut object = Fleet::server(service, 0);
    object.labels = selecting(service).selector;
    object
}

/// A kind of change, and how many things it may have linked anew.
type Change = (&'static str, fn(&Fleet) -> MeshObject, u64);

const CHANGES: [Change; 6] = [
    ("endpoints", |fleet| fleet.slice(SERVICE, 1).into(), 2),
    ("a service", |_| selecting(SERVICE).into(), 2),
    (
        "a pod",
        |_| {
            let mut pod = Fleet::server(SERVICE, 1);
            pod.ready = false;
            pod.into()
        },
        4,
    ),
    (
        "a policy",
        |fleet| {
            let mut target = fleet.target(SERVICE);
            target.sources.pop();
            target.into()
        },
        1,
    ),
    ("a split", |_| Fleet::split(SERVICE, 9).into(), 2),
    ("the endpoints of another service", |fleet| fleet.slice(SERVICE + 1, 0).into(), 2),
];

#[test]
fn a_change_links_the_same_few_things_anew_whatever_the_size_of_the_mesh() {
    let mut linked_at = Vec::new();
    for services in [100, 1_000, 10_000] {
        let fleet = fleet(services);
        let mut objects = fleet.objects();
        objects.extend((0..services).map(|service| Fleet::split(service, 1).into()));
        let mut builder = built(objects);
        let mut linked = Vec::new();
        for (what, change, most) in CHANGES {
            let before = (builder.linked(), Arc::clone(builder.current()));
            builder.apply(SourceEvent::apply(change(&fleet)));
            let (snapshot, change) = builder.build().expect("something changed");
            let count = builder.linked() - before.0;
            assert!(count <= most, "{what}: {count} at {services} services");
            assert!(
                !change.settings && change.services.len() + change.access_to.len() <= 2,
                "{what}: {change:?}"
            );
            // What does not change is shared, not copied.
            let other = format!("fleet/s{}", SERVICE + 50).parse().expect("a valid name");
            let (old, new) = (before.1.service(&other), snapshot.service(&other));
            assert!(old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)), "{what}");
            linked.push(count);
        }
        linked_at.push(linked);
    }
    assert!(linked_at.windows(2).all(|pair| pair[0] == pair[1]), "{linked_at:?}");
}

#[test]
fn a_pod_touches_the_services_that_select_it_even_if_all_pods_have_a_label_in_common() {
    for services in [100, 1_000] {
        let fleet = fleet(services);
        let mut objects = fleet.objects();
        objects
            .extend((0..services).flat_map(|service| [selecting(service).into(), labelled(service).into()]));
        let mut builder = built(objects);
        let before = builder.linked();
        let mut pod = labelled(SERVICE);
        pod.ready = false;
        builder.apply(SourceEvent::apply(pod));
        builder.build().expect("something changed");
        // The pod, its service, and the policies and splits about them.
        assert!(builder.linked() - before <= 4, "{}", builder.linked() - before);
    }
}

#[test]
fn a_reader_is_told_what_changed_without_a_look_at_the_rest() {
    let (catalog, mut driver) = Catalog::new(MeshOptions::default());
    let fleet = fleet(1_000);
    driver.take_in(SourceEvent::round(fleet.objects()));
    let linked = driver.linked();
    driver.take_in([SourceEvent::apply(fleet.slice(SERVICE, 1))]);
    assert!(driver.linked() - linked <= 2);
    assert_eq!(catalog.snapshot().version(), 2);
}
