//! Whom a client may reach.

use std::collections::BTreeSet;

use crate::identity::ServiceIdentity;
use crate::name::ServiceName;
use crate::snapshot::{LinkedService, MeshSnapshot};

/// Whom a client may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every identity of the mesh: permissive mode.
    Everyone,
    /// These identities; may be none.
    These(BTreeSet<ServiceIdentity>),
}

impl Reach {
    /// The identities behind a service that may be reached.
    #[must_use]
    pub fn within(&self, service: &LinkedService) -> BTreeSet<ServiceIdentity> {
        match self {
            Self::Everyone => service.identities.clone(),
            Self::These(reached) => service.identities.intersection(reached).cloned().collect(),
        }
    }

    /// Whether any identity behind a service may be reached.
    #[must_use]
    pub fn meets(&self, service: &LinkedService) -> bool {
        match self {
            Self::Everyone => true,
            Self::These(reached) => service.identities.iter().any(|identity| reached.contains(identity)),
        }
    }
}

/// Decides whom a client may reach.
#[must_use]
pub fn reach(snapshot: &MeshSnapshot, client: &ServiceIdentity) -> Reach {
    if snapshot.config().permissive {
        Reach::Everyone
    } else {
        Reach::These(snapshot.reach_of(client).cloned().collect())
    }
}

/// The services that a client of this reach may dial: those behind which a
/// reached identity serves, and roots whose split leads to one of those.
#[must_use]
pub fn reachable_services(snapshot: &MeshSnapshot, reach: &Reach) -> BTreeSet<ServiceName> {
    match reach {
        Reach::Everyone => snapshot.services().map(|service| service.name.clone()).collect(),
        Reach::These(reached) => {
            let direct: BTreeSet<ServiceName> =
                reached.iter().flat_map(|identity| snapshot.served_by(identity)).cloned().collect();
            let roots: Vec<ServiceName> =
                direct.iter().flat_map(|backend| snapshot.roots_of(backend)).cloned().collect();
            let known = roots.into_iter().filter(|root| snapshot.service(root).is_some());
            let mut all = direct.clone();
            all.extend(known);
            all
        }
    }
}
