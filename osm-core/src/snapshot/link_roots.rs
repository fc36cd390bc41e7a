//! The roots of certificates that count: those beside the MeshConfig.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::builder::SnapshotBuilder;
use super::change::ChangeSet;
use super::update::{finding_of, set_findings};
use super::{MeshSnapshot, RootCertificates};
use crate::diagnostic::{Diagnostic, Severity};
use crate::identity::TrustDomains;
use crate::model::{MAX_ROOTS_IN_USE, RootCertificate, RootRole};
use crate::name::{Kind, ObjectName, ObjectRef, QualifiedName};

impl SnapshotBuilder {
    /// The same builder for a mesh that has had these trust domains before it is known.
    #[must_use]
    pub fn named(mut self, trust_domains: TrustDomains) -> Self {
        let trust_domains = Arc::new(trust_domains);
        self.current = Arc::new(MeshSnapshot { trust_domains, ..MeshSnapshot::clone(&self.current) });
        self
    }

    /// Takes in which trust domains the mesh has from now on.
    pub fn set_trust_domains(&mut self, trust_domains: impl Into<Arc<TrustDomains>>) {
        let told = trust_domains.into();
        self.trust_domains = (told != self.current.trust_domains).then_some(told);
    }

    /// Takes over the roots that were told since. A root elsewhere has no effect, and that is said of it.
    pub(super) fn link_roots(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        let namespace = next.options.mesh_config.namespace.clone();
        let mut counting: Option<RootCertificates> = None;
        for name in std::mem::take(&mut self.dirty.roots) {
            let known = self.facts.roots.get(&name);
            if name.namespace == namespace {
                let roots = counting.get_or_insert_with(|| BTreeMap::clone(&next.root_certificates));
                match known {
                    Some(root) => roots.insert(name.name.clone(), Arc::clone(root)),
                    None => roots.remove(&name.name),
                };
                continue;
            }
            let message =
                || format!("it has no effect; the roots of this mesh are in namespace `{namespace}`");
            let found = known.map(|root| {
                finding_of(Kind::MeshRootCertificate, &name, Severity::Info, "other-mesh-root", message())
                    .located(root.meta.location.clone())
            });
            set_findings(&mut next.diagnostics, object(&name), found.into_iter().collect(), change);
        }
        let before = Arc::clone(&next.root_certificates);
        if let Some(roots) = counting.filter(|roots| *roots != *before) {
            next.root_certificates = Arc::new(roots);
            change.roots = true;
        }
        let told = self.trust_domains.take();
        if !change.roots && told.is_none() {
            return;
        }
        if let Some(trust_domains) = told {
            change.settings |= !trust_domains.name_alike(&next.trust_domains);
            next.trust_domains = trust_domains;
        }
        let roots = Arc::clone(&next.root_certificates);
        let said = said_of_roles(&roots);
        for name in before.keys().chain(roots.keys()) {
            let of_role = said.as_ref().and_then(|said| said.of(roots.get(name)?));
            let of_domain = roots.get(name).and_then(|root| said_of_domain(root, &next.trust_domains));
            let found = of_role.into_iter().chain(of_domain);
            let name = QualifiedName::new(namespace.clone(), name.clone());
            set_findings(&mut next.diagnostics, object(&name), found.collect(), change);
        }
    }
}

/// Something that is so of several roots together.
struct Said<'a> {
    severity: Severity,
    code: &'static str,
    message: String,
    /// The roots that it is said of.
    names: Vec<&'a ObjectName>,
}

impl Said<'_> {
    fn of(&self, root: &RootCertificate) -> Option<Diagnostic> {
        self.names.contains(&&root.name.name).then(|| {
            let Self { severity, code, message, names: _ } = self;
            let finding = finding_of(Kind::MeshRootCertificate, &root.name, *severity, code, message.clone());
            finding.at("spec.role").located(root.meta.location.clone())
        })
    }
}

/// What roles make no sense together. Then roots stay as they are.
fn said_of_roles(roots: &RootCertificates) -> Option<Said<'_>> {
    let named = |is_meant: &dyn Fn(RootRole) -> bool| -> Vec<&ObjectName> {
        roots.iter().filter(|(_, root)| is_meant(root.role)).map(|(name, _)| name).collect()
    };
    let (used, active) = (named(&|role| role != RootRole::Inactive), named(&|role| role == RootRole::Active));
    let list = |names: &[&ObjectName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let (severity, code, message, names) = if used.len() > MAX_ROOTS_IN_USE {
        let message = format!(
            "{} roots are in use, {}, and two are the most: roots stay as they are; make all but two inactive",
            used.len(),
            list(&used)
        );
        (Severity::Error, "too-many-roots", message, used)
    } else if active.is_empty() && !roots.is_empty() {
        let message = "no root is active, and none would sign: roots stay as they are; make one active";
        (Severity::Error, "no-active-root", message.to_owned(), roots.keys().collect())
    } else if active.len() > 1 {
        let message = format!(
            "{} are both active: the one that signs goes on; make it passive to have the other one sign",
            list(&active)
        );
        (Severity::Info, "two-active-roots", message, active)
    } else {
        return None;
    };
    Some(Said { severity, code, message, names })
}

/// Whether a root is in use for the identities of another trust domain than it says.
fn said_of_domain(root: &RootCertificate, domains: &TrustDomains) -> Option<Diagnostic> {
    let domain = domains.of_root(&root.name.name).filter(|domain| **domain != root.trust_domain)?;
    (root.role != RootRole::Inactive).then(|| {
        let message = format!(
            "identities under this root are in the trust domain `{domain}` as long as it is in use: write that, and make another \
             MeshRootCertificate for `{}`",
            root.trust_domain
        );
        let severity = Severity::Warning;
        let finding = finding_of(Kind::MeshRootCertificate, &root.name, severity, "other-trust-domain", message);
        finding.at("spec.trustDomain").located(root.meta.location.clone())
    })
}

fn object(name: &QualifiedName) -> ObjectRef {
    ObjectRef::namespaced(Kind::MeshRootCertificate, name)
}
