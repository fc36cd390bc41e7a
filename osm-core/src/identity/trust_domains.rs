//! The trust domains of a mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Principal, ServiceIdentity, TrustDomain};
use crate::name::ObjectName;

/// The trust domains of a mesh: that of its identities, and those in which it takes identities for the same. There are
/// several while the root of a mesh is exchanged for one of another trust domain, so that those who have the new name
/// and those who have the old one know each other.
///
/// ```
/// use osm_core::identity::TrustDomains;
///
/// let domains = TrustDomains::new("old.example".parse()?, [("next".parse()?, "new.example".parse()?)]);
/// let both = domains.principals([&"shop/till".parse()?]);
/// let both: Vec<String> = both.iter().map(ToString::to_string).collect();
/// assert_eq!(both, ["spiffe://new.example/till/shop", "spiffe://old.example/till/shop"]);
/// # Ok::<(), osm_core::name::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomains {
    own: TrustDomain,
    of_roots: BTreeMap<ObjectName, TrustDomain>,
    accepted: BTreeSet<TrustDomain>,
    demanded: BTreeSet<TrustDomain>,
}

impl TrustDomains {
    /// The trust domain of the mesh's identities, and those of the roots that it trusts.
    #[must_use]
    pub fn new(own: TrustDomain, of_roots: impl IntoIterator<Item = (ObjectName, TrustDomain)>) -> Self {
        let of_roots: BTreeMap<_, _> = of_roots.into_iter().collect();
        let accepted: BTreeSet<_> = of_roots.values().chain([&own]).cloned().collect();
        Self { own, of_roots, demanded: accepted.clone(), accepted }
    }

    /// The same, where nobody has a name under these roots any more. Connections that were made with one may still be open:
    /// servers take them on, and clients, which demand other names of servers from now on, make others.
    #[must_use]
    pub fn leaving(self, roots: &BTreeSet<ObjectName>) -> Self {
        let stays = |(root, _): &(&ObjectName, &TrustDomain)| !roots.contains(*root);
        let staying = self.of_roots.iter().filter(stays).map(|(_, domain)| domain);
        Self { demanded: staying.chain([&self.own]).cloned().collect(), ..self }
    }

    /// That of the mesh's identities.
    #[must_use]
    pub fn own(&self) -> &TrustDomain {
        &self.own
    }

    /// That of the identities under a root, where it is trusted and that is known.
    #[must_use]
    pub fn of_root(&self, root: &ObjectName) -> Option<&TrustDomain> {
        self.of_roots.get(root)
    }

    /// All in which identities are the mesh's.
    #[must_use]
    pub fn accepted(&self) -> &BTreeSet<TrustDomain> {
        &self.accepted
    }

    /// Those in which clients demand the names of servers.
    #[must_use]
    pub fn demanded(&self) -> &BTreeSet<TrustDomain> {
        &self.demanded
    }

    /// All of them, the own one first.
    pub fn iter(&self) -> impl Iterator<Item = &TrustDomain> {
        std::iter::once(&self.own).chain(self.accepted.iter().filter(|domain| **domain != self.own))
    }

    /// Whether everybody is known by the same names, whichever roots there are.
    #[must_use]
    pub fn name_alike(&self, other: &Self) -> bool {
        let Self { own, accepted, demanded, of_roots: _ } = self;
        (own, accepted, demanded) == (&other.own, &other.accepted, &other.demanded)
    }

    /// What the mesh calls an identity.
    #[must_use]
    pub fn principal(&self, identity: &ServiceIdentity) -> Principal {
        identity.principal(&self.own)
    }

    /// The names that clients demand of servers that have one of these identities.
    #[must_use]
    pub fn demanded_principals<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a ServiceIdentity>,
    ) -> BTreeSet<Principal> {
        names(identities, &self.demanded)
    }

    /// All names of these identities.
    #[must_use]
    pub fn principals<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a ServiceIdentity>,
    ) -> BTreeSet<Principal> {
        names(identities, &self.accepted)
    }
}

/// The names of identities in each of these trust domains.
fn names<'a>(
    identities: impl IntoIterator<Item = &'a ServiceIdentity>,
    domains: &BTreeSet<TrustDomain>,
) -> BTreeSet<Principal> {
    let of = |identity: &'a ServiceIdentity| domains.iter().map(|domain| identity.principal(domain));
    identities.into_iter().flat_map(of).collect()
}

impl From<TrustDomain> for TrustDomains {
    /// Only that one.
    fn from(own: TrustDomain) -> Self {
        Self::new(own, [])
    }
}

impl fmt::Display for TrustDomains {
    /// Writes the own one first: `new.example, old.example`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.own)?;
        self.iter().skip(1).try_for_each(|domain| write!(f, ", {domain}"))
    }
}
