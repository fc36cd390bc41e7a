//! From one state of the manifests to the next, as events.

use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::source::SourceEvent;

use super::{Entry, Manifests};

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
    let kept = now.entries.iter().map(|(name, entry)| (before.entries.get(name), Some(entry)));
    let gone = before.entries.iter().filter(|(name, _)| !now.entries.contains_key(*name));
    let mut events = of_entries(kept.chain(gone.map(|(_, entry)| (Some(entry), None))));
    let diagnostics = now.all_diagnostics();
    if diagnostics != before.all_diagnostics() {
        events.push(SourceEvent::Diagnostics(diagnostics));
    }
    events
}

/// What differs about objects, given each as it was and as it is.
pub(super) fn of_entries<'a>(
    entries: impl IntoIterator<Item = (Option<&'a Arc<Entry>>, Option<&'a Arc<Entry>>)>,
) -> Vec<SourceEvent> {
    let mut events = Vec::new();
    for (before, now) in entries {
        if before.zip(now).is_some_and(|(before, now)| Arc::ptr_eq(before, now)) {
            continue;
        }
        let known = before.map_or(&[][..], |entry| &entry.facts.objects);
        let stated = now.map_or(&[][..], |entry| &entry.facts.objects);
        let changed = stated.iter().filter(|object| !known.contains(object));
        events.extend(changed.map(|object| SourceEvent::Apply(Box::new(object.clone()))));
        events.extend(known.iter().filter(|object| !states(stated, object)).map(delete));
    }
    events
}

/// Whether one of these objects says something about what `object` is about.
fn states(stated: &[MeshObject], object: &MeshObject) -> bool {
    let name = object.object_ref();
    stated.iter().any(|other| other.object_ref() == name)
}

fn delete(object: &MeshObject) -> SourceEvent {
    SourceEvent::Delete(object.object_ref())
}
