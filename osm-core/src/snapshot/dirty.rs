//! What has to be linked anew.

use std::collections::BTreeSet;

use crate::name::{NamespaceName, QualifiedName, ServiceName};

/// What has to be linked anew.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) config: bool,
    pub(crate) roots: BTreeSet<QualifiedName>,
    pub(crate) namespaces: BTreeSet<NamespaceName>,
    pub(crate) services: BTreeSet<ServiceName>,
    pub(crate) workloads: BTreeSet<QualifiedName>,
    pub(crate) targets: BTreeSet<QualifiedName>,
    pub(crate) split_roots: BTreeSet<ServiceName>,
}

impl Dirty {
    /// Whether there is nothing to link.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { config, roots, namespaces, services, workloads, targets, split_roots } = self;
        !config
            && roots.is_empty()
            && namespaces.is_empty()
            && services.is_empty()
            && workloads.is_empty()
            && targets.is_empty()
            && split_roots.is_empty()
    }
}
