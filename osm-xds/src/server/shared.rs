//! What all connections and streams of a server share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ServerOptions;
use super::admission::Admission;
use super::authenticate::ProxyAuthenticator;
use super::refused::RefusedResources;
use super::registry::Registry;
use super::strangers::Strangers;
use crate::metrics::Metrics;
use crate::session::SessionOptions;
use crate::view::ViewSource;

/// What all connections and streams of a server share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) session_options: Arc<SessionOptions>,
    pub(super) views: Arc<dyn ViewSource>,
    pub(super) authenticator: Arc<dyn ProxyAuthenticator>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    /// Cancelled when the server is to end.
    pub(super) closing: CancellationToken,
    /// The room for clients that have not proved who they are.
    pub(super) strangers: Arc<Strangers>,
    /// The smaller room for those of them who have shown no certificate.
    pub(super) anonymous: Arc<Strangers>,
    pub(super) admission: Arc<Admission>,
    pub(super) refused: Arc<RefusedResources>,
}
