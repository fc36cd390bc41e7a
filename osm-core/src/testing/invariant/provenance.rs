//! I16: every decision names the object or the default that made it.

use super::{Verdict, demand};
use crate::diagnostic::Origin;
use crate::ir::{
    Access, Egress, HttpRule, InboundAccess, InboundService, MatchedRoute, OutboundMember, OutboundRoute,
    OutboundService, ProxyIr, RefusedService, ServicePortName, TcpRule, Upstream, UpstreamEndpoints,
};
use crate::model::MeshObject;
use crate::name::Kind;

/// I16: the origin of each decision is an object that exists, of a kind that
/// makes such decisions and at its present generation, or a default with a name.
///
/// # Errors
/// The first decision whose origin is neither.
pub fn check_i16(ir: &ProxyIr, objects: &[MeshObject]) -> Verdict {
    for (decision, kind, origin) in origins(ir) {
        match origin {
            Origin::Default(rule) => {
                demand(!rule.is_empty(), || format!("the default behind {decision} has no name"))?;
            }
            Origin::Object(object, _) => {
                let exists = objects.iter().any(|known| known.origin() == *origin);
                demand(exists, || format!("{decision} comes from {origin}, which does not exist"))?;
                demand(kind.contains(&object.kind), || format!("{decision} can't come from {origin}"))?;
            }
        }
    }
    Ok(())
}

type Decision<'a> = (String, &'static [Kind], &'a Origin);

/// Every decision of an IR, with the kinds that can make it and its origin.
#[must_use]
pub fn origins(ir: &ProxyIr) -> Vec<Decision<'_>> {
    // Without `..`, so that no part can be forgotten.
    let ProxyIr {
        principal: _,
        families: _,
        inbound,
        outbound,
        members,
        upstreams,
        endpoints,
        refused,
        egress,
    } = ir;
    let mut all = Vec::new();
    inbound.iter().for_each(|service| of_inbound(service, &mut all));
    outbound.iter().for_each(|service| of_outbound(service, &mut all));
    members.iter().for_each(|member| of_member(member, &mut all));
    for upstream in upstreams {
        let Upstream { name, protocol: _, server_name: _, server_identities: _, tls, members: _, origin } =
            &**upstream;
        all.push((format!("the upstream {name}"), &[Kind::Service], origin));
        all.push((format!("TLS to {name}"), &[Kind::MeshConfig], &tls.origin));
    }
    for endpoints in endpoints {
        let UpstreamEndpoints { name, addresses: _, origin } = &**endpoints;
        all.push((format!("the endpoints of {name}"), &[Kind::Service], origin));
    }
    for service in refused {
        let RefusedService { name, member: _, protocol: _, places: _, origin } = &**service;
        all.push((format!("the refusal of {name}"), &[Kind::TrafficTarget], origin));
    }
    let (Egress::Refuse(origin) | Egress::Passthrough(origin)) = egress;
    all.push(("egress".to_owned(), &[Kind::MeshConfig], origin));
    all
}

fn of_inbound<'a>(service: &'a InboundService, all: &mut Vec<Decision<'a>>) {
    let InboundService {
        service,
        target_port,
        protocol: _,
        server_name: _,
        member_names: _,
        tls,
        access,
        origin,
    } = service;
    all.push((format!("serving {service} at {target_port}"), &[Kind::Service], origin));
    all.push((format!("TLS at {target_port}"), &[Kind::MeshConfig], &tls.origin));
    let decision = format!("access to {service} at {target_port}");
    match access {
        InboundAccess::Http(Access::Everyone(origin) | Access::Nobody(origin))
        | InboundAccess::Tcp(Access::Everyone(origin) | Access::Nobody(origin)) => {
            all.push((decision, &[Kind::MeshConfig], origin));
        }
        InboundAccess::Http(Access::These(rules)) => {
            for HttpRule { name: _, principals: _, requests: _, origin } in rules {
                all.push((decision.clone(), &[Kind::TrafficTarget], origin));
            }
        }
        InboundAccess::Tcp(Access::These(rules)) => {
            for TcpRule { name: _, principals: _, origin } in rules {
                all.push((decision.clone(), &[Kind::TrafficTarget], origin));
            }
        }
    }
}

fn of_outbound<'a>(service: &'a OutboundService, all: &mut Vec<Decision<'a>>) {
    let OutboundService { name, protocol: _, addresses: _, hostnames: _, matched, route, otherwise, origin } =
        service;
    all.push((format!("dialling {name}"), &[Kind::Service], origin));
    let matched = matched.iter().map(|MatchedRoute { requests: _, route }| route);
    matched.chain([route]).chain(otherwise).for_each(|route| of_route(name, route, all));
}

fn of_member<'a>(member: &'a OutboundMember, all: &mut Vec<Decision<'a>>) {
    let OutboundMember { name, member, protocol: _, place: _, server_name: _, route, origin } = member;
    all.push((format!("dialling {member} of {name}"), &[Kind::Service], origin));
    of_route(name, route, all);
}

fn of_route<'a>(name: &ServicePortName, route: &'a OutboundRoute, all: &mut Vec<Decision<'a>>) {
    match route {
        OutboundRoute::Single(_) | OutboundRoute::Member(_) => {}
        OutboundRoute::Weighted { backends: _, origin } => {
            all.push((format!("the shares of {name}"), &[Kind::TrafficSplit], origin));
        }
        OutboundRoute::Unavailable { origin } => {
            let made_by = &[Kind::TrafficSplit, Kind::Service];
            all.push((format!("nothing behind {name}"), made_by, origin));
        }
    }
}
