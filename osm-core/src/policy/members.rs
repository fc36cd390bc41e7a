//! The members of headless services, dialled by their own addresses.
//!
//! A headless service has no address of its own: its name leads to its members'
//! addresses, and a member's name to that member's. So the address that is dialled
//! says who is meant, whatever name the client had for it, and is kept to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::reach::Allowed;
use crate::ir::{MemberName, MemberPort, OutboundMember, OutboundRoute, ServicePortName};
use crate::snapshot::places;
use crate::snapshot::{LinkedEndpoint, LinkedPort, LinkedService, MeshSnapshot};

/// An address and a port.
type Place = (IpAddr, NonZeroU16);

/// The members behind one port, each with every place of it that belongs to this
/// service, of those whose endpoints are `wanted`; in order.
pub(super) fn places(
    snapshot: &MeshSnapshot,
    name: &ServicePortName,
    port: &LinkedPort,
    mut wanted: impl FnMut(&LinkedEndpoint, NonZeroU16) -> bool,
) -> BTreeSet<(MemberName, Place)> {
    let mut members = BTreeSet::new();
    let only = port.only_target();
    for (endpoint, linked) in port.members.iter().filter(|((_, target), linked)| wanted(linked, *target)) {
        let member = match &linked.hostname {
            Some(hostname) => MemberName::Host(hostname.clone()),
            None => MemberName::Address(endpoint.0),
        };
        let is_own = |place: &Place| snapshot.claim_of(*place).is_some_and(|claim| claim.port == *name);
        let own = places::of_endpoint(name, only, *endpoint).filter(is_own);
        members.extend(own.map(|place| (member.clone(), place)));
    }
    members
}

/// How members of a service are reached one by one at a port; `None` unless it is headless.
pub(super) fn port(service: &LinkedService, port: &LinkedPort) -> Option<MemberPort> {
    service.headless.then(|| port.only_target().map_or(MemberPort::Dialled, MemberPort::Number))
}

/// Decides which members clients dial at a port, and where each leads: to `own`, or
/// where a split leads (`divided`). A client that may not use a member's port
/// dials it only for the sake of a split.
pub(super) fn outbound(
    snapshot: &MeshSnapshot,
    service: &LinkedService,
    name: &ServicePortName,
    port: &LinkedPort,
    allowed: &Allowed,
    own: &OutboundRoute,
    divided: Option<&OutboundRoute>,
) -> Vec<OutboundMember> {
    let opens = |endpoint: &LinkedEndpoint, target| allowed.opens(&endpoint.identity, port.protocol, target);
    let wanted = |endpoint: &LinkedEndpoint, target| match &endpoint.hostname {
        // Without requests nothing tells the service's name from the member's.
        Some(_) if !port.protocol.is_http() => opens(endpoint, target),
        _ => divided.is_some() || opens(endpoint, target),
    };
    let dial = |(member, place): (MemberName, Place)| {
        let (server_name, route) = match &member {
            MemberName::Host(hostname) => (service.member_fqdn(hostname), own),
            MemberName::Address(_) if port.protocol.is_http() => (service.fqdn(), own),
            // It is known by the service's name only.
            MemberName::Address(_) => (service.fqdn(), divided.unwrap_or(own)),
        };
        OutboundMember {
            name: name.clone(),
            member,
            protocol: port.protocol,
            place,
            server_name: server_name.into(),
            route: route.clone(),
            origin: service.origin.clone(),
        }
    };
    places(snapshot, name, port, wanted).into_iter().map(dial).collect()
}
