//! Where the workloads behind one port of a service are reached.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::SocketAddress;
use super::facts::Facts;
use super::link_service::{Findings, LinkedEndpoint};
use crate::diagnostic::Severity;
use crate::model::Workload;
use crate::name::Hostname;

/// The endpoints of a port, and its members where the service is headless.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) is_headless: bool,
    pub(super) endpoints: BTreeMap<SocketAddress, LinkedEndpoint>,
    pub(super) members: BTreeMap<SocketAddress, LinkedEndpoint>,
}

impl Places {
    /// Adds a workload at all of its addresses, and at this port if it has one.
    pub(super) fn add_workload(
        &mut self,
        workload: &Workload,
        target: Option<NonZeroU16>,
        hostname: Option<Hostname>,
        is_ready: bool,
        findings: &mut Findings,
    ) {
        match target {
            Some(target) => {
                let place = (target, hostname.as_ref());
                self.add(workload, &workload.addresses, place, is_ready, findings);
            }
            None => drop(has_proxy(workload, is_ready, findings)),
        }
    }

    /// Adds addresses of a workload. Where they are of the other version of IP than its first one,
    /// that is added too: a service of one version, or of both in two slices, leads to the workload
    /// once.
    pub(super) fn add(
        &mut self,
        workload: &Workload,
        addresses: &[IpAddr],
        (target, hostname): (NonZeroU16, Option<&Hostname>),
        is_ready: bool,
        findings: &mut Findings,
    ) {
        let (true, Some(first)) = (has_proxy(workload, is_ready, findings), workload.addresses.first())
        else {
            return;
        };
        for address in addresses {
            let is_second = address.is_ipv4() != first.is_ipv4();
            self.put((*address, target), workload, is_second, hostname, is_ready);
            if is_second {
                self.put((*first, target), workload, false, hostname, is_ready);
            }
        }
    }

    fn put(
        &mut self,
        place: SocketAddress,
        workload: &Workload,
        is_second: bool,
        hostname: Option<&Hostname>,
        is_ready: bool,
    ) {
        let endpoint =
            || LinkedEndpoint { identity: workload.identity(), is_second, hostname: hostname.cloned() };
        if is_ready {
            self.endpoints.insert(place, endpoint());
        }
        // An address may have been that of another workload, which is about to end.
        if self.is_headless && (is_ready || !self.members.contains_key(&place)) {
            self.members.insert(place, endpoint());
        }
    }

    /// Leaves out members at addresses that services claim as their own: whoever
    /// dials one means the service.
    pub(super) fn leave_out_virtual(&mut self, facts: &Facts, findings: &mut Findings) {
        if !self.is_headless {
            return;
        }
        let mut is_own = |address: IpAddr| {
            let claim = facts.claims.get(&address).next();
            if let Some(claiming) = claim {
                let message = format!(
                    "a pod behind it has the address {address}, which is that of Service {claiming}, and is left out; give \
                     that service another one"
                );
                findings.add(Severity::Warning, "member-address-taken", "spec.clusterIP".to_owned(), message);
            }
            claim.is_none()
        };
        self.endpoints.retain(|(address, _), _| is_own(*address));
        self.members.retain(|(address, _), _| is_own(*address));
    }
}

/// Whether a workload can be reached through the mesh; where it serves and can't, that is said.
fn has_proxy(workload: &Workload, is_ready: bool, findings: &mut Findings) -> bool {
    if workload.proxy.is_none() && is_ready {
        findings.add(
            Severity::Warning,
            "endpoint-without-proxy",
            "spec.selector".to_owned(),
            format!("Pod {} has no proxy and is left out; inject it", workload.name),
        );
    }
    workload.proxy.is_some()
}
