//! Roots of certificates that are to be made, changed or deleted: whether the mesh would come through. Pure.
//!
//! What is refused is what can't be meant or can't be undone: a name that becomes another root, a mesh in which nothing
//! signs, more than two roots in use, and the deletion of a root that somebody may still rely on. Everything else is a
//! wish, `inactive` of a root that signs as well: the mesh finds its way there step by step.

use osm_certs::rotation::{InvalidWish, Stage, Wish};
use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::model::{RootCertificate, RootRole};
use osm_core::name::{Kind, ObjectRef};

/// What is to become of one root, and what there is besides.
#[derive(Debug, Clone, Copy)]
pub struct RootChange<'a> {
    /// What its object says now; `None` if it is to be made.
    pub before: Option<&'a RootCertificate>,
    /// What it is to say; `None` if it is to be deleted.
    pub after: Option<&'a RootCertificate>,
    /// All other roots of the mesh.
    pub others: &'a [RootCertificate],
    /// The stage that the mesh is in, as statuses say; `None` where nobody has written one.
    pub stage: Option<&'a Stage>,
}

impl RootChange<'_> {
    /// What is to be said of it. With an error it is refused.
    #[must_use]
    pub fn findings(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        match (self.before, self.after) {
            (Some(before), Some(after)) => found.extend(unchanging(before, after)),
            (Some(before), None) => found.extend(self.in_use(before)),
            (None, _) => {}
        }
        found.extend(self.roles());
        found.extend(self.after.and_then(|after| self.second_active(after)));
        found.extend(self.after.filter(|_| self.before.is_none()).and_then(|after| self.shared(after)));
        found
    }

    /// A root that may be relied on is not deleted.
    fn in_use(&self, before: &RootCertificate) -> Option<Diagnostic> {
        let name = &before.name.name;
        let relied_on = self
            .stage
            .filter(|stage| stage.trusted.contains(name) || stage.issuing == *name || stage.serving == *name);
        let message = match (before.role, relied_on) {
            (RootRole::Inactive, None) => return None,
            (RootRole::Inactive, Some(_)) => {
                "the mesh still trusts the root; delete it when its state is `unused`".to_owned()
            }
            (role, _) => format!(
                "the root is {role}; set `role: inactive` first, and delete it when its state is `unused`"
            ),
        };
        Some(finding(Severity::Error, "root-in-use", before, "spec.role", message))
    }

    /// Roles that make no sense together are an error where they did, or where they make less sense than before. So
    /// the way out is always open, and so are objects that come one after the other.
    fn roles(&self) -> Option<Diagnostic> {
        let about = self.after.or(self.before)?;
        let invalid = |root: Option<&RootCertificate>| {
            let roles = self.others.iter().chain(root).map(|root| (root.name.name.clone(), root.role));
            Wish::new(roles, 0).err()
        };
        let after = invalid(self.after)?;
        let before = invalid(self.before);
        let (code, is_as_before) = match (&after, &before) {
            (InvalidWish::NoneActive, before) => {
                ("no-active-root", matches!(before, Some(InvalidWish::NoneActive)))
            }
            (InvalidWish::TooMany(now), Some(InvalidWish::TooMany(earlier))) => {
                ("too-many-roots", now.len() <= earlier.len())
            }
            (InvalidWish::TooMany(_), _) => ("too-many-roots", false),
        };
        let severity = if is_as_before { Severity::Warning } else { Severity::Error };
        Some(finding(severity, code, about, "spec.role", after.to_string()))
    }

    /// Two active roots are a wish that is easily taken for another one.
    fn second_active(&self, after: &RootCertificate) -> Option<Diagnostic> {
        let was = self.before.is_some_and(|before| before.role == RootRole::Active);
        let other = self.others.iter().find(|other| other.role == RootRole::Active)?;
        (after.role == RootRole::Active && !was).then(|| {
            let message = format!(
                "{other} is active too: the one of both that signs goes on. Set `role: passive` in {other} to have this one sign",
                other = other.name.name
            );
            finding(Severity::Warning, "two-active-roots", after, "spec.role", message)
        })
    }

    /// A root that another object has already is no other root.
    fn shared(&self, after: &RootCertificate) -> Option<Diagnostic> {
        let is_shared = |other: &&RootCertificate| {
            other.provider == after.provider && other.trust_domain == after.trust_domain
        };
        self.others.iter().find(is_shared).map(|other| {
            let message = format!(
                "{} has the same provider: unless what that signs by has been replaced, this is the same root",
                other.name.name
            );
            finding(Severity::Warning, "shared-provider", after, "spec.provider", message)
        })
    }
}

/// What would make a name another root.
fn unchanging(before: &RootCertificate, after: &RootCertificate) -> Vec<Diagnostic> {
    let RootCertificate {
        meta: _,
        name: _,
        role: _,
        trust_domain,
        spiffe,
        provider,
        is_paused: _,
        patience: _,
        ..
    } = before;
    let changed = [
        ("spec.provider", *provider != after.provider),
        ("spec.trustDomain", *trust_domain != after.trust_domain),
        ("spec.spiffeEnabled", *spiffe != after.spiffe),
    ];
    let changed = changed.into_iter().filter(|(_, is_changed)| *is_changed);
    let say = |(field, _)| {
        let message =
            "it never changes; make another MeshRootCertificate, and set this one's `role: inactive`";
        finding(Severity::Error, "root-changed", after, field, message.to_owned())
    };
    changed.map(say).collect()
}

fn finding(
    severity: Severity,
    code: &'static str,
    root: &RootCertificate,
    field: &str,
    message: String,
) -> Diagnostic {
    let object = ObjectRef::namespaced(Kind::MeshRootCertificate, &root.name);
    Diagnostic::new(severity, code, object, message).at(field)
}

#[cfg(test)]
mod tests;
