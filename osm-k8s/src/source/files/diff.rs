//! From one state of the manifests to the next, as events.

use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::source::SourceEvent;

use super::{Entry, Manifests};
use crate::manifest::ManifestRef;

/// Everything, from `Reset` to `Ready`.
pub(super) fn all(manifests: &Manifests) -> Vec<SourceEvent> {
    let objects = manifests.entries.values().flat_map(|entry| &entry.facts.objects);
    let mut events = vec![SourceEvent::Reset];
    events.extend(objects.map(|object| SourceEvent::Apply(Box::new(object.clone()))));
    events.push(SourceEvent::Diagnostics(manifests.all_diagnostics()));
    if manifests.is_complete {
        events.push(SourceEvent::Ready);
    }
    events
}

/// What changed: objects that are new or different, objects that are gone, and
/// the findings if they are others than before.
pub(super) fn between(before: &Manifests, now: &Manifests) -> Vec<SourceEvent> {
    let mut events = Vec::new();
    for (name, entry) in &now.entries {
        let old = before.entries.get(name);
        if old.is_some_and(|old| Arc::ptr_eq(old, entry)) {
            continue;
        }
        let known = old.map_or(&[][..], |old| &old.facts.objects);
        let changed = entry.facts.objects.iter().filter(|object| !known.contains(object));
        events.extend(changed.map(|object| SourceEvent::Apply(Box::new(object.clone()))));
        events.extend(known.iter().filter(|object| !states(entry, object)).map(delete));
    }
    let gone = before.entries.iter().filter(|(name, _)| !now.entries.contains_key::<ManifestRef>(name));
    events.extend(gone.flat_map(|(_, entry)| &entry.facts.objects).map(delete));
    let diagnostics = now.all_diagnostics();
    if diagnostics != before.all_diagnostics() {
        events.push(SourceEvent::Diagnostics(diagnostics));
    }
    events
}

/// Whether an entry says something about the object that `object` is about.
fn states(entry: &Entry, object: &MeshObject) -> bool {
    let name = object.object_ref();
    entry.facts.objects.iter().any(|other| other.object_ref() == name)
}

fn delete(object: &MeshObject) -> SourceEvent {
    SourceEvent::Delete(object.object_ref())
}
