//! What a session tells about itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use osm_core::diagnostic::Origin;

use super::core::Core;
use super::in_flight::Nonce;
use crate::resource::{Resource, ResourceKey, ResourceKind, Version};

/// What a request was, to whoever counts and logs.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The kind of resource it is about; `None` when it is one that is not served.
    pub kind: Option<ResourceKind>,
    /// How long after it was sent the response was acknowledged, if the request
    /// is an acknowledgement.
    pub acknowledged: Option<Duration>,
    /// What the proxy refused, if it did.
    pub nack: Option<Arc<Nack>>,
    /// How many names it asks for anew, lets go of or tells of.
    pub names: usize,
}

/// A response that a proxy refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// The kind of resource.
    pub kind: ResourceKind,
    /// The response.
    pub nonce: Nonce,
    /// What the proxy says about it.
    pub message: String,
    /// What is at fault, where the proxy names it; else all that was changed by the
    /// response. One of several is at fault then, and they are sent again one by
    /// one, to find it.
    pub suspects: Vec<Rejected>,
}

impl fmt::Display for Nack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} response {} refused: {}", self.kind, self.nonce, self.message)
    }
}

/// A resource in a refused response, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The resource.
    pub key: ResourceKey,
    /// Its version.
    pub version: Version,
    /// The objects and defaults that made it, most important first.
    pub origins: Box<[Origin]>,
}

impl Rejected {
    pub(super) fn new(resource: &Resource) -> Self {
        Self { key: resource.key.clone(), version: resource.version, origins: resource.origins.clone() }
    }
}

/// What a proxy asked for, of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// Nothing.
    None,
    /// Everything.
    Wildcard,
    /// So many names.
    Names(usize),
}

/// One kind of resource in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindStatus {
    /// The kind.
    pub kind: ResourceKind,
    /// What the proxy asked for.
    pub subscription: Subscription,
    /// How many resources it has or is being sent.
    pub delivered: usize,
    /// How many changes are ready to be sent.
    pub ready: usize,
    /// How many changes wait for something else first.
    pub held: usize,
    /// How many responses wait for their acknowledgement.
    pub in_flight: usize,
    /// How many resources it refused, so that it stays at their last good version.
    pub refused: usize,
}

/// A session at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The version of the view that is being delivered.
    pub view_version: Option<u64>,
    /// The newest version of which nothing is left to send or to wait for. What
    /// the proxy refused is excepted: nothing more can be done about that.
    pub synced_version: Option<u64>,
    /// Each kind, in sending order.
    pub kinds: [KindStatus; 5],
    /// The resources that the proxy refused, with what it said.
    pub refused: Vec<(Rejected, Arc<Nack>)>,
    /// How often something was sent although what it depends on was never
    /// acknowledged.
    pub gate_timeouts: u64,
    /// How many names were looked at since the start: the work done.
    pub work: u64,
}

impl SessionStatus {
    pub(super) fn of(core: &Core) -> Self {
        let kinds = ResourceKind::ALL.map(|kind| {
            let state = core.kind(kind);
            let subscription = match (state.interest.wildcard, state.interest.names.len()) {
                (true, _) => Subscription::Wildcard,
                (false, 0) => Subscription::None,
                (false, names) => Subscription::Names(names),
            };
            KindStatus {
                kind,
                subscription,
                delivered: state.delivered,
                ready: state.ready.len(),
                held: state.held.len(),
                in_flight: state.in_flight.len(),
                refused: state.refused.len(),
            }
        });
        let refused = ResourceKind::ALL.into_iter().flat_map(|kind| core.kind(kind).refused.values());
        Self {
            view_version: core.view_version(),
            synced_version: core.synced_version(),
            kinds,
            refused: refused.map(|r| (Rejected::new(&r.resource), Arc::clone(&r.nack))).collect(),
            gate_timeouts: core.gate_timeouts(),
            work: core.work(),
        }
    }
}
