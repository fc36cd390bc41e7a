//! The two dialects of ADS as the server sees them.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use osm_core::identity::ProxyId;
use prost::Message;

use crate::session::{
    DeltaSession, Dialect, ProtocolError, Received, Response, Secrets, SessionOptions, SessionStatus,
    SotwSession,
};
use crate::view::View;

/// A session of one dialect.
pub(super) trait Protocol: Send + Sized + 'static {
    /// What proxies send.
    type Request: Message + Default + 'static;
    /// Which one it is.
    const DIALECT: Dialect;

    /// Who sends the request, if it says so.
    fn node(request: &Self::Request) -> Option<&Node>;
    fn begin(proxy: &ProxyId, options: Arc<SessionOptions>) -> Self;
    fn on_request(&mut self, request: Self::Request, now: Instant) -> Result<Received, ProtocolError>;
    fn on_view(&mut self, view: Arc<View>);
    fn next_response(&mut self, now: Instant) -> Option<Response>;
    /// When to ask for a response again although nothing has come in.
    fn deadline(&self) -> Option<Instant>;
    fn status(&self) -> SessionStatus;
    fn secrets(&self) -> Secrets;
    /// Whether everything was asked for that the view has, but for secrets.
    fn has_asked(&self) -> bool;
}

/// Whether a session has nothing left to send or to wait for. The versions alone
/// do not tell, since a view may change within one (a renewed certificate).
pub(super) fn is_synced(status: &SessionStatus) -> bool {
    let is_quiet = status.kinds.iter().all(|kind| kind.ready == 0 && kind.in_flight == 0);
    is_quiet && status.view_version.is_some() && status.view_version == status.synced_version
}

macro_rules! protocol {
    ($session:ty, $request:ty, $dialect:expr) => {
        impl Protocol for $session {
            type Request = $request;
            const DIALECT: Dialect = $dialect;

            fn node(request: &$request) -> Option<&Node> {
                request.node.as_ref()
            }

            fn begin(proxy: &ProxyId, options: Arc<SessionOptions>) -> Self {
                Self::new(proxy, options)
            }

            fn on_request(&mut self, request: $request, now: Instant) -> Result<Received, ProtocolError> {
                Self::on_request(self, request, now)
            }

            fn on_view(&mut self, view: Arc<View>) {
                Self::on_view(self, view);
            }

            fn next_response(&mut self, now: Instant) -> Option<Response> {
                Self::next_response(self, now)
            }

            fn deadline(&self) -> Option<Instant> {
                Self::deadline(self)
            }

            fn status(&self) -> SessionStatus {
                Self::status(self)
            }

            fn secrets(&self) -> Secrets {
                Self::secrets(self)
            }

            fn has_asked(&self) -> bool {
                Self::has_asked(self)
            }
        }
    };
}

protocol!(DeltaSession, DeltaDiscoveryRequest, Dialect::Delta);
protocol!(SotwSession, DiscoveryRequest, Dialect::Sotw);
