//! The beginning of a stream: the first request, who sends it, and whether there
//! is room.

use std::sync::Arc;
use std::time::SystemTime;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use prost::Message;
use tonic::Status;

use super::{Open, shutting_down};
use crate::client::ClientKind;
use crate::server::acceptance::Acceptance;
use crate::server::account;
use crate::server::authenticate::{AuthenticationError, Evidence};
use crate::server::dialect::Protocol;
use crate::server::farewell::Reason;
use crate::server::grpc::Requests;
use crate::server::pace::Pace;
use crate::server::peer::{Peer, Stay};
use crate::server::registry::{About, Entry, Live, Sent};
use crate::server::shared::Shared;
use crate::server::watch::now;
use crate::view::{Refusal, RefusalKind, ViewWatch};

/// A stream whose proxy has not said anything yet.
pub(super) struct Opening<R> {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) bearer: Option<String>,
    pub(super) requests: Requests<R>,
}

impl<R: Message + Default + 'static> Opening<R> {
    /// Reads the first request and lets the proxy prove itself. `None` if the
    /// client went away.
    pub(super) async fn open<P: Protocol<Request = R>>(mut self) -> Result<Option<Open<P>>, Status> {
        let closing = self.shared.closing.clone();
        self.let_vouched_say_more().await;
        let first = tokio::time::timeout(self.shared.options.first_request_timeout, self.requests.message());
        let first = tokio::select! {
            biased;
            () = closing.cancelled() => return Err(shutting_down()),
            reason = self.peer.farewell.said() => return Err(self.farewell(reason)),
            first = first => first.map_err(|_| Status::deadline_exceeded("no discovery request came"))??,
        };
        let Some(request) = first else { return Ok(None) };
        let nobody = Node::default();
        let node = P::node(&request).unwrap_or(&nobody);
        let proxy = self.authenticate(node).await?;
        let stay = self.admit(&proxy)?;
        self.requests.allow(self.shared.options.max_request_bytes);
        let views = self.shared.views.subscribe_client(&proxy, ClientKind::of(node)).map_err(unseen)?;
        let mut open = self.begin::<P>(proxy, node, views, stay);
        open.on_request(request)?;
        open.on_view();
        Ok(Some(open))
    }

    /// A proxy with a token tells of all that it has when it connects anew; strangers with
    /// none have nothing to tell.
    async fn let_vouched_say_more(&mut self) {
        let Shared { options, authenticator, .. } = &*self.shared;
        let Some(bearer) = self.bearer.as_deref().filter(|_| self.peer.certificates.is_empty()) else {
            return;
        };
        let asked = tokio::time::timeout(options.authentication_timeout, authenticator.vouches(bearer));
        let is_vouched = tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => false,
            vouched = asked => vouched == Ok(true),
        };
        if is_vouched {
            self.requests.allow(options.max_vouched_request_bytes);
        }
    }

    fn admit(&self, proxy: &ProxyId) -> Result<Stay, Status> {
        let address = self.peer.address;
        let stay = self.peer.admit(&self.shared.admission, proxy, now()).map_err(|reason| {
            account::rejected(&self.shared.metrics, reason);
            tracing::debug!(%proxy, %address, ?reason, "stream refused");
            self.farewell(reason)
        })?;
        if stay.admitted.is_elsewhere {
            self.shared.metrics.elsewhere.inc();
            tracing::debug!(%proxy, %address, "proxy has streams from several addresses");
        }
        Ok(stay)
    }

    fn farewell(&self, reason: Reason) -> Status {
        reason.status(self.peer.address.port().into())
    }

    async fn authenticate(&self, node: &Node) -> Result<ProxyId, Status> {
        let Shared { options, authenticator, metrics, .. } = &*self.shared;
        if node.id.is_empty() {
            account::unauthenticated(metrics, "no_node");
            return Err(Status::invalid_argument("node.id is missing in the first request"));
        }
        let evidence = Evidence {
            peer_certificates: &self.peer.certificates,
            bearer: self.bearer.as_deref(),
            node,
            address: self.peer.address,
        };
        let decided =
            tokio::time::timeout(options.authentication_timeout, authenticator.authenticate(evidence));
        let error = match decided.await {
            Ok(Ok(proxy)) => return Ok(proxy),
            Ok(Err(error)) => error,
            Err(_) => AuthenticationError::Unavailable("who this is could not be decided in time".to_owned()),
        };
        tracing::debug!(address = %self.peer.address, %error, "stream refused");
        Err(match error {
            AuthenticationError::Unproved(reason) => {
                account::unauthenticated(metrics, "unproved");
                Status::unauthenticated(reason)
            }
            AuthenticationError::Denied(reason) => {
                account::unauthenticated(metrics, "denied");
                Status::permission_denied(reason)
            }
            AuthenticationError::Unavailable(reason) => {
                account::unauthenticated(metrics, "unavailable");
                Status::unavailable(reason)
            }
        })
    }

    fn begin<P: Protocol<Request = R>>(
        self,
        proxy: ProxyId,
        node: &Node,
        views: ViewWatch,
        stay: Stay,
    ) -> Open<P> {
        let session = P::begin(&proxy, Arc::clone(&self.shared.session_options));
        let connected_since = SystemTime::now();
        let Peer { address, ref server, .. } = *self.peer;
        let server = Arc::clone(server);
        let about = About { proxy, address, envoy_version: envoy_version(node), connected_since, server };
        let entry = Arc::new(Entry {
            about,
            live: Mutex::new(Live { session, sent: Sent::default(), acceptance: Acceptance::default() }),
        });
        let registration = self.shared.registry.register(Arc::clone(&entry), &views);
        self.shared.metrics.streams.get_or_create(&P::DIALECT.into()).inc();
        Open {
            pace: Pace::new(self.shared.options.rate(), now()),
            refusing: self.shared.refused.proxy(),
            shared: self.shared,
            requests: self.requests,
            views,
            entry,
            registration,
            seen: 0,
            stay,
            behind_since: None,
            seen_gate_timeouts: 0,
        }
    }
}

fn unseen(refusal: Refusal) -> Status {
    match refusal.kind {
        RefusalKind::Denied => Status::permission_denied(refusal.reason),
        RefusalKind::Unavailable => Status::unavailable(refusal.reason),
    }
}

/// The version in a node's user agent.
fn envoy_version(node: &Node) -> Option<String> {
    match node.user_agent_version_type.as_ref()? {
        UserAgentVersionType::UserAgentBuildVersion(build) => {
            let version = build.version.as_ref()?;
            Some(format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
        }
        UserAgentVersionType::UserAgentVersion(text) => Some(text.chars().take(64).collect()),
    }
}
