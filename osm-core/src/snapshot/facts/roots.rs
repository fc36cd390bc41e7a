//! Roots of certificates, which nothing else refers to.

use std::sync::Arc;

use super::Facts;
use crate::model::RootCertificate;
use crate::name::QualifiedName;
use crate::snapshot::dirty::Dirty;

impl Facts {
    /// Puts in a root, replaces it or takes it out.
    pub(super) fn set_root(
        &mut self,
        name: &QualifiedName,
        root: Option<RootCertificate>,
        dirty: &mut Dirty,
    ) {
        if self.roots.get(name).map(|old| &**old) == root.as_ref() {
            return;
        }
        dirty.roots.insert(name.clone());
        self.roots.remove(name);
        self.roots.extend(root.map(|root| (name.clone(), Arc::new(root))));
    }
}
