//! What differs between two snapshots.

use std::collections::BTreeSet;

use crate::identity::{ProxyUuid, ServiceIdentity};
use crate::name::ServiceName;

/// What differs between one snapshot and the one before it.
///
/// Readers use it to redo only what is concerned. It may name too much, never
/// too little.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Settings of the mesh, its trust domains, or its set of namespaces: everything is concerned.
    pub settings: bool,
    /// Services that appeared, vanished, or whose ports, addresses, workloads,
    /// endpoints or split changed.
    pub services: BTreeSet<ServiceName>,
    /// Those of `services` of which proxies beside their workloads serve something else: what is
    /// spoken on their ports changed, or the object that made them.
    pub served: BTreeSet<ServiceName>,
    /// Identities whose clients, or what these may do, changed.
    pub access_to: BTreeSet<ServiceIdentity>,
    /// Identities that may use other ports or reach other identities than before.
    pub reach_of: BTreeSet<ServiceIdentity>,
    /// Proxies whose workload, or its services' ports, changed.
    pub proxies: BTreeSet<ProxyUuid>,
    /// Whether the roots of certificates changed. No proxy is told of them.
    pub roots: bool,
    /// Whether the list of findings changed.
    pub diagnostics: bool,
}

impl ChangeSet {
    /// Whether any proxy could be concerned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { settings, services, served, access_to, reach_of, proxies, roots: _, diagnostics: _ } =
            self;
        let nobody_serves = services.is_empty() && served.is_empty();
        !settings && nobody_serves && access_to.is_empty() && reach_of.is_empty() && proxies.is_empty()
    }

    /// Adds what another change, later or earlier, concerns.
    pub fn merge(&mut self, other: Self) {
        self.settings |= other.settings;
        self.services.extend(other.services);
        self.served.extend(other.served);
        self.access_to.extend(other.access_to);
        self.reach_of.extend(other.reach_of);
        self.proxies.extend(other.proxies);
        self.roots |= other.roots;
        self.diagnostics |= other.diagnostics;
    }
}
