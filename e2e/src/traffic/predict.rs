//! What must come of a call, by the representation alone.
//!
//! It reads the decisions of both sides as a proxy would carry them out, and
//! shares nothing with what writes them down for Envoy. Servers are named like
//! their service accounts, and where they have host names, like those.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use http::{Method, Uri};
use osm_core::ir::{
    Access, HttpRule, InboundAccess, InboundService, OutboundMember, OutboundRoute, OutboundService, ProxyIr,
    RequestMatch, Requests, ServicePortName, TcpRule,
};
use osm_core::model::Methods;
use regex::Regex;

use super::call::What;
use crate::scenario::Scenario;

/// A request as both proxies see it.
struct Asked<'a> {
    method: &'a Method,
    authority: &'a str,
    path: &'a str,
    headers: &'a [(String, String)],
}

/// What comes of a call of a pod; each outcome that there can be, once.
///
/// # Errors
/// When the scenario has no such pod, or the call no host and port.
pub fn outcome(scenario: &Scenario, pod: &str, what: &What) -> Result<String> {
    let client = ir_of(scenario, pod).with_context(|| format!("no proxy stands beside {pod}"))?;
    let outcomes = match what {
        What::Http { method, url, headers, http2 } => {
            let version = if *http2 { " HTTP/2.0" } else { "" };
            let served = |name: &str| format!("200 {name}{version}");
            requested(scenario, client, url, method, headers, &served, "403")?
        }
        What::WebSocket { url } => {
            let served = |name: &str| format!("101, {name} one, {name} two");
            requested(scenario, client, url, &Method::GET, &[], &served, "403")?
        }
        What::Grpc { to, method } => {
            let url: Uri = format!("http://{to}/echo.Echo/{method}").parse().context("a URL")?;
            let served = |name: &str| match method.as_str() {
                "Stream" => format!("{name} hello 1, {name} hello 2, {name} hello 3, Aborted, x-after three"),
                _ => format!("{name} hello, Ok"),
            };
            requested(scenario, client, &url, &Method::POST, &[], &served, "PermissionDenied")?
        }
        What::Tcp { to, server_first } => connected(scenario, client, to, *server_first)?,
    };
    Ok(outcomes.into_iter().collect::<Vec<_>>().join(" | "))
}

fn requested(
    scenario: &Scenario,
    client: &ProxyIr,
    url: &Uri,
    method: &Method,
    headers: &[(String, String)],
    served: &dyn Fn(&str) -> String,
    denied: &str,
) -> Result<BTreeSet<String>> {
    let one = |text: &str| Ok(BTreeSet::from([text.to_owned()]));
    let host = url.host().context("a host")?;
    let port = url.port_u16().unwrap_or(80);
    let Some((dialled, member)) = dialled(scenario, client, host, port) else { return one("closed") };
    // Servers refuse what has two spellings before policy looks at it.
    if url.path().to_ascii_lowercase().contains("%2f") {
        return one("400");
    }
    let written = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let authority = written.or(url.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let name = authority.split(':').next().unwrap_or_default();
    let is_named = dialled.hostnames.iter().any(|host| **host == *name);
    let mut route = match (is_named, &dialled.otherwise) {
        (true, _) => &dialled.route,
        (false, Some(otherwise)) => otherwise,
        (false, None) => return one("404"),
    };
    let asked = Asked { method, authority, path: url.path(), headers };
    for matched in dialled.matched.iter().rev().filter(|_| is_named) {
        if any_fits(&matched.requests, &asked)? {
            route = &matched.route;
        }
    }
    let mut outcomes = BTreeSet::new();
    for (server, service) in servers(scenario, client, route, member) {
        let InboundAccess::Http(access) = &service.access else { return Err(anyhow!("no HTTP at {host}")) };
        let allowed = match access {
            Access::Everyone(_) => true,
            Access::Nobody(_) => false,
            Access::These(rules) => any_allows(rules, client, &asked)?,
        };
        outcomes.insert(if allowed { served(server) } else { denied.to_owned() });
    }
    if outcomes.is_empty() {
        outcomes.insert("503".to_owned());
    }
    Ok(outcomes)
}

fn connected(
    scenario: &Scenario,
    client: &ProxyIr,
    to: &str,
    server_first: bool,
) -> Result<BTreeSet<String>> {
    let (host, port) = to.split_once(':').context("a host and a port")?;
    let mut outcomes = BTreeSet::new();
    if let Some((route, member)) = connection(scenario, client, host, port.parse().context("a port")?) {
        for (server, service) in servers(scenario, client, route, member) {
            let allowed = match &service.access {
                InboundAccess::Http(_) => return Err(anyhow!("HTTP at {to}")),
                InboundAccess::Tcp(Access::Everyone(_)) => true,
                InboundAccess::Tcp(Access::Nobody(_)) => false,
                InboundAccess::Tcp(Access::These(rules)) => {
                    rules.iter().any(|TcpRule { principals, .. }| principals.contains(&client.principal))
                }
            };
            let greeting = if server_first { format!("{server} greets, ") } else { String::new() };
            outcomes.insert(if allowed { format!("{greeting}{server} hello") } else { "closed".to_owned() });
        }
    }
    if outcomes.is_empty() {
        outcomes.insert("closed".to_owned());
    }
    Ok(outcomes)
}

fn ir_of<'a>(scenario: &'a Scenario, pod: &str) -> Option<&'a ProxyIr> {
    let is_beside = |pods: &[osm_core::name::QualifiedName]| pods.iter().any(|name| name.to_string() == pod);
    scenario.classes.iter().find(|class| is_beside(&class.pods)).map(|class| &class.compiled.ir)
}

/// The member that is dialled under a name at a port, if that is one of a headless
/// service: as DNS has it, the addresses of the pod of that name, or of any pod.
fn member<'a>(scenario: &Scenario, client: &'a ProxyIr, host: &str, port: u16) -> Option<&'a OutboundMember> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolved(scenario, client, host),
    };
    let is_dialled = |member: &&Arc<OutboundMember>| {
        let (address, at) = member.place;
        at.get() == port && addresses.contains(&address)
    };
    client.members.iter().find(is_dialled).map(AsRef::as_ref)
}

/// What DNS says to a client of a name in a headless service.
fn resolved(scenario: &Scenario, client: &ProxyIr, host: &str) -> Vec<IpAddr> {
    let namespace = &client.principal.identity.namespace;
    let mut found = Vec::new();
    for service in scenario.snapshot.services().filter(|service| service.headless) {
        let mut ends = vec![String::new(), ".cluster.local".to_owned(), ".svc.cluster.local".to_owned()];
        if service.name.namespace == *namespace {
            ends.push(format!(".{namespace}.svc.cluster.local"));
        }
        let is_form = |name: &str| ends.iter().any(|end| name.strip_suffix(end.as_str()) == Some(host));
        for ((address, _), endpoint) in service.ports.values().flat_map(|port| &port.endpoints) {
            let own = endpoint.hostname.as_ref().map(|hostname| service.member_fqdn(hostname));
            if is_form(&service.fqdn()) || own.is_some_and(|own| is_form(&own)) {
                found.push(*address);
            }
        }
    }
    found
}

/// The service whose routes requests to a host and port follow, and the member that
/// is dialled, if one is.
fn dialled<'a>(
    scenario: &Scenario,
    client: &'a ProxyIr,
    host: &str,
    port: u16,
) -> Option<(&'a OutboundService, Option<&'a OutboundMember>)> {
    if let Some(member) = member(scenario, client, host, port) {
        let routes = client.outbound.iter().find(|service| service.name == member.name)?;
        return Some((routes, Some(member)));
    }
    let is_it = |service: &&Arc<OutboundService>| {
        service.name.port.get() == port
            && !service.addresses.is_empty()
            && service.hostnames.iter().any(|name| **name == *host)
    };
    client.outbound.iter().find(is_it).map(|service| (service.as_ref(), None))
}

/// Where a connection to a host and port leads, and the member that is dialled, if one is.
fn connection<'a>(
    scenario: &Scenario,
    client: &'a ProxyIr,
    host: &str,
    port: u16,
) -> Option<(&'a OutboundRoute, Option<&'a OutboundMember>)> {
    match member(scenario, client, host, port) {
        Some(member) => Some((&member.route, Some(member))),
        None => dialled(scenario, client, host, port).map(|(service, _)| (&service.route, None)),
    }
}

/// The servers that a route can lead to, by name, and what each serves there. Where
/// it leads to the member that was dialled, that is only this one.
fn servers<'a>(
    scenario: &'a Scenario,
    client: &'a ProxyIr,
    route: &'a OutboundRoute,
    member: Option<&OutboundMember>,
) -> Vec<(&'a str, &'a InboundService)> {
    let backends: Vec<&ServicePortName> = match route {
        OutboundRoute::Single(to) | OutboundRoute::Member(to) => vec![to],
        OutboundRoute::Weighted { backends, .. } => {
            backends.iter().filter(|(_, weight)| **weight > 0).map(|(name, _)| name).collect()
        }
        OutboundRoute::Unavailable { .. } => Vec::new(),
    };
    let only = member.filter(|_| matches!(route, OutboundRoute::Member(_)));
    let mut servers = Vec::new();
    for backend in backends {
        let upstream = client.upstreams.iter().find(|upstream| upstream.name == *backend);
        let endpoints = client.endpoints.iter().find(|endpoints| endpoints.name == *backend);
        let (Some(upstream), Some(endpoints)) = (upstream, endpoints) else { continue };
        for (address, port) in &endpoints.addresses {
            if only.is_some_and(|member| member.place.0 != *address) {
                continue;
            }
            let there = scenario.snapshot.workloads().find(|workload| workload.addresses.contains(address));
            let Some(workload) = there else { continue };
            let asked = only.map_or(&upstream.server_name, |member| &member.server_name);
            let serves = |service: &&Arc<InboundService>| {
                let is_own = service.server_name == *asked || service.member_names.contains(asked);
                is_own && service.target_port == *port
            };
            let ir = ir_of(scenario, &workload.name.to_string());
            let found = ir.and_then(|ir| ir.inbound.iter().find(serves));
            let name = match &workload.hostname {
                Some(hostname) => hostname.as_str(),
                None => workload.service_account.as_str(),
            };
            servers.extend(found.map(|service| (name, &**service)));
        }
    }
    servers
}

fn any_allows(rules: &[HttpRule], client: &ProxyIr, asked: &Asked<'_>) -> Result<bool> {
    for rule in rules.iter().filter(|rule| rule.principals.contains(&client.principal)) {
        let fits = match &rule.requests {
            Requests::Any => true,
            Requests::These(requests) => any_fits(requests, asked)?,
        };
        if fits {
            return Ok(true);
        }
    }
    Ok(false)
}

fn any_fits(requests: &[RequestMatch], asked: &Asked<'_>) -> Result<bool> {
    for request in requests {
        if fits(request, asked)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fits(request: &RequestMatch, asked: &Asked<'_>) -> Result<bool> {
    let RequestMatch { path, methods, headers } = request;
    let mut fits = match methods {
        Methods::Any => true,
        Methods::These(methods) => methods.contains(asked.method.as_str()),
    };
    if let Some(path) = path {
        fits &= whole(path, asked.path)?;
    }
    for (name, expression) in headers {
        let value = match &**name {
            ":authority" => Some(asked.authority),
            name => asked.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()),
        };
        fits &= value.map(|value| whole(expression, value)).transpose()?.unwrap_or(false);
    }
    Ok(fits)
}

fn whole(expression: &str, text: &str) -> Result<bool> {
    let regex = Regex::new(&format!("^(?:{expression})$")).context("an expression")?;
    Ok(regex.is_match(text))
}
