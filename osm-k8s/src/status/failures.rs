//! Statuses that could not be written: each is left alone for a while, so that those that
//! never can be don't take the place of others. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use osm_core::name::ObjectRef;
use tokio::time::Instant;

use crate::manifest::ManifestKind;
use crate::source::cluster::PolicyObjects;

/// How long a status is left alone that could not be written.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(60);
/// After how long the watch has told of an object that is gone.
const TOLD: Duration = Duration::from_secs(15);

/// The statuses that could not be written.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_name: BTreeMap<ObjectRef, Failure>,
    /// The kinds of which it was said that they have no status.
    told: BTreeSet<ManifestKind>,
}

#[derive(Debug)]
struct Failure {
    /// Which object of that name it was.
    uid: String,
    at: Instant,
    /// Whether the server said that there is none.
    is_missing: bool,
}

impl Failures {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether an object is to be left alone.
    pub(super) fn has(&self, name: &ObjectRef) -> bool {
        self.by_name.contains_key(name)
    }

    /// Takes in that the status of an object could not be written.
    pub(super) fn on_failed(&mut self, name: ObjectRef, uid: &str, is_missing: bool, now: Instant) {
        self.by_name.insert(name, Failure { uid: uid.to_owned(), at: now, is_missing });
    }

    /// Takes in that the status of an object of this kind was written.
    pub(super) fn on_written(&mut self, kind: ManifestKind) {
        self.told.remove(&kind);
    }

    /// Forgets what is long ago, or about objects that are gone. Gives the kinds, each once,
    /// of which the server knows objects and no status.
    pub(super) fn look(&mut self, objects: &PolicyObjects, now: Instant) -> Vec<ManifestKind> {
        let mut without_status = Vec::new();
        self.by_name.retain(|name, failure| {
            let Some(object) = objects.get(name).filter(|object| object.uid == failure.uid) else {
                return false;
            };
            let age = now.duration_since(failure.at);
            if failure.is_missing && age >= TOLD && self.told.insert(object.kind) {
                without_status.push(object.kind);
            }
            age < LEFT_ALONE
        });
        without_status
    }
}
