//! A session of either dialect, and a small mesh whose view it delivers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;
use osm_xds::resource::Resource;
use osm_xds::session::{
    DeltaSession, ProtocolError, Received, Response, SessionOptions, SessionStatus, SotwSession,
};
use osm_xds::testing::resources;
use osm_xds::view::{Layer, LayerId, View};

use super::request::Request;
use crate::fuzzing::script::Script;

/// The node of the proxy.
pub(super) const NODE: &str = "till-1";
/// How many services there are at most.
pub(super) const SERVICES: usize = 4;
/// Versions that a proxy may say it has.
pub(super) const VERSIONS: [&str; 4] = ["", "0000000000000000", "ffffffffffffffff", "x"];

/// A session of one of the dialects.
pub(super) enum Session {
    Delta(DeltaSession),
    Sotw(SotwSession),
}

impl Session {
    pub(super) fn new(is_delta: bool, options: Arc<SessionOptions>) -> Self {
        let proxy = ProxyId::new(NODE.parse().expect("a name"), "shop/till".parse().expect("an identity"));
        if is_delta {
            Self::Delta(DeltaSession::new(&proxy, options))
        } else {
            Self::Sotw(SotwSession::new(&proxy, options))
        }
    }

    pub(super) fn is_delta(&self) -> bool {
        matches!(self, Self::Delta(_))
    }

    pub(super) fn on_request(&mut self, request: &Request, now: Instant) -> Result<Received, ProtocolError> {
        match (self, request.clone()) {
            (Self::Delta(session), Request::Delta(request)) => session.on_request(request, now),
            (Self::Sotw(session), Request::Sotw(request)) => session.on_request(request, now),
            _ => panic!("a request of the other dialect"),
        }
    }

    pub(super) fn on_view(&mut self, view: Arc<View>) {
        match self {
            Self::Delta(session) => session.on_view(view),
            Self::Sotw(session) => session.on_view(view),
        }
    }

    pub(super) fn next_response(&mut self, now: Instant) -> Option<Response> {
        match self {
            Self::Delta(session) => session.next_response(now),
            Self::Sotw(session) => session.next_response(now),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Delta(session) => session.deadline(),
            Self::Sotw(session) => session.deadline(),
        }
    }

    pub(super) fn status(&self) -> SessionStatus {
        match self {
            Self::Delta(session) => session.status(),
            Self::Sotw(session) => session.status(),
        }
    }
}

/// What is to be delivered.
pub(super) struct World {
    /// What the resources of each service have as a note, and how they are used.
    services: BTreeMap<usize, u8>,
    secrets: BTreeMap<&'static str, u8>,
    layer: Layer,
    version: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            secrets: BTreeMap::new(),
            layer: Layer::new(LayerId::unique(), []),
            version: 0,
        }
    }
}

impl World {
    /// The view after a change of one service or secret.
    pub(super) fn change(&mut self, script: &mut Script<'_>) -> Arc<View> {
        let (what, note) = (script.below(SERVICES + 2), script.byte());
        match what {
            service if service < SERVICES && note.is_multiple_of(4) => drop(self.services.remove(&service)),
            service if service < SERVICES => drop(self.services.insert(service, note)),
            SERVICES => drop(self.secrets.insert("certificate", note)),
            _ => drop(self.secrets.insert("trust", note)),
        }
        let now: BTreeMap<_, _> =
            self.resources().into_iter().map(|resource| (resource.key.clone(), resource)).collect();
        let before = self.layer.iter().map(|resource| resource.key.clone());
        let gone: Vec<_> = before.filter(|key| !now.contains_key(key)).map(|key| (key, None)).collect();
        let changes = gone.into_iter().chain(now.into_iter().map(|(key, resource)| (key, Some(resource))));
        self.layer = self.layer.with_changes(changes);
        self.version += 1;
        Arc::new(View::new(self.version, [Arc::new(self.layer.clone())]))
    }

    fn resources(&self) -> Vec<Arc<Resource>> {
        let mut all: Vec<_> =
            self.secrets.iter().map(|(name, note)| resources::secret(name, &note.to_string())).collect();
        for (number, note) in &self.services {
            let (cluster, listener) = (format!("c{number}"), format!("l{number}"));
            let secrets: &[&str] = if note & 16 == 0 { &[] } else { &["certificate", "trust"] };
            let note_text = note.to_string();
            all.push(resources::cluster(&cluster, &note_text, secrets));
            all.push(resources::endpoints(&cluster, &note_text));
            if note & 32 == 0 {
                all.push(resources::tcp_listener(&listener, &note_text, &cluster));
            } else {
                let routes = format!("r{number}");
                all.push(resources::http_listener(&listener, &note_text, &routes));
                all.push(resources::routes(&routes, &note_text, &[&cluster]));
            }
        }
        all
    }
}
