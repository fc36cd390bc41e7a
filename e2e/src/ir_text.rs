//! The intermediate representation as text that a person reads and a diff shows.
//!
//! Every field is written, and every decision with who made it, after `<-`.
//! Structs are taken apart in full, so that a new field cannot be forgotten.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use osm_core::diagnostic::Origin;
use osm_core::identity::Principal;
use osm_core::interception::IpFamilies;
use osm_core::ir::{
    Access, Egress, HttpRule, InboundAccess, InboundService, MatchedRoute, MemberPort, OutboundMember,
    OutboundRoute, OutboundService, ProxyIr, RefusedService, RequestMatch, Requests, TcpRule, Tls, Upstream,
    UpstreamEndpoints,
};
use osm_core::model::{Methods, TlsSettings};

/// Text that grows by lines.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn line(&mut self, indent: usize, text: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{:width$}{text}", "", width = indent * 2);
    }

    fn made(&mut self, indent: usize, text: impl Display, origin: &Origin) {
        self.line(indent, format_args!("{text}  <- {origin}"));
    }
}

/// Everything that a proxy does.
#[must_use]
pub fn to_text(ir: &ProxyIr) -> String {
    let ProxyIr { principal, families, inbound, outbound, members, upstreams, endpoints, refused, egress } =
        ir;
    let mut page = Page::default();
    page.line(0, format_args!("speaks for {principal}"));
    match families {
        IpFamilies::V4 => {}
        IpFamilies::V6 => page.line(0, "has addresses of IPv6"),
        IpFamilies::Both => page.line(0, "has addresses of IPv4 and of IPv6"),
    }
    inbound.iter().for_each(|service| inbound_service(&mut page, service));
    outbound.iter().for_each(|service| outbound_service(&mut page, service));
    members.iter().for_each(|one| outbound_member(&mut page, one));
    upstreams.iter().for_each(|one| upstream(&mut page, one));
    endpoints.iter().for_each(|one| upstream_endpoints(&mut page, one));
    refused.iter().for_each(|one| refused_service(&mut page, one));
    match egress {
        Egress::Refuse(origin) => page.made(0, "strangers: connections to them are closed", origin),
        Egress::Passthrough(origin) => page.made(0, "strangers: connections to them pass through", origin),
    }
    page.0
}

fn inbound_service(page: &mut Page, service: &InboundService) {
    let InboundService { service, target_port, protocol, server_name, member_names, tls, access, origin } =
        service;
    page.made(0, format_args!("serves {service} at port {target_port} as {protocol}"), origin);
    page.line(1, format_args!("asked for as {server_name}"));
    member_names.iter().for_each(|name| page.line(1, format_args!("and alone as {name}")));
    spoken(page, tls);
    match access {
        InboundAccess::Http(access) => who(page, access, http_rule),
        InboundAccess::Tcp(access) => who(page, access, tcp_rule),
    }
}

fn who<T>(page: &mut Page, access: &Access<Vec<T>>, mut rule: impl FnMut(&mut Page, &T)) {
    match access {
        Access::Everyone(origin) => page.made(1, "everyone of the mesh may", origin),
        Access::Nobody(origin) => page.made(1, "nobody may", origin),
        Access::These(rules) => rules.iter().for_each(|one| rule(page, one)),
    }
}

fn http_rule(page: &mut Page, rule: &HttpRule) {
    let HttpRule { name, principals: who, requests, origin } = rule;
    page.made(1, format_args!("rule {name}"), origin);
    principals(page, 2, "lets", who);
    match requests {
        Requests::Any => page.line(2, "make every request"),
        Requests::These(matches) => {
            matches.iter().for_each(|request| page.line(2, format_args!("make {}", request_match(request))));
        }
    }
}

fn request_match(request: &RequestMatch) -> String {
    let RequestMatch { path, methods, headers } = request;
    let mut text = match methods {
        Methods::Any => "any method".to_owned(),
        Methods::These(methods) => methods.iter().map(String::as_str).collect::<Vec<_>>().join("|"),
    };
    match path {
        None => text.push_str(" on any path"),
        Some(path) => text.push_str(&format!(" on path ~ {path}")),
    }
    for (name, value) in headers {
        text.push_str(&format!(", {name} ~ {value}"));
    }
    text
}

fn tcp_rule(page: &mut Page, rule: &TcpRule) {
    let TcpRule { name, principals: who, origin } = rule;
    page.made(1, format_args!("rule {name}"), origin);
    principals(page, 2, "lets", who);
    page.line(2, "connect");
}

fn outbound_service(page: &mut Page, service: &OutboundService) {
    let OutboundService { name, protocol, addresses, hostnames, matched, route, otherwise, origin } = service;
    page.made(0, format_args!("dials {name} as {protocol}"), origin);
    addresses.iter().for_each(|address| page.line(1, format_args!("at {address}")));
    if protocol.is_http() {
        hostnames.iter().for_each(|host| page.line(1, format_args!("host {host}")));
    }
    for MatchedRoute { requests, route } in matched {
        requests
            .iter()
            .for_each(|request| page.line(1, format_args!("request by {}", request_match(request))));
        leads(page, 2, route);
    }
    leads(page, 1, route);
    if let Some(route) = otherwise {
        page.line(1, "any other host");
        leads(page, 2, route);
    }
}

fn outbound_member(page: &mut Page, member: &OutboundMember) {
    let OutboundMember { name, member, protocol, place, server_name, route, origin } = member;
    page.made(0, format_args!("dials member {member} of {name} as {protocol}"), origin);
    places(page, &BTreeSet::from([*place]));
    page.line(1, format_args!("asked for as {server_name}"));
    if !protocol.is_http() {
        leads(page, 1, route);
    }
}

fn leads(page: &mut Page, indent: usize, route: &OutboundRoute) {
    match route {
        OutboundRoute::Single(to) => page.line(indent, format_args!("leads to {to}")),
        OutboundRoute::Member(_) => page.line(indent, "leads to the member that was dialled"),
        OutboundRoute::Weighted { backends, origin } => {
            page.made(indent, "is divided", origin);
            for (to, weight) in backends {
                page.line(indent + 1, format_args!("{weight} to {to}"));
            }
        }
        OutboundRoute::Unavailable { origin } => page.made(indent, "leads nowhere", origin),
    }
}

fn upstream(page: &mut Page, upstream: &Upstream) {
    let Upstream { name, protocol, server_name, server_identities, tls, members, origin } = upstream;
    page.made(0, format_args!("upstream {name} as {protocol}"), origin);
    page.line(1, format_args!("asked for as {server_name}"));
    principals(page, 1, "served by", server_identities);
    match members {
        None => {}
        Some(MemberPort::Dialled) => page.line(1, "each member at the port that was dialled"),
        Some(MemberPort::Number(port)) => page.line(1, format_args!("each member at port {port}")),
    }
    spoken(page, tls);
}

/// How TLS is spoken, where somebody has asked for it.
fn spoken(page: &mut Page, tls: &Tls) {
    let TlsSettings { oldest, newest, cipher_suites, curves, .. } = tls.settings.as_ref();
    if let Some(origin) = tls.asked_by() {
        page.made(
            1,
            format_args!("speaks {oldest} to {newest}, suites {cipher_suites:?}, groups {curves:?}"),
            origin,
        );
    }
}

fn upstream_endpoints(page: &mut Page, endpoints: &UpstreamEndpoints) {
    let UpstreamEndpoints { name, addresses, origin } = endpoints;
    page.made(0, format_args!("endpoints of {name}"), origin);
    if addresses.is_empty() {
        page.line(1, "none");
    }
    for (ip, port) in addresses {
        page.line(1, SocketAddr::new(*ip, port.get()));
    }
}

fn places(page: &mut Page, places: &BTreeSet<(IpAddr, NonZeroU16)>) {
    places
        .iter()
        .for_each(|(ip, port)| page.line(1, format_args!("at {}", SocketAddr::new(*ip, port.get()))));
}

fn refused_service(page: &mut Page, service: &RefusedService) {
    let RefusedService { name, member, protocol, places: at, origin } = service;
    let member = member.as_ref().map(|member| format!("member {member} of ")).unwrap_or_default();
    page.made(0, format_args!("refuses to dial {member}{name} as {protocol}"), origin);
    places(page, at);
}

fn principals(page: &mut Page, indent: usize, verb: &str, principals: &BTreeSet<Principal>) {
    principals.iter().for_each(|principal| page.line(indent, format_args!("{verb} {principal}")));
}
