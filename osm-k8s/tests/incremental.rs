//! However a folder came to be as it is, the events say the same as reading it anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::name::ObjectRef;
use osm_core::source::SourceEvent;
use osm_k8s::source::files::{FileSet, FileText};
use osm_k8s::{ManifestStore, Manifests};
use proptest::prelude::*;

/// Documents to choose from; some have the same name, some say nothing, one is
/// wrong in a way that conversion finds.
const DOCUMENTS: [&str; 10] = [
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {openservicemesh.io/monitored-by: osm}}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: shop}}",
    "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {ports: [{port: 80}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {ports: [{port: 81}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {type: ExternalName}}",
    "{apiVersion: split.smi-spec.io/v1alpha2, kind: TrafficSplit, metadata: {name: s}, spec: {service: a, backends: [{service: b, weight: 1}]}}",
    "{apiVersion: split.smi-spec.io/v1alpha2, kind: TrafficSplit, metadata: {name: s}, spec: {service: a.b.c, backends: []}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}",
    "# nothing",
];
const BROKEN: [&str; 3] = ["kind: [", "{kind: Pod}", "\u{0}"];

#[derive(Debug, Clone)]
enum Edit {
    Write { file: usize, documents: Vec<usize>, broken: Option<usize> },
    Remove { file: usize },
    Unreadable { file: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    let documents = prop::collection::vec(0..DOCUMENTS.len(), 0..4);
    prop_oneof![
        6 => (0..3_usize, documents, prop::option::weighted(0.3, 0..BROKEN.len()))
            .prop_map(|(file, documents, broken)| Edit::Write { file, documents, broken }),
        1 => (0..3_usize).prop_map(|file| Edit::Remove { file }),
        1 => (0..3_usize).prop_map(|file| Edit::Unreadable { file }),
    ]
}

fn apply(files: &mut FileSet, edit: &Edit) {
    let path = |file: &usize| Arc::<str>::from(format!("f{file}.yaml"));
    match edit {
        Edit::Write { file, documents, broken } => {
            let mut parts: Vec<_> = documents.iter().map(|index| DOCUMENTS[*index]).collect();
            parts.extend(broken.map(|index| BROKEN[index]));
            let text = parts.join("\n---\n");
            files.files.insert(path(file), FileText::Bytes(text.into_bytes().into()));
        }
        Edit::Remove { file } => drop(files.files.remove(&path(file))),
        Edit::Unreadable { file } => {
            files.files.insert(path(file), FileText::Unreadable("no".to_owned()));
        }
    }
}

#[derive(Default)]
struct Catalog(BTreeMap<ObjectRef, MeshObject>);

impl Catalog {
    fn take(&mut self, events: Vec<SourceEvent>) {
        for event in events {
            match event {
                SourceEvent::Reset => self.0.clear(),
                SourceEvent::Apply(object) => drop(self.0.insert(object.object_ref(), *object)),
                SourceEvent::Delete(name) => {
                    assert!(self.0.remove(&name).is_some(), "{name} was deleted without having been told");
                }
                _ => {}
            }
        }
    }
}

fn objects(manifests: &Manifests) -> BTreeMap<ObjectRef, MeshObject> {
    let mut catalog = Catalog::default();
    catalog.take(manifests.events());
    catalog.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn events_one_by_one_say_what_reading_everything_says(edits in prop::collection::vec(edit(), 1..12)) {
        let mut files = FileSet { is_root_readable: true, ..FileSet::default() };
        let mut store = ManifestStore::default();
        let mut before = store.update(&files);
        let mut catalog = Catalog::default();
        catalog.take(before.events());
        for edit in &edits {
            apply(&mut files, edit);
            let now = store.update(&files);
            catalog.take(now.events_since(&before));
            prop_assert_eq!(&catalog.0, &objects(&now));
            before = now;
        }
        // Once every file is clean, nothing of the past is left.
        for file in 0..3 {
            let edit = match edits.iter().rev().find(|edit| matches!(edit, Edit::Write { file: of, .. } if *of == file)) {
                Some(Edit::Write { documents, .. }) => Edit::Write { file, documents: documents.clone(), broken: None },
                _ => Edit::Remove { file },
            };
            apply(&mut files, &edit);
        }
        let now = store.update(&files);
        catalog.take(now.events_since(&before));
        let anew = ManifestStore::default().update(&files);
        prop_assert_eq!(&*now, &*anew);
        prop_assert_eq!(&catalog.0, &objects(&anew));
    }
}
