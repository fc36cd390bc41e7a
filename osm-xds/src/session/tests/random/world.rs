//! A mesh, a session and a modelled Envoy, driven by random steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;
use proptest::prelude::*;

use crate::resource::{Resource, ResourceKind};
use crate::session::{Dialect, Response, SessionOptions};
use crate::testing::simulation::{Parts, RealParts, StreamSession};
use crate::testing::{FakeEnvoy, Request, resources};
use crate::view::{Layer, LayerId, View};

pub(super) const NODE: &str = "till-1";
pub(super) const SERVICES: usize = 4;
pub(super) const SECRETS: [&str; 2] = ["certificate", "trust"];
/// In the note of a resource that the proxy refuses.
pub(super) const BAD: &str = "bad";

/// What one service has in a view.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) cluster: Note,
    /// Whether its cluster needs the secrets.
    pub(super) tls: bool,
    pub(super) endpoints: Note,
    pub(super) listener: Note,
    /// HTTP with routes to these clusters, or TCP to its own.
    pub(super) routes: Option<(Note, BTreeSet<usize>)>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, tls, endpoints, listener, routes } = self;
        let tls = if *tls { "+tls" } else { "" };
        write!(f, "c={}{tls} e={} l={}", cluster.text(), endpoints.text(), listener.text())?;
        routes.iter().try_for_each(|(note, to)| write!(f, " r={}{to:?}", note.text()))
    }
}

/// What tells one version of a resource from another.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) number: u8,
    pub(super) bad: bool,
}

impl Note {
    fn text(&self) -> String {
        format!("{}{}", self.number, if self.bad { BAD } else { "" })
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A service becomes this, or goes.
    Service(usize, Option<Service>),
    /// A secret becomes this.
    Secret(usize, u8),
    /// The view of that moment reaches the session.
    Publish,
    /// The session says so many things.
    Say(usize),
    /// The proxy reads so many.
    Read(usize),
    /// The session reads so many requests.
    Hear(usize),
    /// The stream breaks; what was on its way is lost.
    Reconnect,
}

pub(super) fn note(bad: bool) -> impl Strategy<Value = Note> {
    (0..4u8, 0..12u8).prop_map(move |(number, luck)| Note { number, bad: bad && luck == 0 })
}

pub(super) fn service(bad: bool) -> impl Strategy<Value = Service> {
    let routes = prop::option::weighted(0.7, (note(bad), prop::collection::btree_set(0..SERVICES, 0..3)));
    (note(bad), any::<bool>(), note(bad), note(bad), routes).prop_map(
        |(cluster, tls, endpoints, listener, routes)| Service { cluster, tls, endpoints, listener, routes },
    )
}

pub(super) fn step(bad: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SERVICES, prop::option::weighted(0.8, service(bad))).prop_map(|(n, s)| Step::Service(n, s)),
        2 => (0..SECRETS.len(), 0..3u8).prop_map(|(n, note)| Step::Secret(n, note)),
        6 => Just(Step::Publish),
        6 => (1..4usize).prop_map(Step::Say),
        6 => (1..4usize).prop_map(Step::Read),
        6 => (1..4usize).prop_map(Step::Hear),
        1 => Just(Step::Reconnect),
    ]
}

fn session(dialect: Dialect) -> Box<dyn StreamSession> {
    // Small, so that responses are split and wait for each other. State of the
    // world cannot say that endpoints are gone: what Envoy waits for in vain
    // must not keep the next response away.
    let mut options = SessionOptions { response_bytes: 200, ..SessionOptions::default() };
    if dialect == Dialect::Delta {
        options.max_outstanding = 4;
    }
    let proxy = ProxyId::new(NODE.parse().expect("valid"), "shop/till".parse().expect("valid"));
    RealParts.session(&proxy, dialect, &Arc::new(options))
}

/// A mesh, a session and a proxy, and what is on its way between these two.
pub(super) struct World {
    pub(super) dialect: Dialect,
    pub(super) services: BTreeMap<usize, Service>,
    pub(super) secrets: BTreeMap<usize, u8>,
    pub(super) layer: Layer,
    pub(super) version: u64,
    pub(super) session: Box<dyn StreamSession>,
    pub(super) to_proxy: VecDeque<Response>,
    pub(super) to_session: VecDeque<Request>,
    pub(super) envoy: FakeEnvoy,
    pub(super) now: Instant,
    /// Whether a stream broke while clusters were warming: Envoy then waits for
    /// endpoints that it says it has.
    pub(super) broke_while_warming: bool,
    /// Whether Envoy may have to give up waiting for endpoints.
    pub(super) may_give_up: bool,
    /// Whether time had to pass.
    pub(super) waited: bool,
}

impl World {
    pub(super) fn new(dialect: Dialect) -> Self {
        let refuses = |_: &crate::resource::ResourceKey, body: &[u8]| {
            body.windows(BAD.len()).any(|part| part == BAD.as_bytes()).then(|| "it is bad".to_owned())
        };
        let mut envoy = FakeEnvoy::new(NODE, dialect).refusing(refuses);
        Self {
            dialect,
            services: BTreeMap::new(),
            secrets: BTreeMap::new(),
            layer: Layer::new(LayerId::unique(), []),
            version: 0,
            session: session(dialect),
            to_proxy: VecDeque::new(),
            to_session: envoy.connect().into(),
            envoy,
            now: Instant::now(),
            broke_while_warming: false,
            may_give_up: false,
            waited: false,
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Service(number, Some(service)) => drop(self.services.insert(*number, service.clone())),
            Step::Service(number, None) => drop(self.services.remove(number)),
            Step::Secret(number, note) => drop(self.secrets.insert(*number, *note)),
            Step::Publish => self.publish(),
            Step::Say(times) => drop((0..*times).map_while(|_| self.say()).count()),
            Step::Read(times) => drop((0..*times).map_while(|_| self.read()).count()),
            Step::Hear(times) => drop((0..*times).map_while(|_| self.hear()).count()),
            Step::Reconnect => self.reconnect(),
        }
    }

    pub(super) fn resources(&self) -> Vec<Arc<Resource>> {
        let mut all = Vec::new();
        for (number, note) in &self.secrets {
            all.push(resources::secret(SECRETS[*number], &note.to_string()));
        }
        for (number, service) in &self.services {
            let name = format!("c{number}");
            let secrets: &[&str] = if service.tls { &SECRETS } else { &[] };
            all.push(resources::cluster(&name, &service.cluster.text(), secrets));
            all.push(resources::endpoints(&name, &service.endpoints.text()));
            let (listener, routes) = (format!("l{number}"), format!("r{number}"));
            match &service.routes {
                Some((note, clusters)) => {
                    all.push(resources::http_listener(&listener, &service.listener.text(), &routes));
                    // A view is consistent: what a route names is there.
                    let there = clusters.iter().filter(|number| self.services.contains_key(number));
                    let clusters: Vec<String> = there.map(|number| format!("c{number}")).collect();
                    let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
                    all.push(resources::routes(&routes, &note.text(), &clusters));
                }
                None => all.push(resources::tcp_listener(&listener, &service.listener.text(), &name)),
            }
        }
        all
    }

    pub(super) fn publish(&mut self) {
        let now = self.resources();
        let kept: BTreeSet<_> = now.iter().map(|resource| resource.key.clone()).collect();
        let gone = self.layer.iter().map(|resource| resource.key.clone()).filter(|key| !kept.contains(key));
        let changes: Vec<_> = gone
            .map(|key| (key, None))
            .chain(now.into_iter().map(|resource| (resource.key.clone(), Some(resource))))
            .collect();
        self.layer = self.layer.with_changes(changes);
        self.version += 1;
        self.session.on_view(self.view());
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::new(View::new(self.version, [Arc::new(self.layer.clone())]))
    }

    pub(super) fn say(&mut self) -> Option<()> {
        let response = self.session.next_response(self.now)?;
        self.to_proxy.push_back(response);
        Some(())
    }

    pub(super) fn read(&mut self) -> Option<()> {
        let response = self.to_proxy.pop_front()?;
        self.to_session.extend(self.envoy.receive(&response));
        Some(())
    }

    pub(super) fn hear(&mut self) -> Option<()> {
        let request = self.to_session.pop_front()?;
        self.session.on_request(request, self.now).expect("the model asks for nothing that is not allowed");
        Some(())
    }

    pub(super) fn reconnect(&mut self) {
        self.broke_while_warming |= !self.envoy.is_warm();
        self.to_proxy.clear();
        self.session = session(self.dialect);
        if self.version > 0 {
            self.session.on_view(self.view());
        }
        self.to_session = self.envoy.connect().into();
    }

    /// Goes on until nothing happens any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.say().is_some() | self.read().is_some() | self.hear().is_some();
            if moved {
                continue;
            }
            if (self.broke_while_warming || self.may_give_up) && !self.envoy.is_warm() {
                self.to_session.extend(self.envoy.stop_waiting());
                continue;
            }
            match self.session.deadline().filter(|deadline| *deadline > self.now) {
                Some(deadline) => {
                    self.now = deadline;
                    self.waited = true;
                }
                None => return,
            }
        }
        panic!("it does not come to rest: {:?}", self.session.status());
    }

    /// The resources of the view that the proxy should have: those it asks for.
    pub(super) fn expected(&self, kind: ResourceKind) -> BTreeMap<String, Vec<u8>> {
        let names = self.envoy.asks_for(kind);
        let view = self.view();
        let wanted = view.iter(kind).filter(|r| kind.has_wildcard() || names.contains(r.key.name.as_str()));
        wanted.map(|resource| (resource.key.name.to_string(), resource.body.to_vec())).collect()
    }

    pub(super) fn is_bad(body: &[u8]) -> bool {
        body.windows(BAD.len()).any(|part| part == BAD.as_bytes())
    }
}
