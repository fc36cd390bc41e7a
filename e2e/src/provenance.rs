//! Whether every decision and every resource names who made it.

use std::collections::BTreeSet;

use osm_core::diagnostic::Origin;
use osm_core::ir::{
    Access, Egress, HttpRule, InboundAccess, InboundService, MatchedRoute, OutboundRoute, OutboundService,
    ProxyIr, RefusedService, TcpRule, Upstream, UpstreamEndpoints,
};
use osm_core::name::ObjectRef;
use osm_xds::generate::names;
use osm_xds::resource::{Resource, ResourceKind};

/// What is wrong with the origins in a representation and its resources, given
/// all objects that there are.
#[must_use]
pub fn faults(known: &BTreeSet<ObjectRef>, ir: &ProxyIr, resources: &[Resource]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |what: &str, origin: &Origin| match origin {
        Origin::Object(object, _) if !known.contains(object) => {
            faults.push(format!("{what} names {object}, which does not exist"));
        }
        Origin::Default("") => faults.push(format!("{what} names a default that says nothing")),
        Origin::Object(..) | Origin::Default(_) => {}
    };
    decisions(ir).iter().for_each(|origin| check("a decision", origin));
    for resource in resources {
        resource.origins.iter().for_each(|origin| check(&resource.key.to_string(), origin));
    }
    let silent = resources.iter().filter(|resource| resource.origins.is_empty() && !is_certificate(resource));
    faults.extend(silent.map(|resource| format!("{} names nobody", resource.key)));
    faults
}

/// Certificates are made by the mesh itself.
fn is_certificate(resource: &Resource) -> bool {
    resource.key.kind == ResourceKind::Secret
        && [names::CERTIFICATE_SECRET, names::TRUST_SECRET].contains(&resource.key.name.as_str())
}

/// The origins of all decisions. Structs are taken apart in full, so that a
/// new decision cannot be forgotten.
fn decisions(ir: &ProxyIr) -> Vec<&Origin> {
    let ProxyIr { principal: _, families: _, inbound, outbound, upstreams, endpoints, refused, egress } = ir;
    let mut origins = Vec::new();
    for service in inbound {
        let InboundService { service: _, target_port: _, protocol: _, server_name: _, access, origin } =
            service.as_ref();
        origins.push(origin);
        match access {
            InboundAccess::Http(access) => who(access, |HttpRule { origin, .. }| origin, &mut origins),
            InboundAccess::Tcp(access) => who(access, |TcpRule { origin, .. }| origin, &mut origins),
        }
    }
    for service in outbound {
        let OutboundService { name: _, protocol: _, addresses: _, hostnames: _, matched, route, origin } =
            service.as_ref();
        origins.push(origin);
        let matched = matched.iter().map(|MatchedRoute { requests: _, route }| route);
        for route in matched.chain([route]) {
            match route {
                OutboundRoute::Single(_) => {}
                OutboundRoute::Weighted { backends: _, origin } | OutboundRoute::Unavailable { origin } => {
                    origins.push(origin);
                }
            }
        }
    }
    for upstream in upstreams {
        let Upstream { name: _, protocol: _, server_name: _, server_identities: _, origin } =
            upstream.as_ref();
        origins.push(origin);
    }
    for places in endpoints {
        let UpstreamEndpoints { name: _, addresses: _, origin } = places.as_ref();
        origins.push(origin);
    }
    for service in refused {
        let RefusedService { name: _, protocol: _, addresses: _, origin } = service.as_ref();
        origins.push(origin);
    }
    let (Egress::Refuse(origin) | Egress::Passthrough(origin)) = egress;
    origins.push(origin);
    origins
}

fn who<'a, T>(
    access: &'a Access<Vec<T>>,
    origin: impl Fn(&'a T) -> &'a Origin,
    origins: &mut Vec<&'a Origin>,
) {
    match access {
        Access::Everyone(by) | Access::Nobody(by) => origins.push(by),
        Access::These(rules) => origins.extend(rules.iter().map(origin)),
    }
}
