//! Whom a client may reach.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use crate::identity::ServiceIdentity;
use crate::model::Protocol;
use crate::name::ServiceName;
use crate::snapshot::{Grant, LinkedPort, LinkedService, MeshSnapshot};

/// Whom a client may reach, and what it may use there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every identity of the mesh: permissive mode.
    Everyone,
    /// These identities; may be none.
    These(BTreeMap<ServiceIdentity, Grant>),
}

impl Reach {
    /// What of a service may be used.
    #[must_use]
    pub fn within(&self, service: &LinkedService) -> Allowed {
        match self {
            Self::Everyone => Allowed::All,
            Self::These(reached) => {
                let usable = |identity: &ServiceIdentity| {
                    Some((identity.clone(), reached.get(identity)?.within(service, identity)?))
                };
                Allowed::These(service.identities.iter().filter_map(usable).collect())
            }
        }
    }
}

/// What of a service may be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allowed {
    /// All of it.
    All,
    /// This, of the identities behind it; may be nothing, when only backends of
    /// its splits may be reached.
    These(BTreeMap<ServiceIdentity, Grant>),
}

impl Allowed {
    /// Whether a port of the workloads of an identity may be used, by what is
    /// spoken there.
    #[must_use]
    pub fn opens(&self, identity: &ServiceIdentity, protocol: Protocol, target_port: NonZeroU16) -> bool {
        match self {
            Self::All => true,
            Self::These(grants) => {
                grants.get(identity).is_some_and(|grant| grant.opens(protocol, target_port))
            }
        }
    }

    /// The identities behind a port of the service that may be reached there.
    #[must_use]
    pub fn servers(&self, service: &LinkedService, port: &LinkedPort) -> BTreeSet<ServiceIdentity> {
        match self {
            Self::All => service.identities.clone(),
            Self::These(_) => {
                let open =
                    port.targets.iter().filter(|(who, target)| self.opens(who, port.protocol, *target));
                open.map(|(who, _)| who.clone()).collect()
            }
        }
    }
}

/// Decides whom a client may reach.
#[must_use]
pub fn reach(snapshot: &MeshSnapshot, client: &ServiceIdentity) -> Reach {
    if snapshot.config().permissive {
        Reach::Everyone
    } else {
        Reach::These(snapshot.reach_of(client).map(|(who, grant)| (who.clone(), grant.clone())).collect())
    }
}

/// The services that a client of this reach may be able to dial: those behind which
/// a reached identity serves, and roots whose split leads to one of those. Which
/// of their ports, and whether any, is for [`outbound_key`](super::outbound_key) to say.
#[must_use]
pub fn reachable_services(snapshot: &MeshSnapshot, reach: &Reach) -> BTreeSet<ServiceName> {
    match reach {
        Reach::Everyone => snapshot.services().map(|service| service.name.clone()).collect(),
        Reach::These(reached) => {
            let direct: BTreeSet<ServiceName> =
                reached.keys().flat_map(|identity| snapshot.served_by(identity)).cloned().collect();
            let roots: Vec<ServiceName> =
                direct.iter().flat_map(|backend| snapshot.roots_of(backend)).cloned().collect();
            let known = roots.into_iter().filter(|root| snapshot.service(root).is_some());
            let mut all = direct.clone();
            all.extend(known);
            all
        }
    }
}
