//! Where members of headless services are dialled, and whose each place is.
//!
//! Two headless services may have the same pods behind the same port, and so
//! would answer at one address. One of them has the place, for everybody: that
//! which gives the member its host name, then the first by name. Whoever dials
//! reaches the same pod and port either way.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use super::link_service::LinkedService;
use super::update::update_set;
use super::{MeshSnapshot, SocketAddress};
use crate::ir::ServicePortName;
use crate::name::ServiceName;

/// What a headless service has to do with a place; the least one has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// Whether it is dialled here by the number of its own port, which is not that
    /// of the workload.
    translated: bool,
    /// Whether the member has no host name under this service.
    anonymous: bool,
    /// The service and its port.
    pub(crate) port: ServicePortName,
}

/// Where each member of a headless service may be dialled for one of its ports:
/// at the port of the workload, as without a mesh, and where that is the same
/// number for all members (`only_target`), at the port of the service as well.
pub(crate) fn of_endpoint(
    name: &ServicePortName,
    only_target: Option<NonZeroU16>,
    endpoint: SocketAddress,
) -> impl Iterator<Item = SocketAddress> + use<> {
    let (address, target) = endpoint;
    let by_service = only_target.filter(|only| *only != name.port).map(|_| (address, name.port));
    [Some((address, target)), by_service].into_iter().flatten()
}

/// All claims of a service.
fn claims(service: Option<&LinkedService>) -> BTreeSet<(SocketAddress, Claim)> {
    let mut all = BTreeSet::new();
    let Some(service) = service.filter(|service| service.headless) else { return all };
    for (number, port) in &service.ports {
        let name = ServicePortName::new(service.name.clone(), *number);
        let only = port.only_target();
        for (endpoint, linked) in &port.members {
            for place in of_endpoint(&name, only, *endpoint) {
                let translated = place != *endpoint;
                let anonymous = linked.hostname.is_none();
                all.insert((place, Claim { translated, anonymous, port: name.clone() }));
            }
        }
    }
    all
}

/// Whom a change of claims concerns.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// The services that get or lose a place, and the one that claims others than before.
    pub(super) services: BTreeSet<ServiceName>,
    /// The services with a claim to a place that has another owner: findings about them name it.
    pub(super) claimants: BTreeSet<ServiceName>,
}

/// Keeps the claims of all services right, where one changes.
pub(super) fn update(
    next: &mut MeshSnapshot,
    old: Option<&LinkedService>,
    new: Option<&LinkedService>,
) -> Concerned {
    let (before, after) = (claims(old), claims(new));
    let mut concerned = Concerned::default();
    for changed @ (place, claim) in before.symmetric_difference(&after) {
        let owner = |next: &MeshSnapshot| next.claim_of(*place).map(|claim| claim.port.service.clone());
        let had = owner(next);
        update_set(&mut next.places, *place, claim, after.contains(changed));
        let has = owner(next);
        concerned.services.insert(claim.port.service.clone());
        if had != has {
            concerned.services.extend(had.into_iter().chain(has));
            let others = next.places.get(place).into_iter().flat_map(|claims| claims.iter());
            concerned.claimants.extend(others.map(|claim| claim.port.service.clone()));
        }
    }
    concerned
}

/// Another service that has a place where members of this one would be dialled; the
/// first by place.
pub(super) fn other_owner(next: &MeshSnapshot, service: &ServiceName) -> Option<ServiceName> {
    let claims = claims(next.service(service).map(AsRef::as_ref));
    let mut owners = claims.iter().filter_map(|(place, _)| next.claim_of(*place));
    owners.find(|owner| owner.port.service != *service).map(|owner| owner.port.service.clone())
}

impl MeshSnapshot {
    /// The claim that has a place; `None` where no member of a headless service is dialled.
    pub(crate) fn claim_of(&self, place: SocketAddress) -> Option<&Claim> {
        self.places.get(&place)?.first()
    }
}
