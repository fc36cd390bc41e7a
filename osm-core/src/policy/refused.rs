//! Services that a client may not reach, by name.

use std::collections::BTreeSet;

use super::members;
use crate::diagnostic::Origin;
use crate::ir::{RefusedService, ServicePortName};
use crate::snapshot::{LinkedService, MeshSnapshot};

/// Decides what is refused of a service that a client may not reach: its ports
/// at its own addresses, or each place of its members, in their order.
#[must_use]
pub fn refused(snapshot: &MeshSnapshot, service: &LinkedService) -> Vec<RefusedService> {
    let mut all = Vec::new();
    for (number, port) in &service.ports {
        let name = ServicePortName::new(service.name.clone(), *number);
        let refuse = |member, places| RefusedService {
            name: name.clone(),
            member,
            protocol: port.protocol,
            places,
            origin: Origin::Default(
                "a service of the mesh that no TrafficTarget opens to the client is refused",
            ),
        };
        if service.headless {
            let members = members::places(snapshot, &name, port, |_, _| true);
            all.extend(
                members.into_iter().map(|(member, place)| refuse(Some(member), BTreeSet::from([place]))),
            );
        } else if !service.addresses.is_empty() {
            let places = service.addresses.iter().map(|address| (*address, *number)).collect();
            all.push(refuse(None, places));
        }
    }
    all
}
