//! The settings: which agent is asked, and whose documents are taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use osm_core::identity::TrustDomain;

use super::WorkloadEndpoint;
use crate::clock::{Clock, SystemClock};

/// Which agent is asked, and which trust domains are believed.
#[derive(Debug, Clone)]
pub struct WorkloadApiOptions {
    pub(super) endpoint: WorkloadEndpoint,
    pub(super) trust_domain: TrustDomain,
    pub(super) federated: BTreeSet<TrustDomain>,
    pub(super) clock: Arc<dyn Clock>,
}

impl WorkloadApiOptions {
    /// The agent at this endpoint, for a mesh of this trust domain. No other one is believed.
    #[must_use]
    pub fn new(endpoint: WorkloadEndpoint, trust_domain: TrustDomain) -> Self {
        Self { endpoint, trust_domain, federated: BTreeSet::new(), clock: Arc::new(SystemClock) }
    }

    /// Believes another trust domain as well: its roots, if the agent gives them, are roots of the mesh.
    ///
    /// A root of a mesh vouches for whatever names it signs, those of the mesh's own trust domain
    /// too. So this is for trust domains whose authorities are run as carefully as one's own.
    #[must_use]
    pub fn trusting(mut self, trust_domain: TrustDomain) -> Self {
        self.federated.insert(trust_domain);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether documents of a trust domain are taken.
    pub(super) fn believes(&self, trust_domain: &TrustDomain) -> bool {
        *trust_domain == self.trust_domain || self.federated.contains(trust_domain)
    }
}
