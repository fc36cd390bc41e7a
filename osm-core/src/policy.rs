//! The decision: what each proxy is to do.
//!
//! Everything here is pure, total and deterministic. Bad input has become a
//! [`Diagnostic`] by now or becomes one here; it is never an error and never a
//! permission.
//!
//! [`compile`] decides everything about one proxy from scratch. It is put
//! together from parts ([`inbound`], [`outbound`], …) that an incremental
//! server calls one by one for what a change concerns; so both decide alike.

mod class;
mod inbound;
mod members;
mod outbound;
mod reach;
mod refused;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use class::{Unknown, classify};
pub use inbound::{inbound, inbound_service};
pub use outbound::{OutboundKey, ServiceOutbound, outbound, outbound_key};
pub use reach::{Allowed, Reach, reach, reachable_services};
pub use refused::refused;

use crate::diagnostic::{Diagnostic, Origin};
use crate::identity::ProxyId;
use crate::ir::{Egress, ProxyClass, ProxyIr, RefusedService, Tls};
use crate::model::TlsSettings;
use crate::snapshot::MeshSnapshot;

/// What a proxy is to do, and what went wrong on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The decision.
    pub ir: ProxyIr,
    /// Findings about the objects that this proxy is concerned with.
    pub diagnostics: Vec<Diagnostic>,
}

/// Decides what one proxy is to do.
///
/// # Errors
/// When the snapshot does not know the proxy, or knows it under another identity.
pub fn compile(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Result<Compiled, Unknown> {
    let class = classify(snapshot, proxy)?;
    Ok(compile_class(snapshot, &class))
}

/// Decides what every proxy of a class is to do.
#[must_use]
pub fn compile_class(snapshot: &MeshSnapshot, class: &ProxyClass) -> Compiled {
    let ProxyClass { identity, families, serves: _, hostnames: _ } = class;
    let reach = reach(snapshot, identity);
    let services = reachable_services(snapshot, &reach);
    let mut ir = ProxyIr {
        principal: snapshot.trust_domains().principal(identity),
        families: *families,
        inbound: inbound(snapshot, class).into_iter().map(Arc::new).collect(),
        outbound: Vec::new(),
        members: Vec::new(),
        upstreams: Vec::new(),
        endpoints: Vec::new(),
        refused: Vec::new(),
        egress: egress(snapshot),
    };
    let mut diagnostics = Vec::new();
    for name in &services {
        let Some(key) = outbound_key(snapshot, name, &reach, &identity.namespace) else { continue };
        let part = outbound(snapshot, &key);
        ir.outbound.extend(part.outbound.into_iter().map(Arc::new));
        ir.members.extend(part.members.into_iter().map(Arc::new));
        ir.upstreams.extend(part.upstreams.into_iter().map(Arc::new));
        ir.endpoints.extend(part.endpoints.into_iter().map(Arc::new));
        diagnostics.extend(part.diagnostics);
    }
    if refuses_unreachable(snapshot) {
        let dialled: BTreeSet<_> = ir.outbound.iter().map(|service| &service.name).collect();
        let members: BTreeSet<_> =
            ir.members.iter().map(|member| (&member.name, &member.member, member.place)).collect();
        let all = snapshot.services().flat_map(|service| refused(snapshot, service));
        let is_open = |service: &RefusedService| {
            let place = service.places.first();
            match service.member.as_ref().zip(place) {
                Some((member, place)) => members.contains(&(&service.name, member, *place)),
                None => dialled.contains(&service.name),
            }
        };
        ir.refused = all.filter(|service| !is_open(service)).map(Arc::new).collect();
    }
    Compiled { ir, diagnostics }
}

/// How proxies speak TLS with each other.
pub(crate) fn tls(snapshot: &MeshSnapshot) -> Tls {
    let settings = Arc::clone(&snapshot.config().tls);
    let origin = if *settings == TlsSettings::default() {
        Origin::Default("TLS 1.2 and 1.3, with what proxies prefer")
    } else {
        snapshot.config_origin()
    };
    Tls { settings, origin }
}

/// What happens to connections to addresses that the mesh does not know.
#[must_use]
pub fn egress(snapshot: &MeshSnapshot) -> Egress {
    if snapshot.config().egress {
        Egress::Passthrough(snapshot.config_origin())
    } else {
        Egress::Refuse(snapshot.config_origin())
    }
}

/// Whether services that a client may not reach have to be refused by name. Without
/// egress every unknown connection is refused anyway; with permissive mode
/// there is no service that a client may not reach.
#[must_use]
pub fn refuses_unreachable(snapshot: &MeshSnapshot) -> bool {
    snapshot.config().egress && !snapshot.config().permissive
}
