//! Thousands of objects of each kind that do not read, and one of a megabyte, beside some
//! that do.

use std::collections::BTreeSet;

use osm_core::diagnostic::Diagnostic;

use super::*;
use crate::source::cluster::target;

/// Bad objects of each kind.
const COUNT: usize = 5_000;
/// How many are taken in at once at most, as the source does.
const BATCH: usize = 1_024;

fn kinds() -> Vec<ManifestKind> {
    let control_plane = "osm-system".parse().expect("a name");
    target::all("osm", &control_plane).into_iter().map(|target| target.kind).collect()
}

/// An object of a kind that reads.
fn good(kind: ManifestKind) -> Value {
    let account = json!({ "kind": "ServiceAccount", "name": "a", "namespace": "shop" });
    let rest = match kind {
        ManifestKind::Service => json!({ "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80 }] } }),
        ManifestKind::EndpointSlice => json!({
            "addressType": "IPv4", "endpoints": [{ "addresses": ["10.1.0.1"] }], "ports": [{ "port": 80 }],
        }),
        ManifestKind::Pod => json!({ "spec": { "serviceAccountName": "a", "containers": [] } }),
        ManifestKind::TrafficTarget => json!({ "spec": {
            "destination": account, "sources": [account], "rules": [{ "kind": "TCPRoute", "name": "all" }],
        } }),
        ManifestKind::HttpRouteGroup => json!({ "spec": { "matches": [{ "name": "a", "pathRegex": "/" }] } }),
        ManifestKind::TrafficSplit => {
            json!({ "spec": { "service": "a", "backends": [{ "service": "b", "weight": 1 }] } })
        }
        ManifestKind::MeshRootCertificate => {
            json!({ "spec": { "role": "active", "provider": { "certManager": { "issuerName": "a" } } } })
        }
        _ => json!({ "spec": {} }),
    };
    let mut object = rest;
    let labels = json!({
        "kubernetes.io/service-name": "a", crate::manifest::MONITORED_BY_LABEL: "osm",
    });
    object["metadata"] = json!({ "name": "good", "labels": labels, "resourceVersion": "1" });
    match kind {
        ManifestKind::Namespace => object["metadata"]["name"] = "shop".into(),
        ManifestKind::MeshConfig | ManifestKind::MeshRootCertificate => {
            object["metadata"]["namespace"] = "osm-system".into()
        }
        _ => object["metadata"]["namespace"] = "shop".into(),
    }
    object
}

/// The same made unreadable; the first of all is a megabyte.
fn bad(kind: ManifestKind, number: usize) -> Object {
    let mut object = good(kind);
    object["metadata"]["name"] = format!("bad-{number}").into();
    object["metadata"]["labels"] = match number {
        0 => "x".repeat(1_000_000).into(),
        _ => 3.into(),
    };
    Object::new(object)
}

fn story() -> Story {
    Story { mirror: Mirror::new("osm", kinds()), now: Instant::now(), told: SourceCheck::default() }
}

/// Each bad object is named, and what is said of all of them together is little.
fn check_findings(found: &[Diagnostic]) {
    let named: BTreeSet<_> = found.iter().filter_map(|finding| finding.object.clone()).collect();
    assert_eq!((named.len(), found.len()), (COUNT * kinds().len(), COUNT * kinds().len()));
    let longest = found.iter().map(|finding| finding.message.len() + finding.field.len()).max();
    assert!(longest.is_some_and(|longest| longest < 400), "{longest:?}");
}

#[test]
fn thousands_of_objects_of_each_kind_that_do_not_read_are_named_in_a_list_and_hide_no_other() {
    let mut story = story();
    for kind in kinds() {
        let mut list: Vec<Object> = (0..COUNT).map(|number| bad(kind, number)).collect();
        list.insert(COUNT / 2, Object::new(good(kind)));
        story.list(kind, &list);
    }
    story.says();
    assert!(story.told.is_ready());
    assert_eq!(story.knows().len(), kinds().len(), "{:?}", story.knows());
    check_findings(story.told.diagnostics());
}

#[test]
fn thousands_of_objects_that_stop_to_read_or_come_unreadable_change_nothing_that_is_in_force() {
    let mut story = story();
    kinds().into_iter().for_each(|kind| story.list(kind, &[Object::new(good(kind))]));
    story.says();
    let before = story.told.objects().clone();
    assert_eq!(before.len(), kinds().len());
    let mut settled = 0;
    for kind in kinds() {
        for number in 0..COUNT {
            let object = match number {
                // The good one, which does not read any more.
                0 => {
                    let mut object = good(kind);
                    object["metadata"]["labels"] = 3.into();
                    object["metadata"]["resourceVersion"] = "2".into();
                    Object::new(object)
                }
                _ => bad(kind, number),
            };
            story.see(kind, Seen::Applied(object));
            if number % BATCH == 0 {
                story.says();
                settled += 1;
            }
        }
    }
    story.says();
    assert!(settled >= kinds().len());
    assert_eq!(*story.told.objects(), before);
    check_findings(story.told.diagnostics());
}
