//! A model of an Envoy's side of an ADS stream.

mod kind;
mod request;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3 as discovery;

use crate::resource::{ResourceKey, ResourceKind, Version};
use crate::session::{Dialect, Response};
use kind::{Answer, Kind};
pub use request::Request;
pub use world::Violation;
use world::World;

/// Decides whether a resource is refused: its key and body go in, the message of
/// the refusal comes out.
type Refuses = Box<dyn FnMut(&ResourceKey, &[u8]) -> Option<String> + Send>;

/// What Envoy 1.40 does on an ADS stream, as far as a control plane can tell.
///
/// It asks for all clusters, then for their endpoints and secrets; when they are
/// warm, for all listeners, and for the routes of those. A changed cluster is
/// warmed anew, and needs its endpoints to be told again; while any is warming,
/// answers about clusters wait. A refused response of clusters or listeners has
/// its good parts applied, one of other kinds nothing. What is gone is taken away
/// before the rest is added, and a listener is refused at a place that another one
/// has. What it has survives its streams.
///
/// Messages go in, requests come out; when they are delivered is the caller's
/// choice. It notes where make before break is broken ([`violations`](Self::violations)).
pub struct FakeEnvoy {
    node: String,
    dialect: Dialect,
    kinds: [Kind; 5],
    world: World,
    refuses: Refuses,
    silent: bool,
    node_sent: bool,
    connected: bool,
    out: Vec<Request>,
}

/// A response of either dialect.
struct Incoming {
    kind: ResourceKind,
    nonce: String,
    version_info: String,
    /// Name, version and body.
    resources: Vec<(String, String, Vec<u8>)>,
    removed: Vec<String>,
}

impl FakeEnvoy {
    /// A proxy that has nothing yet. `node` is its `node.id`.
    #[must_use]
    pub fn new(node: impl Into<String>, dialect: Dialect) -> Self {
        Self {
            node: node.into(),
            dialect,
            kinds: ResourceKind::ALL.map(|_| Kind::default()),
            world: World::default(),
            refuses: Box::new(|_, _| None),
            silent: false,
            node_sent: false,
            connected: false,
            out: Vec::new(),
        }
    }

    /// The same proxy, which refuses what this gives a message for.
    #[must_use]
    pub fn refusing(
        mut self,
        refuses: impl FnMut(&ResourceKey, &[u8]) -> Option<String> + Send + 'static,
    ) -> Self {
        self.refuses = Box::new(refuses);
        self
    }

    /// Keeps all answers back, or lets them go again: the requests are those
    /// that are due then.
    pub fn keep_silent(&mut self, silent: bool) -> Vec<Request> {
        self.silent = silent;
        self.flush();
        std::mem::take(&mut self.out)
    }

    /// Begins a stream, the first or another one, with the requests given.
    pub fn connect(&mut self) -> Vec<Request> {
        self.connected = true;
        self.node_sent = false;
        self.out.clear();
        for kind in ResourceKind::ALL {
            let state = &mut self.kinds[kind as usize];
            state.disconnect();
            let begins = state.started || kind == ResourceKind::Cluster;
            if begins && (kind.has_wildcard() || !state.names.is_empty()) {
                self.begin(kind);
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Notices that its stream is gone. What it has stays in force.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.out.clear();
        self.kinds.iter_mut().for_each(Kind::disconnect);
    }

    /// Takes in a response of a session, and gives the requests that follow.
    ///
    /// # Panics
    /// When it is not one that Envoy would understand.
    pub fn receive(&mut self, response: &Response) -> Vec<Request> {
        match self.dialect {
            Dialect::Delta => self.receive_delta(response.to_delta()),
            Dialect::Sotw => self.receive_sotw(response.to_sotw()),
        }
    }

    /// Takes in a message of the incremental dialect.
    ///
    /// # Panics
    /// As [`receive`](Self::receive).
    pub fn receive_delta(&mut self, message: discovery::DeltaDiscoveryResponse) -> Vec<Request> {
        let body = |resource: discovery::Resource| {
            let body = resource.resource.map(|any| any.value).unwrap_or_default();
            (resource.name, resource.version, body)
        };
        self.take_in(Incoming {
            kind: kind_of(&message.type_url),
            nonce: message.nonce,
            version_info: message.system_version_info,
            resources: message.resources.into_iter().map(body).collect(),
            removed: message.removed_resources,
        })
    }

    /// Takes in a message of the state-of-the-world dialect.
    ///
    /// # Panics
    /// As [`receive`](Self::receive).
    pub fn receive_sotw(&mut self, message: discovery::DiscoveryResponse) -> Vec<Request> {
        let kind = kind_of(&message.type_url);
        let named = |body: Vec<u8>| {
            let found = super::references(kind, &body).expect("a message of its kind");
            (found.name, String::new(), body)
        };
        let resources: Vec<_> = message.resources.into_iter().map(|any| named(any.value)).collect();
        let mut removed = Vec::new();
        if kind.has_wildcard() {
            let present: BTreeSet<&String> = resources.iter().map(|(name, ..)| name).collect();
            let has = self.kinds[kind as usize].applied.keys();
            removed = has.filter(|name| !present.contains(name)).cloned().collect();
        }
        self.kinds[kind as usize].nonce.clone_from(&message.nonce);
        let (nonce, version_info) = (message.nonce, message.version_info);
        self.take_in(Incoming { kind, nonce, version_info, resources, removed })
    }

    /// What the proxy has of a kind: bodies by name. Of clusters, those that are
    /// still warming included.
    #[must_use]
    pub fn has(&self, kind: ResourceKind) -> &BTreeMap<String, Vec<u8>> {
        &self.kinds[kind as usize].applied
    }

    /// The names it asks for, of a kind without wildcard.
    #[must_use]
    pub fn asks_for(&self, kind: ResourceKind) -> &BTreeSet<String> {
        &self.kinds[kind as usize].names
    }

    /// Whether no cluster is warming.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.world.warming.is_empty()
    }

    /// The clusters that are warming.
    pub fn warming(&self) -> impl Iterator<Item = &str> {
        self.world.warming.keys().map(String::as_str)
    }

    /// The version of a kind that it reports when it connects anew: that of the last
    /// response that it accepted (state of the world). Empty if there was none.
    #[must_use]
    pub fn reports(&self, kind: ResourceKind) -> &str {
        &self.kinds[kind as usize].version_info
    }

    /// What it has of a kind in another version than it will tell when it connects
    /// anew: the good parts of a response that it refused.
    #[must_use]
    pub fn untold(&self, kind: ResourceKind) -> Vec<&str> {
        let Kind { applied, versions, partial, .. } = &self.kinds[kind as usize];
        let is_untold = |name: &String, body: &[u8]| match self.dialect {
            Dialect::Delta => versions.get(name) != Some(&Version::of(body).to_string()),
            Dialect::Sotw => *partial,
        };
        applied.iter().filter(|(name, body)| is_untold(name, body)).map(|(name, _)| name.as_str()).collect()
    }

    /// Gives up waiting for what warming clusters lack, as Envoy does after
    /// `initial_fetch_timeout` (15 s unless set).
    pub fn stop_waiting(&mut self) -> Vec<Request> {
        self.world.stop_waiting();
        self.after_change();
        std::mem::take(&mut self.out)
    }

    /// Where something was used that was not there: a listener or route whose
    /// cluster was not active, a cluster that went while in use.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.world.violations
    }

    /// How many resources came that the proxy had in just this version already.
    #[must_use]
    pub fn repeated(&self, kind: ResourceKind) -> usize {
        self.kinds[kind as usize].repeated
    }

    /// How many resources of a kind came in all.
    #[must_use]
    pub fn received(&self, kind: ResourceKind) -> usize {
        self.kinds[kind as usize].received
    }

    fn take_in(&mut self, message: Incoming) -> Vec<Request> {
        let kind = message.kind;
        let is_whole = kind.has_wildcard();
        let state = &mut self.kinds[kind as usize];
        state.told = true;
        let told: Vec<String> = message.resources.iter().map(|(name, ..)| name.clone()).collect();
        let (mut refused, mut good) = (Vec::new(), Vec::new());
        let mut places = (kind == ResourceKind::Listener).then(|| self.world.places(&message.removed));
        for (name, version, body) in message.resources {
            if !is_whole && !state.names.contains(&name) {
                continue;
            }
            state.received += 1;
            state.repeated += usize::from(state.applied.get(&name) == Some(&body));
            let key = super::resources::key(kind, &name);
            let refusal = (self.refuses)(&key, &body).or_else(|| {
                let places = places.as_mut()?;
                places.take(&name, &body).err()
            });
            match refusal {
                // Envoy names clusters and listeners, and no others.
                Some(message) if is_whole => refused.push(format!("{name}: {message}")),
                Some(message) => refused.push(message),
                None => good.push((name, version, body)),
            }
        }
        let accepted = refused.is_empty();
        if accepted || is_whole {
            for name in message.removed {
                self.remove(kind, &name);
            }
            for (name, version, body) in good {
                self.apply(kind, name, version, body, accepted);
            }
        }
        if !accepted && kind == ResourceKind::Endpoints {
            // A cluster starts without them rather than not at all.
            told.iter().for_each(|name| self.world.endpoints_came(name));
        }
        let state = &mut self.kinds[kind as usize];
        state.partial = !accepted && (state.partial || is_whole);
        if accepted {
            state.version_info = message.version_info;
        }
        let refusal = (!accepted).then(|| match is_whole {
            true => format!("Error adding/updating {kind}(s) {}", refused.join(", ")),
            false => refused.join("; "),
        });
        let version_info = state.version_info.clone();
        state.answers.push_back(Answer { nonce: message.nonce, version_info, refusal });
        self.after_change();
        std::mem::take(&mut self.out)
    }

    fn apply(&mut self, kind: ResourceKind, name: String, version: String, body: Vec<u8>, accepted: bool) {
        let found = super::references(kind, &body).expect("a message of its kind");
        let state = &mut self.kinds[kind as usize];
        if accepted {
            state.versions.insert(name.clone(), version);
        }
        let before = state.applied.insert(name.clone(), body.clone());
        let is_new = before.as_ref() != Some(&body);
        self.world.apply(kind, &name, found, is_new);
        if kind == ResourceKind::Cluster && is_new && before.is_some() && self.dialect == Dialect::Sotw {
            // It asks again, in the words that it used before.
            self.ask_sotw(ResourceKind::Endpoints);
        }
    }

    fn remove(&mut self, kind: ResourceKind, name: &str) {
        let state = &mut self.kinds[kind as usize];
        state.versions.remove(name);
        if state.applied.remove(name).is_some() || kind == ResourceKind::Endpoints {
            self.world.remove(kind, name);
        }
    }

    /// Asks for what is referred to now, and answers what waited.
    fn after_change(&mut self) {
        self.world.warm_up();
        for kind in [ResourceKind::Endpoints, ResourceKind::Secret, ResourceKind::Route] {
            self.ask_for(kind, self.world.wanted(kind));
        }
        self.flush();
        let told = self.kinds[ResourceKind::Cluster as usize].told;
        if self.connected && told && self.is_warm() && !self.started(ResourceKind::Listener) {
            self.begin(ResourceKind::Listener);
        }
    }

    fn started(&self, kind: ResourceKind) -> bool {
        self.kinds[kind as usize].started
    }

    /// Lets the answers go that need not wait.
    fn flush(&mut self) {
        if self.silent || !self.connected {
            return;
        }
        for kind in ResourceKind::ALL {
            if kind == ResourceKind::Cluster && !self.is_warm() {
                continue;
            }
            while let Some(answer) = self.kinds[kind as usize].answers.pop_front() {
                self.answer(kind, answer);
            }
        }
    }
}

fn kind_of(type_url: &str) -> ResourceKind {
    ResourceKind::from_type_url(type_url).expect("a kind that was asked for")
}
