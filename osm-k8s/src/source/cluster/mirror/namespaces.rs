//! Which namespaces are the mesh's, and those that came to it and are being listed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use osm_core::name::NamespaceName;

use crate::manifest::ManifestRef;

/// Which listing of a namespace it is: one that came and went and came again is listed
/// twice, and only the last one knows what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::cluster) struct LoadNumber(pub(super) u64);

/// A namespace that is being listed.
#[derive(Debug)]
struct Loading {
    number: LoadNumber,
    /// What was deleted in it meanwhile.
    deleted: BTreeSet<ManifestRef>,
}

/// The namespaces of the mesh.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// `None` until they are listed.
    ours: Option<BTreeSet<NamespaceName>>,
    loading: BTreeMap<NamespaceName, Loading>,
    to_load: Vec<(NamespaceName, LoadNumber)>,
    loads: u64,
}

impl Namespaces {
    /// Whether what is in a namespace may be the mesh's business: of all it may, until
    /// it is known which are the mesh's.
    pub(super) fn may_have(&self, namespace: Option<&NamespaceName>) -> bool {
        let Some(ours) = &self.ours else { return true };
        namespace.is_some_and(|namespace| ours.contains(namespace))
    }

    /// Whether any is being listed.
    pub(super) fn is_loading(&self) -> bool {
        !self.loading.is_empty()
    }

    /// Takes in which namespaces are the mesh's. Returns whether they are others than
    /// before.
    pub(super) fn become_these(&mut self, now: BTreeSet<NamespaceName>) -> bool {
        if self.ours.as_ref() == Some(&now) {
            return false;
        }
        let before = self.ours.take();
        // What came before the namespaces were known is all there.
        for namespace in before.iter().flat_map(|before| now.difference(before)) {
            self.loads += 1;
            let number = LoadNumber(self.loads);
            self.loading.insert(namespace.clone(), Loading { number, deleted: BTreeSet::new() });
            self.to_load.push((namespace.clone(), number));
        }
        self.loading.retain(|namespace, _| now.contains(namespace));
        self.ours = Some(now);
        true
    }

    /// The newest listing that is waited for.
    #[cfg(test)]
    pub(super) fn newest_load(&self) -> Option<LoadNumber> {
        self.loading.values().map(|loading| loading.number).max_by_key(|number| number.0)
    }

    /// Those that came and whose objects have to be listed.
    pub(super) fn take_to_load(&mut self) -> Vec<(NamespaceName, LoadNumber)> {
        std::mem::take(&mut self.to_load)
    }

    /// Notes that an object is there, for the list that is on its way.
    pub(super) fn on_put(&mut self, object: &ManifestRef) {
        if let Some(loading) = self.loading_of(object) {
            loading.deleted.remove(object);
        }
    }

    /// Notes that an object is gone, which a list that is on its way may not know.
    pub(super) fn on_removed(&mut self, object: &ManifestRef) {
        if let Some(loading) = self.loading_of(object) {
            loading.deleted.insert(object.clone());
        }
    }

    /// Ends a listing, and gives what was deleted meanwhile; `None` if it is not the
    /// one that is waited for.
    pub(super) fn finish(
        &mut self,
        namespace: &NamespaceName,
        number: LoadNumber,
    ) -> Option<BTreeSet<ManifestRef>> {
        if self.loading.get(namespace)?.number != number {
            return None;
        }
        Some(self.loading.remove(namespace)?.deleted)
    }

    fn loading_of(&mut self, object: &ManifestRef) -> Option<&mut Loading> {
        self.loading.get_mut(object.namespace.as_ref()?)
    }
}
