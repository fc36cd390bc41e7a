//! What policy decides, in words.

use std::fmt::{self, Display, Write};

use osm_core::identity::{Principal, ProxyId};
use osm_core::ir::{
    Access, HttpRule, InboundAccess, OutboundRoute, ProxyIr, RequestMatch, Requests, TcpRule,
};
use osm_core::model::Methods;
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;

/// A line for each thing that somebody may do, and each finding.
pub(crate) fn report(snapshot: &MeshSnapshot) -> String {
    let mut text = String::new();
    write(snapshot, &mut text).expect("a text takes every line");
    text
}

fn write(snapshot: &MeshSnapshot, out: &mut String) -> fmt::Result {
    for workload in snapshot.workloads() {
        let Some(proxy) = &workload.proxy else { continue };
        let Ok(compiled) = policy::compile(snapshot, &ProxyId::new(proxy.clone(), workload.identity()))
        else {
            continue;
        };
        writeln!(out, "pod {} is {}", workload.name, workload.identity())?;
        write_outbound(&compiled.ir, out)?;
        write_inbound(&compiled.ir, out)?;
        compiled.diagnostics.iter().try_for_each(|found| writeln!(out, "  {found}"))?;
    }
    snapshot.diagnostics().try_for_each(|found| writeln!(out, "{found}"))
}

fn write_outbound(ir: &ProxyIr, out: &mut String) -> fmt::Result {
    for service in &ir.outbound {
        writeln!(out, "  may dial {} ({}){}", service.name, service.protocol, leads(&service.route))?;
        for matched in &service.matched {
            let requests = joined(matched.requests.iter().map(request), " or ");
            writeln!(out, "    of that {requests}{}", leads(&matched.route))?;
        }
    }
    Ok(())
}

fn leads(route: &OutboundRoute) -> String {
    match route {
        OutboundRoute::Single(_) | OutboundRoute::Member(_) => String::new(),
        OutboundRoute::Weighted { backends, origin } => {
            let shares = backends.iter().map(|(name, weight)| format!("{weight} to {name}"));
            format!(": {}, says {origin}", joined(shares, ", "))
        }
        OutboundRoute::Unavailable { origin } => format!(": nothing is behind it, says {origin}"),
    }
}

fn write_inbound(ir: &ProxyIr, out: &mut String) -> fmt::Result {
    for service in &ir.inbound {
        let at = format!("  serves {} at {} ({}) to", service.service, service.target_port, service.protocol);
        match &service.access {
            InboundAccess::Http(Access::Everyone(origin)) | InboundAccess::Tcp(Access::Everyone(origin)) => {
                writeln!(out, "{at} everyone in the mesh, says {origin}")?;
            }
            InboundAccess::Http(Access::Nobody(origin)) | InboundAccess::Tcp(Access::Nobody(origin)) => {
                writeln!(out, "{at} nobody, {origin}")?;
            }
            InboundAccess::Http(Access::These(rules)) => {
                for HttpRule { principals, requests, origin, .. } in rules {
                    writeln!(out, "{at} {}: {}, says {origin}", names(principals), requests_of(requests))?;
                }
            }
            InboundAccess::Tcp(Access::These(rules)) => {
                for TcpRule { principals, origin, .. } in rules {
                    writeln!(out, "{at} {}, says {origin}", names(principals))?;
                }
            }
        }
    }
    Ok(())
}

fn names<'a>(principals: impl IntoIterator<Item = &'a Principal>) -> String {
    joined(principals.into_iter().map(|principal| &principal.identity), " and ")
}

fn requests_of(requests: &Requests) -> String {
    match requests {
        Requests::Any => "any request".to_owned(),
        Requests::These(requests) => joined(requests.iter().map(request), " or "),
    }
}

fn request(RequestMatch { path, methods, headers }: &RequestMatch) -> String {
    let method = match methods {
        Methods::Any => "any method".to_owned(),
        Methods::These(methods) => joined(methods, "/"),
    };
    let headers: String = headers.iter().map(|(name, value)| format!(" with {name}: {value}")).collect();
    format!("{method} {}{headers}", path.as_deref().unwrap_or("any path"))
}

fn joined<T: Display>(parts: impl IntoIterator<Item = T>, between: &str) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(between)
}
