//! The incremental dialect.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use osm_core::identity::ProxyId;

use super::core::Core;
use super::subscription::without_wildcard;
use super::{Dialect, ProtocolError, Received, Response, SessionOptions, SessionStatus};
use crate::resource::ResourceKind;
use crate::view::View;

/// One proxy's stream in the incremental dialect (delta xDS).
///
/// Feed it what comes in, then take responses until there is none; ask again
/// when something came in, when the transport can take more, or at
/// [`deadline`](Self::deadline).
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
///
/// use envoy_types::pb::envoy::config::core::v3::Node;
/// use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
/// use osm_core::identity::ProxyId;
/// use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
/// use osm_xds::session::DeltaSession;
/// use osm_xds::view::{Layer, LayerId, View};
///
/// let proxy = ProxyId::new("6f1a".parse()?, "shop/till".parse()?);
/// let mut session = DeltaSession::new(&proxy, Arc::default());
/// let key = ResourceKey::new(ResourceKind::Cluster, ResourceName::new("shop/till|80"));
/// let till = Arc::new(Resource::new(key, "…".into(), vec![], vec![]));
/// session.on_view(Arc::new(View::new(1, [Arc::new(Layer::new(LayerId::unique(), [till]))])));
/// let request = DeltaDiscoveryRequest {
///     node: Some(Node { id: "6f1a".into(), ..Node::default() }),
///     type_url: ResourceKind::Cluster.type_url().into(),
///     ..DeltaDiscoveryRequest::default()
/// };
/// let now = Instant::now();
/// session.on_request(request, now)?;
/// let response = session.next_response(now).expect("all clusters were asked for");
/// assert_eq!(response.resources.len(), 1);
/// assert!(session.next_response(now).is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeltaSession {
    core: Core,
}

impl DeltaSession {
    /// A session of this proxy, without a view yet.
    #[must_use]
    pub fn new(proxy: &ProxyId, options: Arc<SessionOptions>) -> Self {
        Self { core: Core::new(Dialect::Delta, proxy, options) }
    }

    /// Takes in a request. One of a kind that is not served has no effect.
    ///
    /// # Errors
    /// When the stream has to end: the request is not this proxy's, or asks for
    /// more than is allowed. It has had no effect then.
    pub fn on_request(
        &mut self,
        request: DeltaDiscoveryRequest,
        now: Instant,
    ) -> Result<Received, ProtocolError> {
        self.core.check_node(request.node.as_ref().map(|node| node.id.as_str()))?;
        let Some(kind) = ResourceKind::from_type_url(&request.type_url) else {
            return Ok(Received::default());
        };
        let (subscribe, all) = without_wildcard(request.resource_names_subscribe);
        let (unsubscribe, not_all) = without_wildcard(request.resource_names_unsubscribe);
        self.check(kind, &subscribe, &unsubscribe)?;
        if !self.core.kind(kind).interest.seen {
            self.core.check_known(kind, request.initial_resource_versions.keys())?;
        }
        let refusal = request.error_detail.as_ref().map(|error| error.message.as_str());
        let mut received = self.core.on_answer(kind, &request.response_nonce, refusal, now);
        received.names = subscribe.len() + unsubscribe.len() + request.initial_resource_versions.len();

        let interest = &mut self.core.kind_mut(kind).interest;
        let is_first = !std::mem::replace(&mut interest.seen, true);
        if is_first {
            self.core.remember_initial(kind, request.initial_resource_versions);
        }
        self.core.unsubscribe(kind, &unsubscribe);
        if not_all {
            self.core.unsubscribe_all(kind);
        }
        self.core.subscribe(kind, &subscribe);
        // In the first request no name means everything (xDS: the legacy wildcard).
        let names_nothing = subscribe.is_empty() && !all && !not_all;
        if all || (is_first && names_nothing && kind.has_wildcard()) {
            self.core.subscribe_all(kind);
        }
        if is_first {
            self.core.settle_initial(kind);
        }
        if is_first || all || not_all || !subscribe.is_empty() || !unsubscribe.is_empty() {
            self.core.release_held(false);
            self.core.note_sync();
        }
        Ok(received)
    }

    fn check(
        &self,
        kind: ResourceKind,
        subscribe: &[String],
        unsubscribe: &[String],
    ) -> Result<(), ProtocolError> {
        let names = &self.core.kind(kind).interest.names;
        let at_most = names.len() + subscribe.len();
        if at_most <= self.core.options().max_names {
            return self.core.check_names(kind, subscribe, at_most);
        }
        let gone: BTreeSet<&String> = unsubscribe.iter().filter(|name| names.contains(name)).collect();
        // A name that goes and comes in one request stays.
        let is_new = |name: &&String| !names.contains(name) || gone.contains(name);
        let added: BTreeSet<&String> = subscribe.iter().filter(is_new).collect();
        self.core.check_names(kind, subscribe, names.len() - gone.len() + added.len())
    }

    /// Delivers this view from now on. Costs what changed.
    pub fn on_view(&mut self, view: Arc<View>) {
        self.core.on_view(view);
    }

    /// The next response, if there is anything to say now.
    pub fn next_response(&mut self, now: Instant) -> Option<Response> {
        self.core.next_response(now)
    }

    /// When to ask for a response again although nothing has come in.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core.next_expiry()
    }

    /// What the session has done and still has to do.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        self.core.status()
    }

    /// Whether the proxy has asked for everything that the view has for it, but for secrets.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.core.has_asked()
    }

    /// What the proxy may have of certificates and trust.
    #[must_use]
    pub fn secrets(&self) -> super::Secrets {
        self.core.secrets()
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Core {
        &self.core
    }
}
