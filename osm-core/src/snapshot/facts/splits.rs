//! The facts about splits, and what touches them.

use std::sync::Arc;

use super::Facts;
use crate::model::TrafficSplit;
use crate::name::{QualifiedName, ServiceName};
use crate::snapshot::dirty::Dirty;
use crate::snapshot::in_namespace;

impl Facts {
    /// The root services whose splits mention this backend.
    pub(crate) fn roots_of(&self, backend: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.roots_by_backend.get(backend)
    }

    pub(super) fn set_split(&mut self, name: &QualifiedName, split: Option<TrafficSplit>, dirty: &mut Dirty) {
        let old = self.splits.get(name).cloned();
        if old.as_deref() == split.as_ref() {
            return;
        }
        if let Some(old) = old {
            self.splits_by_root.remove(&old.service, name);
            self.splits.remove(name);
            for group in old.matches.iter().flatten() {
                self.splits_by_group.remove(&in_namespace(&name.namespace, group), name);
            }
            dirty.split_roots.insert(old.service.clone());
            let others: Vec<_> = self
                .splits_by_root
                .get(&old.service)
                .filter_map(|other| self.splits.get(other))
                .cloned()
                .collect();
            for backend in &old.backends {
                let kept =
                    others.iter().any(|other| other.backends.iter().any(|b| b.service == backend.service));
                if !kept {
                    self.roots_by_backend.remove(&backend.service, &old.service);
                }
            }
        }
        if let Some(split) = split {
            self.splits_by_root.insert(split.service.clone(), name.clone());
            dirty.split_roots.insert(split.service.clone());
            for backend in &split.backends {
                self.roots_by_backend.insert(backend.service.clone(), split.service.clone());
            }
            for group in split.matches.iter().flatten() {
                self.splits_by_group.insert(in_namespace(&name.namespace, group), name.clone());
            }
            self.splits.insert(name.clone(), Arc::new(split));
        }
    }

    /// A service that is a root or a backend has changed.
    pub(super) fn touch_split_of(&self, service: &ServiceName, dirty: &mut Dirty) {
        if self.splits_by_root.contains(service) {
            dirty.split_roots.insert(service.clone());
        }
        dirty.split_roots.extend(self.roots_by_backend.get(service).cloned());
    }

    /// An HTTPRouteGroup that says which requests are divided has changed.
    pub(super) fn touch_splits_by(&self, group: &QualifiedName, dirty: &mut Dirty) {
        let splits = self.splits_by_group.get(group).filter_map(|name| self.splits.get(name));
        dirty.split_roots.extend(splits.map(|split| split.service.clone()));
    }
}
