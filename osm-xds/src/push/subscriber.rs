//! One proxy that is sent views.

use osm_core::identity::ProxyId;

use super::class::ClassId;
use crate::client::ClientKind;
use crate::view::ViewSender;

/// Names one subscription of one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(super) u64);

impl SubscriptionId {
    /// Names a subscription; the caller sees to it that numbers are not used twice.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

/// A subscription: whose it is, and where its views go.
pub(super) struct Subscriber {
    pub(super) proxy: ProxyId,
    pub(super) client: ClientKind,
    pub(super) sender: ViewSender,
    /// `None` until the proxy's workload is known.
    pub(super) class: Option<ClassId>,
}
