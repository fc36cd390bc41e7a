//! What must come of a call, by the representation alone.
//!
//! It reads the decisions of both sides as a proxy would carry them out, and
//! shares nothing with what writes them down for Envoy. Servers are named like
//! their service accounts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};
use http::{Method, Uri};
use osm_core::ir::{
    Access, HttpRule, InboundAccess, InboundService, OutboundRoute, OutboundService, ProxyIr, RequestMatch,
    Requests, ServicePortName, TcpRule,
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
    let Some(dialled) = dialled(client, host, url.port_u16().unwrap_or(80)) else { return one("closed") };
    // Servers refuse what has two spellings before policy looks at it.
    if url.path().to_ascii_lowercase().contains("%2f") {
        return one("400");
    }
    let written = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let authority = written.or(url.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let name = authority.split(':').next().unwrap_or_default();
    if !dialled.hostnames.iter().any(|host| **host == *name) {
        return one("404");
    }
    let asked = Asked { method, authority, path: url.path(), headers };
    let mut route = &dialled.route;
    for matched in dialled.matched.iter().rev() {
        if any_fits(&matched.requests, &asked)? {
            route = &matched.route;
        }
    }
    let mut outcomes = BTreeSet::new();
    for (server, service) in servers(scenario, client, route) {
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
    if let Some(dialled) = dialled(client, host, port.parse().context("a port")?) {
        for (server, service) in servers(scenario, client, &dialled.route) {
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

fn dialled<'a>(client: &'a ProxyIr, host: &str, port: u16) -> Option<&'a OutboundService> {
    let is_it = |service: &&std::sync::Arc<OutboundService>| {
        service.name.port.get() == port && service.hostnames.iter().any(|name| **name == *host)
    };
    client.outbound.iter().find(is_it).map(AsRef::as_ref)
}

/// The servers that a route can lead to, by name, and what each serves there.
fn servers<'a>(
    scenario: &'a Scenario,
    client: &'a ProxyIr,
    route: &'a OutboundRoute,
) -> Vec<(&'a str, &'a InboundService)> {
    let backends: Vec<&ServicePortName> = match route {
        OutboundRoute::Single(to) => vec![to],
        OutboundRoute::Weighted { backends, .. } => {
            backends.iter().filter(|(_, weight)| **weight > 0).map(|(name, _)| name).collect()
        }
        OutboundRoute::Unavailable { .. } => Vec::new(),
    };
    let mut servers = Vec::new();
    for backend in backends {
        let upstream = client.upstreams.iter().find(|upstream| upstream.name == *backend);
        let endpoints = client.endpoints.iter().find(|endpoints| endpoints.name == *backend);
        let (Some(upstream), Some(endpoints)) = (upstream, endpoints) else { continue };
        for (address, port) in &endpoints.addresses {
            let there = scenario.snapshot.workloads().find(|workload| workload.addresses.contains(address));
            let Some(workload) = there else { continue };
            let serves = |service: &&std::sync::Arc<InboundService>| {
                service.server_name == upstream.server_name && service.target_port == *port
            };
            let ir = ir_of(scenario, &workload.name.to_string());
            let found = ir.and_then(|ir| ir.inbound.iter().find(serves));
            servers.extend(found.map(|service| (workload.service_account.as_str(), &**service)));
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
