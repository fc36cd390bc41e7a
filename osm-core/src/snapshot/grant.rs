//! What TrafficTargets let one identity use of another, all taken together.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::link_service::LinkedService;
use super::link_target::{LinkedTarget, PortGrant, add_ports};
use crate::identity::ServiceIdentity;
use crate::model::Protocol;

/// What a client may use of what an identity serves. Which requests it may make
/// is for the server to decide; here it is whether any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Whether requests may be made, on ports that speak HTTP.
    pub http: bool,
    /// Which ports of the workload may be connected to, where TCP is spoken;
    /// `None` is none of them.
    pub ports: Option<PortGrant>,
}

impl Grant {
    /// What targets of one destination let a source do; `None` when that is nothing.
    pub(super) fn of(targets: &[Arc<LinkedTarget>], source: &ServiceIdentity) -> Option<Self> {
        let mut grant = Self { http: false, ports: None };
        for target in targets.iter().filter(|target| target.sources.contains(source)) {
            grant.http |= target.requests.is_some();
            match &target.ports {
                Some(PortGrant::Any) => add_ports(&mut grant.ports, None),
                Some(PortGrant::These(ports)) => add_ports(&mut grant.ports, Some(ports)),
                None => {}
            }
        }
        grant.some()
    }

    /// The part of it that matters for an identity behind a service; `None` when
    /// that is nothing.
    #[must_use]
    pub fn within(&self, service: &LinkedService, identity: &ServiceIdentity) -> Option<Self> {
        let of_identity = |is_http: bool| {
            let ports = service.ports.values().filter(move |port| port.protocol.is_http() == is_http);
            ports.flat_map(|port| &port.targets).filter(|(who, _)| who == identity).map(|(_, target)| target)
        };
        let ports = match &self.ports {
            Some(PortGrant::These(ports)) => {
                let served = of_identity(false).map(|target| target.get());
                Some(PortGrant::These(served.filter(|target| ports.contains(target)).collect()))
            }
            Some(PortGrant::Any) => of_identity(false).next().map(|_| PortGrant::Any),
            None => None,
        };
        let ports = ports.filter(|ports| !matches!(ports, PortGrant::These(none) if none.is_empty()));
        Self { http: self.http && of_identity(true).next().is_some(), ports }.some()
    }

    /// Whether a port of a workload may be used, by what is spoken there.
    #[must_use]
    pub fn opens(&self, protocol: Protocol, target_port: NonZeroU16) -> bool {
        if protocol.is_http() {
            self.http
        } else {
            self.ports.as_ref().is_some_and(|ports| ports.contains(target_port.get()))
        }
    }

    fn some(self) -> Option<Self> {
        (self.http || self.ports.is_some()).then_some(self)
    }
}
