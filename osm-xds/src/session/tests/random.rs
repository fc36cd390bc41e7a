//! Random streams: a modelled Envoy on a session, whatever comes in whatever
//! order, has in the end what the last view says, and nothing was broken on the
//! way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::identity::ProxyId;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::resource::{Resource, ResourceKind};
use crate::session::{DeltaSession, Dialect, Response, SessionOptions, SessionStatus, SotwSession};
use crate::testing::{FakeEnvoy, Request, references, resources};
use crate::view::{Layer, LayerId, View};

const NODE: &str = "till-1";
const SERVICES: usize = 4;
const SECRETS: [&str; 2] = ["certificate", "trust"];
/// In the note of a resource that the proxy refuses.
const BAD: &str = "bad";

/// What one service has in a view.
#[derive(Clone)]
struct Service {
    cluster: Note,
    /// Whether its cluster needs the secrets.
    tls: bool,
    endpoints: Note,
    listener: Note,
    /// HTTP with routes to these clusters, or TCP to its own.
    routes: Option<(Note, BTreeSet<usize>)>,
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
struct Note {
    number: u8,
    bad: bool,
}

impl Note {
    fn text(&self) -> String {
        format!("{}{}", self.number, if self.bad { BAD } else { "" })
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
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

fn note(bad: bool) -> impl Strategy<Value = Note> {
    (0..4u8, 0..12u8).prop_map(move |(number, luck)| Note { number, bad: bad && luck == 0 })
}

fn service(bad: bool) -> impl Strategy<Value = Service> {
    let routes = prop::option::weighted(0.7, (note(bad), prop::collection::btree_set(0..SERVICES, 0..3)));
    (note(bad), any::<bool>(), note(bad), note(bad), routes).prop_map(
        |(cluster, tls, endpoints, listener, routes)| Service { cluster, tls, endpoints, listener, routes },
    )
}

fn step(bad: bool) -> impl Strategy<Value = Step> {
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

enum Session {
    Delta(DeltaSession),
    Sotw(SotwSession),
}

impl Session {
    fn new(dialect: Dialect) -> Self {
        // Small, so that responses are split and wait for each other. State of the
        // world cannot say that endpoints are gone: what Envoy waits for in vain
        // must not keep the next response away.
        let mut options = SessionOptions { response_bytes: 200, ..SessionOptions::default() };
        if dialect == Dialect::Delta {
            options.max_outstanding = 4;
        }
        let options = Arc::new(options);
        let proxy = ProxyId::new(NODE.parse().expect("valid"), "shop/till".parse().expect("valid"));
        match dialect {
            Dialect::Delta => Self::Delta(DeltaSession::new(&proxy, options)),
            Dialect::Sotw => Self::Sotw(SotwSession::new(&proxy, options)),
        }
    }

    fn hear(&mut self, request: Request, now: Instant) {
        match (self, request) {
            (Self::Delta(session), Request::Delta(request)) => session.on_request(request, now),
            (Self::Sotw(session), Request::Sotw(request)) => session.on_request(request, now),
            _ => panic!("a request of the other dialect"),
        }
        .expect("the model asks for nothing that is not allowed");
    }

    fn on_view(&mut self, view: Arc<View>) {
        match self {
            Self::Delta(session) => session.on_view(view),
            Self::Sotw(session) => session.on_view(view),
        }
    }

    fn say(&mut self, now: Instant) -> Option<Response> {
        match self {
            Self::Delta(session) => session.next_response(now),
            Self::Sotw(session) => session.next_response(now),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Delta(session) => session.deadline(),
            Self::Sotw(session) => session.deadline(),
        }
    }

    fn status(&self) -> SessionStatus {
        match self {
            Self::Delta(session) => session.status(),
            Self::Sotw(session) => session.status(),
        }
    }
}

/// A mesh, a session and a proxy, and what is on its way between these two.
struct World {
    dialect: Dialect,
    services: BTreeMap<usize, Service>,
    secrets: BTreeMap<usize, u8>,
    layer: Layer,
    version: u64,
    session: Session,
    to_proxy: VecDeque<Response>,
    to_session: VecDeque<Request>,
    envoy: FakeEnvoy,
    now: Instant,
    /// Whether a stream broke while clusters were warming: Envoy then waits for
    /// endpoints that it says it has.
    broke_while_warming: bool,
    /// Whether Envoy may have to give up waiting for endpoints.
    may_give_up: bool,
    /// Whether time had to pass.
    waited: bool,
}

impl World {
    fn new(dialect: Dialect) -> Self {
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
            session: Session::new(dialect),
            to_proxy: VecDeque::new(),
            to_session: envoy.connect().into(),
            envoy,
            now: Instant::now(),
            broke_while_warming: false,
            may_give_up: false,
            waited: false,
        }
    }

    fn step(&mut self, step: &Step) {
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

    fn resources(&self) -> Vec<Arc<Resource>> {
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

    fn publish(&mut self) {
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

    fn view(&self) -> Arc<View> {
        Arc::new(View::new(self.version, [Arc::new(self.layer.clone())]))
    }

    fn say(&mut self) -> Option<()> {
        let response = self.session.say(self.now)?;
        self.to_proxy.push_back(response);
        Some(())
    }

    fn read(&mut self) -> Option<()> {
        let response = self.to_proxy.pop_front()?;
        self.to_session.extend(self.envoy.receive(&response));
        Some(())
    }

    fn hear(&mut self) -> Option<()> {
        let request = self.to_session.pop_front()?;
        self.session.hear(request, self.now);
        Some(())
    }

    fn reconnect(&mut self) {
        self.broke_while_warming |= !self.envoy.is_warm();
        self.to_proxy.clear();
        self.session = Session::new(self.dialect);
        if self.version > 0 {
            self.session.on_view(self.view());
        }
        self.to_session = self.envoy.connect().into();
    }

    /// Goes on until nothing happens any more.
    fn settle(&mut self) {
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
    fn expected(&self, kind: ResourceKind) -> BTreeMap<String, Vec<u8>> {
        let names = self.envoy.asks_for(kind);
        let view = self.view();
        let wanted = view.iter(kind).filter(|r| kind.has_wildcard() || names.contains(r.key.name.as_str()));
        wanted.map(|resource| (resource.key.name.to_string(), resource.body.to_vec())).collect()
    }

    fn is_bad(body: &[u8]) -> bool {
        body.windows(BAD.len()).any(|part| part == BAD.as_bytes())
    }
}

fn quiet_time() -> Duration {
    SessionOptions::default().acknowledgement_timeout
}

/// The proxy has in the end exactly what the view says, and no cluster was used
/// before it was active or went while it was in use.
fn ends_with_the_view(dialect: Dialect, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(dialect);
    for step in steps {
        world.step(step);
    }
    // All that is waited for comes in the end.
    for secret in 0..SECRETS.len() {
        world.secrets.entry(secret).or_insert(0);
    }
    world.publish();
    world.settle();
    for kind in ResourceKind::ALL {
        prop_assert_eq!(world.envoy.has(kind), &world.expected(kind), "{}s", kind);
    }
    prop_assert!(world.envoy.is_warm());
    let status = world.session.status();
    prop_assert_eq!(status.synced_version, Some(world.version), "{:?}", status);
    let reconnected = steps.iter().any(|step| matches!(step, Step::Reconnect));
    // Nobody knows then what the proxy uses, or whether what it says to have is warm.
    let excused = (reconnected && dialect == Dialect::Sotw) || world.broke_while_warming;
    if !excused {
        prop_assert_eq!(world.envoy.violations(), &[] as &[String]);
    }
    // State of the world cannot say that endpoints are gone that Envoy waits for.
    let may_wait = reconnected || dialect == Dialect::Sotw;
    prop_assert!(may_wait || !world.waited, "nothing waits for time to pass");
    prop_assert!(may_wait || status.gate_timeouts == 0);
    Ok(())
}

/// Bad resources are found and do not keep good ones away; when they have been
/// mended the proxy has everything.
fn bad_ones_hurt_nobody_else(dialect: Dialect, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(dialect);
    // State of the world cannot say that endpoints are gone.
    world.may_give_up = dialect == Dialect::Sotw;
    for secret in 0..SECRETS.len() {
        world.secrets.insert(secret, 0);
    }
    for step in steps {
        if let Step::Reconnect = step {
            // Envoy forgets that it applied the good parts of what it refused.
            world.settle();
        }
        world.step(step);
    }
    world.publish();
    world.settle();
    let refused: BTreeSet<_> = world.session.status().refused.into_iter().map(|(r, _)| r.key).collect();
    let view = world.view();
    for kind in ResourceKind::ALL {
        let has = world.envoy.has(kind);
        for (name, body) in world.expected(kind) {
            let key = resources::key(kind, &name);
            prop_assert!(has.get(&name).is_none_or(|body| !World::is_bad(body)), "{} was accepted", key);
            if World::is_bad(&body) {
                let needs = references(kind, &body).expect("a message").clusters;
                // It may have the cluster from a response that it refused for another.
                let waits =
                    needs.iter().any(|name| refused.contains(&resources::key(ResourceKind::Cluster, name)));
                prop_assert!(waits || refused.contains(&key), "{} is refused", key);
                continue;
            }
            prop_assert!(!refused.contains(&key), "{} is good", key);
            let target = view.get(&key).expect("it is expected");
            let waits = target.needs.iter().any(|need| refused.contains(need));
            prop_assert!(waits || has.get(&name) == Some(&body), "{} has arrived", key);
        }
    }
    // Mended, all arrives.
    for service in world.services.values_mut() {
        service.cluster.bad = false;
        service.endpoints.bad = false;
        service.listener.bad = false;
        if let Some((note, _)) = &mut service.routes {
            note.bad = false;
        }
    }
    world.publish();
    world.settle();
    let reconnected = steps.iter().any(|step| matches!(step, Step::Reconnect));
    for kind in ResourceKind::ALL {
        let mut has = world.envoy.has(kind).clone();
        if reconnected && dialect == Dialect::Delta && kind.has_wildcard() {
            // Envoy does not tell a new stream of the good parts of what it refused.
            has.retain(|name, _| world.expected(kind).contains_key(name));
        }
        prop_assert_eq!(has, world.expected(kind), "{}s", kind);
    }
    prop_assert_eq!(world.session.status().refused, vec![]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_incremental_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        ends_with_the_view(Dialect::Delta, &steps)?;
    }

    #[test]
    fn a_state_of_the_world_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        ends_with_the_view(Dialect::Sotw, &steps)?;
    }

    #[test]
    fn i9_bad_resources_hurt_no_incremental_proxy(steps in vec(step(true), 0..60)) {
        bad_ones_hurt_nobody_else(Dialect::Delta, &steps)?;
    }

    #[test]
    fn i9_bad_resources_hurt_no_state_of_the_world_proxy(steps in vec(step(true), 0..60)) {
        bad_ones_hurt_nobody_else(Dialect::Sotw, &steps)?;
    }

    /// Nothing is sent twice, over streams that broke when all was acknowledged
    /// too; but endpoints of changed clusters are.
    #[test]
    fn i7_nothing_is_sent_twice(steps in vec(step(false), 0..60)) {
        let mut world = World::new(Dialect::Delta);
        for step in &steps {
            world.step(step);
            // Who asks again on the way is answered again.
            world.settle();
        }
        world.publish();
        world.settle();
        for kind in ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Endpoints) {
            prop_assert_eq!(world.envoy.repeated(kind), 0, "{}s", kind);
        }
        let before = ResourceKind::ALL.map(|kind| world.envoy.received(kind));
        world.reconnect();
        world.settle();
        prop_assert_eq!(before, ResourceKind::ALL.map(|kind| world.envoy.received(kind)));
    }

    /// A proxy that never answers is told everything all the same.
    #[test]
    fn a_silent_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        let mut world = World::new(Dialect::Delta);
        drop(world.envoy.keep_silent(true));
        for secret in 0..SECRETS.len() {
            world.secrets.insert(secret, 0);
        }
        for step in steps.iter().filter(|step| !matches!(step, Step::Reconnect)) {
            world.step(step);
        }
        world.publish();
        world.settle();
        for _ in 0..10 {
            world.now += quiet_time();
            world.settle();
        }
        for kind in ResourceKind::ALL {
            prop_assert_eq!(world.envoy.has(kind), &world.expected(kind), "{}s", kind);
        }
    }
}
