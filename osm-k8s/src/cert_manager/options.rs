//! The settings of the issuer.

use std::fmt;
use std::time::Duration;

use osm_certs::certificate::TrustBundle;
use osm_core::name::NamespaceName;

/// The group of cert-manager's own issuers.
pub(super) const GROUP: &str = "cert-manager.io";

/// The settings of a [`CertManagerIssuer`](super::CertManagerIssuer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertManagerOptions {
    /// Where requests are made: the mesh's own namespace. An `Issuer` has to be there as well.
    pub namespace: NamespaceName,
    /// The mesh, by whose name its requests are known.
    pub mesh_name: String,
    /// Who signs.
    pub issuer: IssuerRef,
    /// The roots that certificates have to lead to. `None`: those that the issuer names beside its
    /// certificates (`status.ca`); where it names none, or an intermediate, they have to be given.
    ///
    /// Give them as well where the issuer's authority is to be replaced: the old and the new one together, before that.
    pub roots: Option<TrustBundle>,
    /// How long one request may take: 25 s, a little less than the manager waits, so that it hears what is amiss.
    pub patience: Duration,
    /// How many requests there are at a time: 100. Others wait.
    pub at_once: usize,
}

impl CertManagerOptions {
    /// Requests to an issuer in a namespace, for a mesh.
    #[must_use]
    pub fn new(namespace: NamespaceName, mesh_name: &str, issuer: IssuerRef) -> Self {
        let (patience, at_once) = (Duration::from_secs(25), 100);
        Self { namespace, mesh_name: mesh_name.to_owned(), issuer, roots: None, patience, at_once }
    }

    /// With roots that are known beforehand.
    #[must_use]
    pub fn with_roots(mut self, roots: TrustBundle) -> Self {
        self.roots = Some(roots);
        self
    }
}

/// An issuer, as requests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The group of its kind.
    pub group: String,
}

impl IssuerRef {
    /// An `Issuer` of cert-manager, in the namespace of the requests.
    #[must_use]
    pub fn issuer(name: &str) -> Self {
        Self::external(name, "Issuer", GROUP)
    }

    /// A `ClusterIssuer` of cert-manager.
    #[must_use]
    pub fn cluster_issuer(name: &str) -> Self {
        Self::external(name, "ClusterIssuer", GROUP)
    }

    /// An issuer of any kind: one that a controller of somebody else answers for.
    #[must_use]
    pub fn external(name: &str, kind: &str, group: &str) -> Self {
        Self { name: name.to_owned(), kind: kind.to_owned(), group: group.to_owned() }
    }
}

impl fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, group } = self;
        if group == GROUP { write!(f, "{kind} {name}") } else { write!(f, "{kind}.{group} {name}") }
    }
}
