//! How the part that takes another's place differs from it.
//!
//! Most viewpoints that a change concerns exchange the same part for the same
//! other one. What that changes is found out for the first of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::part::Part;
use super::work::Work;
use crate::resource::{Resource, ResourceKey};

/// Changes of a layer: each key gets its resource, or loses it.
type Changes = Vec<(ResourceKey, Option<Arc<Resource>>)>;

/// The differences that were found in one refresh.
#[derive(Debug, Default)]
pub(super) struct Differences {
    known: BTreeMap<(usize, usize), Known>,
}

/// A difference. While it points to the two parts that it is between, no other
/// part can have the address of one of them.
#[derive(Debug)]
struct Known {
    changes: Changes,
    _parts: [Weak<Part>; 2],
}

impl Differences {
    /// Adds what is to change in a layer where one part takes the place of another.
    pub(super) fn between(
        &mut self,
        before: Option<&Arc<Part>>,
        after: Option<&Arc<Part>>,
        into: &mut Changes,
        work: &mut Work,
    ) {
        match (before, after) {
            (None, None) => {}
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {}
            (Some(before), None) => into.extend(before.resources().map(|gone| (gone.key.clone(), None))),
            (None, Some(after)) => into.extend(after.resources().map(present)),
            (Some(before), Some(after)) => {
                let known = self.known.entry((address(before), address(after))).or_insert_with(|| {
                    work.compared += 1;
                    let parts = [Arc::downgrade(before), Arc::downgrade(after)];
                    Known { changes: compare(before, after), _parts: parts }
                });
                into.extend(known.changes.iter().cloned());
            }
        }
    }

    /// Forgets all, at the end of a refresh.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

fn address(part: &Arc<Part>) -> usize {
    Arc::as_ptr(part).addr()
}

fn present(resource: &Arc<Resource>) -> (ResourceKey, Option<Arc<Resource>>) {
    (resource.key.clone(), Some(Arc::clone(resource)))
}

fn compare(before: &Part, after: &Part) -> Changes {
    let mut changes: BTreeMap<&ResourceKey, Option<&Arc<Resource>>> =
        before.resources().map(|resource| (&resource.key, None)).collect();
    let kept: BTreeMap<&ResourceKey, &Arc<Resource>> =
        before.resources().map(|resource| (&resource.key, resource)).collect();
    for resource in after.resources() {
        if kept.get(&resource.key).is_some_and(|kept| kept.version == resource.version) {
            changes.remove(&resource.key);
        } else {
            changes.insert(&resource.key, Some(resource));
        }
    }
    changes.into_iter().map(|(key, resource)| (key.clone(), resource.map(Arc::clone))).collect()
}
