//! What people want of the roots of a mesh.

use std::collections::{BTreeMap, BTreeSet};

use osm_core::identity::TrustDomain;
use osm_core::model::MAX_ROOTS_IN_USE;
use osm_core::name::ObjectName;
use thiserror::Error;

/// What a root is for, as its MeshRootCertificate says.
pub use osm_core::model::RootRole as Role;

/// The roots that are in use by the wish of people: at most two, one of which is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    active: ObjectName,
    other: Option<(ObjectName, Role)>,
    /// The trust domains of identities under roots.
    domains: BTreeMap<ObjectName, TrustDomain>,
    /// A number that another wish does not have, so that one that was given up is known again.
    revision: u64,
    is_paused: bool,
}

/// Roots and roles that make no sense together. The stage in force stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidWish {
    /// Nothing would sign.
    #[error("no root is active: set `role: active` in one MeshRootCertificate")]
    NoneActive,
    /// A mesh changes from one root to one other.
    #[error("{} roots are in use, and two are the most: set `role: inactive` in all but two of {}", .0.len(), list(.0))]
    TooMany(Vec<ObjectName>),
}

fn list(names: &[ObjectName]) -> String {
    names.iter().map(ObjectName::as_str).collect::<Vec<_>>().join(", ")
}

impl Wish {
    /// What these roles ask for.
    ///
    /// # Errors
    /// When no root is active, or more than two are in use.
    pub fn new(
        roles: impl IntoIterator<Item = (ObjectName, Role)>,
        revision: u64,
    ) -> Result<Self, InvalidWish> {
        let roles: BTreeMap<_, _> = roles.into_iter().filter(|(_, role)| *role != Role::Inactive).collect();
        if roles.len() > MAX_ROOTS_IN_USE {
            return Err(InvalidWish::TooMany(roles.into_keys().collect()));
        }
        let mut roles: Vec<_> = roles.into_iter().collect();
        roles.sort_by_key(|(_, role)| *role);
        let mut roles = roles.into_iter();
        match roles.next() {
            Some((active, Role::Active)) => {
                Ok(Self { active, other: roles.next(), domains: BTreeMap::new(), revision, is_paused: false })
            }
            _ => Err(InvalidWish::NoneActive),
        }
    }

    /// The same, and no step is taken until there is another wish.
    #[must_use]
    pub fn paused(self) -> Self {
        Self { is_paused: true, ..self }
    }

    /// The same, where identities under these roots are in these trust domains. A root of which none is known is taken to be in
    /// that of the mesh, and one that is trusted by now stays in the one that it had when it came.
    #[must_use]
    pub fn with_domains(self, domains: BTreeMap<ObjectName, TrustDomain>) -> Self {
        Self { domains, ..self }
    }

    pub(super) fn domain(&self, root: &ObjectName) -> Option<&TrustDomain> {
        self.domains.get(root)
    }

    /// Whether no step is to be taken.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The number that tells this wish from others.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The roots that are in use.
    #[must_use]
    pub fn roots(&self) -> BTreeSet<ObjectName> {
        self.trusted().cloned().collect()
    }

    /// The root that is to sign. Where two may, it is the one that does.
    pub(super) fn target(&self, signs: &ObjectName) -> &ObjectName {
        match &self.other {
            Some((other, Role::Active)) if other == signs => other,
            _ => &self.active,
        }
    }

    /// The roots that are to be trusted, whatever signs.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &ObjectName> {
        std::iter::once(&self.active).chain(self.other.as_ref().map(|(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(roles: &[(&str, Role)]) -> Result<Wish, InvalidWish> {
        Wish::new(roles.iter().map(|(name, role)| (name.parse().expect("a name"), *role)), 1)
    }

    #[test]
    fn one_active_root_signs_and_another_one_is_trusted() {
        use Role::{Active, Inactive, Passive};
        let (a, b): (ObjectName, ObjectName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let alone = wish(&[("a", Active), ("z", Inactive)]).unwrap();
        assert_eq!((alone.target(&b), alone.trusted().count()), (&a, 1));
        let next = wish(&[("a", Passive), ("b", Active)]).unwrap();
        assert_eq!((next.target(&a), next.trusted().count()), (&b, 2));
        // Where both may sign, the one that does goes on.
        let both = wish(&[("a", Active), ("b", Active)]).unwrap();
        assert_eq!((both.target(&a), both.target(&b)), (&a, &b));
    }

    #[test]
    fn roles_that_make_no_sense_are_refused_with_what_to_do() {
        use Role::{Active, Passive};
        assert_eq!(wish(&[("a", Passive)]), Err(InvalidWish::NoneActive));
        assert_eq!(wish(&[]), Err(InvalidWish::NoneActive));
        let many = wish(&[("a", Active), ("b", Passive), ("c", Passive)]).unwrap_err();
        assert!(many.to_string().contains("inactive` in all but two of a, b, c"), "{many}");
    }
}
