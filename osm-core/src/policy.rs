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
mod outbound;
mod reach;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use class::{Unknown, classify};
pub use inbound::{inbound, inbound_service};
pub use outbound::{OutboundKey, ServiceOutbound, outbound, outbound_key, refused};
pub use reach::{Allowed, Reach, reach, reachable_services};

use crate::diagnostic::Diagnostic;
use crate::identity::ProxyId;
use crate::ir::{Egress, ProxyClass, ProxyIr};
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
    let ProxyClass { trust_domain, identity, families, serves: _ } = class;
    let reach = reach(snapshot, identity);
    let services = reachable_services(snapshot, &reach);
    let mut ir = ProxyIr {
        principal: identity.principal(trust_domain),
        families: *families,
        inbound: inbound(snapshot, class).into_iter().map(Arc::new).collect(),
        outbound: Vec::new(),
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
        ir.upstreams.extend(part.upstreams.into_iter().map(Arc::new));
        ir.endpoints.extend(part.endpoints.into_iter().map(Arc::new));
        diagnostics.extend(part.diagnostics);
    }
    if refuses_unreachable(snapshot) {
        let dialled: BTreeSet<_> = ir.outbound.iter().map(|service| service.name.clone()).collect();
        let all = snapshot.services().flat_map(|service| refused(service));
        ir.refused = all.filter(|service| !dialled.contains(&service.name)).map(Arc::new).collect();
    }
    Compiled { ir, diagnostics }
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
