//! What a session says of secrets: a proxy that asks, lets go, accepts, refuses and applies parts of what it refuses, on
//! streams that break, never has anything that its session does not think possible.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use osm_core::identity::ProxyId;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::resource::{Resource, ResourceKind, Version};
use crate::session::{DeltaSession, Dialect, Response, Secrets, SessionOptions, SotwSession, UnknownSecret};
use crate::testing::{Request, resources};
use crate::view::{Layer, LayerId, View};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// The proxy asks for a name.
    Ask(usize),
    LetGo(usize),
    /// The view has this under a name from now on, or nothing.
    Show(usize, Option<u8>),
    /// The session says what it has to say.
    Say,
    /// The proxy reads a response.
    Read(Verdict),
    /// The session hears a request.
    Hear,
    Wait,
    Reconnect,
    /// The proxy starts anew, and has nothing.
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Accept,
    /// It refuses the response, and has applied these names of it.
    Refuse([bool; 3]),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => name.clone().prop_map(Step::Ask),
        1 => name.clone().prop_map(Step::LetGo),
        4 => (name, prop::option::weighted(0.9, 0..4_u8)).prop_map(|(name, note)| Step::Show(name, note)),
        4 => Just(Step::Say),
        3 => Just(Step::Read(Verdict::Accept)),
        1 => any::<[bool; 3]>().prop_map(|applied| Step::Read(Verdict::Refuse(applied))),
        5 => Just(Step::Hear),
        1 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

enum Session {
    Delta(DeltaSession),
    Sotw(SotwSession),
}

impl Session {
    fn new(dialect: Dialect) -> Self {
        let proxy = ProxyId::new("p".parse().expect("a name"), "shop/web".parse().expect("an identity"));
        let options =
            Arc::new(SessionOptions { max_outstanding: 2, response_bytes: 64, ..Default::default() });
        match dialect {
            Dialect::Delta => Self::Delta(DeltaSession::new(&proxy, options)),
            Dialect::Sotw => Self::Sotw(SotwSession::new(&proxy, options)),
        }
    }

    fn hear(&mut self, request: Request, now: Instant) {
        match (self, request) {
            (Self::Delta(session), Request::Delta(request)) => {
                drop(session.on_request(request, now).expect("good"))
            }
            (Self::Sotw(session), Request::Sotw(request)) => {
                drop(session.on_request(request, now).expect("good"))
            }
            _ => unreachable!("one dialect"),
        }
    }

    fn see(&mut self, view: Arc<View>) {
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

    fn secrets(&self) -> Secrets {
        match self {
            Self::Delta(session) => session.secrets(),
            Self::Sotw(session) => session.secrets(),
        }
    }
}

/// A proxy and its session.
struct World {
    dialect: Dialect,
    session: Session,
    now: Instant,
    version: u64,
    layer: LayerId,
    shown: BTreeMap<usize, Arc<Resource>>,
    /// What the proxy asks for, and what it has of that.
    names: BTreeSet<&'static str>,
    has: BTreeMap<&'static str, Arc<Resource>>,
    /// What it will tell that it has when it connects anew.
    tells: BTreeMap<&'static str, Version>,
    version_info: String,
    nonce: String,
    has_begun: bool,
    to_proxy: VecDeque<Response>,
    to_session: VecDeque<Request>,
}

impl World {
    fn new(dialect: Dialect) -> Self {
        let mut world = Self {
            dialect,
            session: Session::new(dialect),
            now: Instant::now(),
            version: 0,
            layer: LayerId::unique(),
            shown: BTreeMap::new(),
            names: BTreeSet::new(),
            has: BTreeMap::new(),
            tells: BTreeMap::new(),
            version_info: String::new(),
            nonce: String::new(),
            has_begun: false,
            to_proxy: VecDeque::new(),
            to_session: VecDeque::new(),
        };
        world.show();
        world
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask(name) => {
                self.names.insert(NAMES[name]);
                self.ask(&[NAMES[name]], &[]);
            }
            Step::LetGo(name) => {
                let name = NAMES[name];
                if self.names.remove(name) {
                    self.has.remove(name);
                    self.tells.remove(name);
                    self.ask(&[], &[name]);
                }
            }
            Step::Show(name, note) => {
                match note {
                    Some(note) => {
                        self.shown.insert(name, resources::secret(NAMES[name], &note.to_string()));
                    }
                    None => drop(self.shown.remove(&name)),
                }
                self.show();
            }
            Step::Say => self.to_proxy.extend(self.session.say(self.now)),
            Step::Read(verdict) => self.read(verdict),
            Step::Hear => {
                if let Some(request) = self.to_session.pop_front() {
                    self.session.hear(request, self.now);
                }
            }
            Step::Wait => self.now += Duration::from_secs(25),
            // It does not tell of the parts that it has of what it refused.
            Step::Reconnect
                if self.has.iter().any(|(name, has)| self.tells.get(name) != Some(&has.version)) => {}
            Step::Reconnect => self.connect(),
            Step::Restart => {
                self.has.clear();
                self.tells.clear();
                self.version_info.clear();
                self.connect();
            }
        }
    }

    fn show(&mut self) {
        self.version += 1;
        let layer = Layer::new(self.layer, self.shown.values().cloned());
        self.session.see(Arc::new(View::new(self.version, [Arc::new(layer)])));
    }

    fn connect(&mut self) {
        self.to_proxy.clear();
        self.to_session.clear();
        self.nonce.clear();
        self.has_begun = false;
        self.session = Session::new(self.dialect);
        self.show();
        if !self.names.is_empty() {
            let names: Vec<_> = self.names.iter().copied().collect();
            self.ask(&names, &[]);
        }
    }

    fn ask(&mut self, added: &[&str], gone: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let request = match self.dialect {
            Dialect::Delta => {
                let tells = self.tells.iter().filter(|_| is_first);
                Request::Delta(DeltaDiscoveryRequest {
                    resource_names_subscribe: owned(added),
                    resource_names_unsubscribe: owned(gone),
                    initial_resource_versions: tells
                        .map(|(name, version)| ((*name).to_owned(), version.to_string()))
                        .collect(),
                    ..delta()
                })
            }
            Dialect::Sotw => Request::Sotw(self.sotw(None)),
        };
        self.to_session.push_back(request);
    }

    fn sotw(&self, refusal: Option<Status>) -> DiscoveryRequest {
        let delta = delta();
        DiscoveryRequest {
            node: delta.node,
            type_url: delta.type_url,
            version_info: self.version_info.clone(),
            resource_names: self.names.iter().map(|name| (*name).to_owned()).collect(),
            response_nonce: self.nonce.clone(),
            error_detail: refusal,
            ..Default::default()
        }
    }

    fn read(&mut self, verdict: Verdict) {
        let Some(response) = self.to_proxy.pop_front() else { return };
        for resource in &response.resources {
            let place = NAMES.iter().position(|name| *name == resource.key.name.as_str()).expect("a name");
            let name = NAMES[place];
            if !self.names.contains(name) {
                continue;
            }
            match verdict {
                Verdict::Accept => {
                    self.tells.insert(name, resource.version);
                    self.has.insert(name, Arc::clone(resource));
                }
                Verdict::Refuse(applied) if applied[place] => {
                    self.has.insert(name, Arc::clone(resource));
                }
                Verdict::Refuse(_) => {}
            }
        }
        self.nonce = response.nonce.to_string();
        let refusal = match verdict {
            Verdict::Accept => None,
            Verdict::Refuse(_) => Some(Status { message: "bad".to_owned(), ..Status::default() }),
        };
        if refusal.is_none() {
            self.version_info = response.version_info;
        }
        let answer = match self.dialect {
            Dialect::Delta => Request::Delta(DeltaDiscoveryRequest {
                response_nonce: self.nonce.clone(),
                error_detail: refusal,
                ..delta()
            }),
            Dialect::Sotw => Request::Sotw(self.sotw(refusal)),
        };
        self.to_session.push_back(answer);
    }

    /// Nothing that the proxy has is impossible.
    fn check(&self) -> Result<(), TestCaseError> {
        let secrets = self.session.secrets();
        for (name, has) in &self.has {
            let possible = match &secrets {
                Secrets::Unknown => continue,
                Secrets::None => None,
                Secrets::These(names) => names.iter().find(|(other, _)| other.as_str() == *name),
            };
            let possible: Vec<_> = possible.iter().flat_map(|(_, possible)| possible).map(version).collect();
            let is_possible = possible.contains(&Ok(has.version)) || possible.contains(&Err(UnknownSecret));
            prop_assert!(is_possible, "{} is {}, not one of {:?}", name, has.version, possible);
        }
        Ok(())
    }

    /// What the proxy has is what the session says, and nothing else.
    fn check_exact(&self) -> Result<(), TestCaseError> {
        let Secrets::These(names) = self.session.secrets() else {
            prop_assert!(self.names.is_empty());
            return Ok(());
        };
        let said: BTreeMap<_, Vec<_>> = names
            .iter()
            .map(|(name, possible)| (name.as_str(), possible.iter().map(version).collect()))
            .collect();
        let has: BTreeMap<_, Vec<_>> =
            self.has.iter().map(|(name, has)| (*name, vec![Ok(has.version)])).collect();
        prop_assert_eq!(said, has);
        Ok(())
    }

    /// Everything arrives, and is accepted.
    fn settle(&mut self) {
        for _ in 0..30 {
            let before = self.now;
            for _ in 0..20 {
                for step in [Step::Hear, Step::Say, Step::Read(Verdict::Accept)] {
                    self.step(&step);
                }
            }
            self.now = before + Duration::from_secs(1);
        }
    }
}

fn version(possible: &Result<Arc<Resource>, UnknownSecret>) -> Result<Version, UnknownSecret> {
    possible.as_ref().map(|resource| resource.version).map_err(|unknown| *unknown)
}

fn delta() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "p".to_owned(), ..Default::default() }),
        type_url: ResourceKind::Secret.type_url().to_owned(),
        ..Default::default()
    }
}

/// What the session says is true at every step, and exact at rest.
fn says_what_is_so(dialect: Dialect, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(dialect);
    for step in steps {
        world.step(step);
        world.check()?;
    }
    for (place, name) in NAMES.iter().enumerate() {
        // Another one than any before, so that what was refused is told again.
        world.shown.insert(place, resources::secret(name, "last"));
    }
    world.show();
    world.settle();
    world.check_exact()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_session_thinks_possible_what_an_incremental_proxy_has(steps in vec(step(), 0..60)) {
        says_what_is_so(Dialect::Delta, &steps)?;
    }

    #[test]
    fn a_session_thinks_possible_what_a_state_of_the_world_proxy_has(steps in vec(step(), 0..60)) {
        says_what_is_so(Dialect::Sotw, &steps)?;
    }
}
