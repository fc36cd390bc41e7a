//! The state-of-the-world dialect.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use osm_core::identity::ProxyId;

use super::core::Core;
use super::in_flight::Nonce;
use super::subscription::without_wildcard;
use super::{Dialect, ProtocolError, Received, Response, SessionOptions, SessionStatus};
use crate::resource::ResourceKind;
use crate::view::View;

/// One proxy's stream in the state-of-the-world dialect.
///
/// It is used as a [`DeltaSession`](super::DeltaSession) is. A response of
/// clusters or listeners holds all of them; one of another kind holds what
/// changed. The dialect has no words for the end of a single resource, and none
/// for what a proxy that connects anew has: unless it has everything, it is sent
/// everything, and clusters that are gone go before what used them has changed.
/// A cluster or listener that the proxy names when it refuses a response is at
/// fault, and no other: what is missing in a response is taken from the proxy, so
/// that they can't be tried one by one.
#[derive(Debug)]
pub struct SotwSession {
    core: Core,
}

/// What a request asks for.
struct Asked {
    names: Vec<String>,
    added: Vec<String>,
    gone: Vec<String>,
    wildcard: bool,
    /// Whether anything is named, the wildcard included.
    named: bool,
}

impl SotwSession {
    /// A session of this proxy, without a view yet.
    #[must_use]
    pub fn new(proxy: &ProxyId, options: Arc<SessionOptions>) -> Self {
        Self { core: Core::new(Dialect::Sotw, proxy, options) }
    }

    /// Takes in a request. One of a kind that is not served has no effect.
    ///
    /// # Errors
    /// When the stream has to end: the request is not this proxy's, or asks for
    /// more than is allowed. It has had no effect then.
    pub fn on_request(&mut self, request: DiscoveryRequest, now: Instant) -> Result<Received, ProtocolError> {
        self.core.check_node(request.node.as_ref().map(|node| node.id.as_str()))?;
        let Some(kind) = ResourceKind::from_type_url(&request.type_url) else {
            return Ok(Received::default());
        };
        let asked = self.asked(kind, request.resource_names);
        self.core.check_names(kind, &asked.added, asked.names.len())?;
        let refusal = request.error_detail.as_ref().map(|error| error.message.as_str());
        let mut received = self.core.on_answer(kind, &request.response_nonce, refusal, now);
        received.names = asked.added.len() + asked.gone.len();

        let state = self.core.kind_mut(kind);
        let is_first = !std::mem::replace(&mut state.interest.seen, true);
        // The names count whatever the nonce: requests come in order, and each says
        // all that is asked for at that time. A proxy that lets go of a name and
        // asks for it again before it has read the newest response would not be
        // told of it otherwise.
        let is_newest = Nonce::parse(&request.response_nonce) == state.last_nonce;
        let is_answer = received.acknowledged.is_some() || received.nack.is_some();
        let changed = self.ask(kind, &asked);
        if is_first {
            if asked.named {
                self.core.remember_users(kind);
            }
            self.core.remember_version(kind, &request.version_info);
            self.core.settle_version(kind);
        }
        if is_first || changed {
            self.core.release_held(false);
            self.core.note_sync();
        } else if !is_answer {
            received.names += asked.names.len();
            self.repeat(kind, &asked.names, is_newest);
        }
        Ok(received)
    }

    fn asked(&self, kind: ResourceKind, names: Vec<String>) -> Asked {
        let interest = &self.core.kind(kind).interest;
        // No name means everything, until there was a name (xDS: the legacy wildcard).
        let named = !names.is_empty();
        let legacy = !named && !interest.named && kind.has_wildcard();
        let (mut names, all) = without_wildcard(names);
        names.sort_unstable();
        names.dedup();
        let added = names.iter().filter(|name| !interest.names.contains(name)).cloned().collect();
        let is_gone = |name: &&str| names.binary_search_by(|other| other.as_str().cmp(name)).is_err();
        let known = interest.names.iter().map(|name| name.as_str());
        let gone = known.filter(is_gone).map(ToOwned::to_owned).collect();
        Asked { names, added, gone, wildcard: all || legacy, named }
    }

    /// Takes over what is asked for; says whether that is something else than before.
    fn ask(&mut self, kind: ResourceKind, asked: &Asked) -> bool {
        let interest = &mut self.core.kind_mut(kind).interest;
        let turned = interest.wildcard != asked.wildcard;
        interest.named |= asked.named;
        self.core.unsubscribe(kind, &asked.gone);
        if turned && !asked.wildcard {
            self.core.unsubscribe_all(kind);
        }
        self.core.subscribe(kind, &asked.added);
        if turned && asked.wildcard {
            self.core.subscribe_all(kind);
        }
        turned || !asked.added.is_empty() || !asked.gone.is_empty()
    }

    /// Answers a proxy that asks again for what it asked for before. Envoy does
    /// so for the endpoints of clusters that it warms anew: those are told again
    /// if there are any, else everything, unless the request was on its way when
    /// the newest response was. Clusters and listeners are never asked for in
    /// this way.
    fn repeat(&mut self, kind: ResourceKind, names: &[String], is_newest: bool) {
        let mut again = names.to_vec();
        if kind == ResourceKind::Endpoints {
            let warming = self.core.warming();
            again.retain(|name| warming.contains(name.as_str()));
        }
        if is_newest && again.is_empty() {
            again = names.to_vec();
        }
        if !kind.has_wildcard() && (is_newest || kind == ResourceKind::Endpoints) {
            self.core.subscribe(kind, &again);
        }
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
}
