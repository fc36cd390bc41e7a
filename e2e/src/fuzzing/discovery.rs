//! Requests of a stranger on a discovery stream.
//!
//! A script is played against a session of either dialect: requests that are any
//! bytes, requests that make sense, views that change, time that passes. Beside it
//! stands the simplest model of what the proxy has asked for. Whether an honest
//! proxy ends with the right resources is not asked here; the session's own tests do.

mod asked;
mod request;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName, Version};
use osm_xds::session::{Dialect, Response, SessionOptions, SessionStatus, Subscription};
use osm_xds::testing::Request;
use osm_xds::testing::simulation::StreamSession;
use prost::Message;

use super::script::Script;
use asked::Asked;
use world::World;

/// The most steps of one script, so that each is quick.
const MAX_STEPS: usize = 200;
/// Bounds small enough to be reached.
const MAX_NAMES: usize = 8;
const MAX_NAME_LENGTH: usize = 16;
const MAX_OUTSTANDING: usize = 3;
const RESPONSE_BYTES: usize = 300;
/// What a session may remember of one kind: the names asked for, those that the
/// proxy said it has, and those of the view.
const MAX_REMEMBERED: usize = 2 * MAX_NAMES + 2 * world::SERVICES;

/// Plays bytes as what a proxy sends on a stream.
pub fn discovery(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let is_delta = script.byte().is_multiple_of(2);
    let mut play = Play::new(if is_delta { Dialect::Delta } else { Dialect::Sotw });
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        match script.below(8) {
            0 | 1 => play.view(&mut script),
            2 => {
                if let Some(request) = request::raw(play.dialect, script.chunk()) {
                    play.hear(request);
                }
            }
            3..=5 => {
                let request = request::sensible(play.dialect, &play.nonces, &mut script);
                play.hear(request);
            }
            6 => drop(play.say()),
            _ => play.wait(&mut script),
        }
        play.check();
    }
    play.finish();
}

/// A stream, and what must be true of it.
struct Play {
    dialect: Dialect,
    session: Box<dyn StreamSession>,
    world: World,
    asked: BTreeMap<ResourceKind, Asked>,
    nonces: Vec<String>,
    /// Every version that was ever in a view.
    known: BTreeMap<ResourceKey, BTreeSet<Version>>,
    now: Instant,
}

impl Play {
    fn new(dialect: Dialect) -> Self {
        let mut options = SessionOptions::default();
        options.max_names = MAX_NAMES;
        options.max_name_length = MAX_NAME_LENGTH;
        options.max_outstanding = MAX_OUTSTANDING;
        options.response_bytes = RESPONSE_BYTES;
        Self {
            dialect,
            session: world::session(dialect, options),
            world: World::default(),
            asked: ResourceKind::ALL.into_iter().map(|kind| (kind, Asked::default())).collect(),
            nonces: Vec::new(),
            known: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    fn view(&mut self, script: &mut Script<'_>) {
        let view = self.world.change(script);
        for resource in ResourceKind::ALL.into_iter().flat_map(|kind| view.iter(kind)) {
            self.known.entry(resource.key.clone()).or_default().insert(resource.version);
        }
        self.session.on_view(view);
    }

    /// A request is taken in wholly, or has no effect.
    fn hear(&mut self, request: Request) {
        let before = self.session.status();
        match self.session.on_request(request.clone(), self.now) {
            Ok(_) => {
                let kind = ResourceKind::from_type_url(request::type_url(&request));
                if let Some((kind, asked)) = kind.and_then(|kind| Some((kind, self.asked.get_mut(&kind)?))) {
                    asked.take(kind, &request);
                }
            }
            Err(error) => {
                assert_eq!(self.session.status(), before, "{error}");
                assert!(error.to_string().len() < 1_000, "{error}");
            }
        }
    }

    fn say(&mut self) -> Option<()> {
        let response = self.session.next_response(self.now)?;
        self.check_response(&response);
        self.nonces.push(response.nonce.to_string());
        Some(())
    }

    /// Time passes: up to when the session wants to be asked, or some seconds.
    fn wait(&mut self, script: &mut Script<'_>) {
        let seconds = Duration::from_secs(script.below(40) as u64);
        self.now = match self.session.deadline() {
            Some(deadline) if seconds.is_zero() => deadline.max(self.now),
            _ => self.now + seconds,
        };
    }

    /// What is said is something that was asked for, once, and as a view had it.
    fn check_response(&self, response: &Response) {
        let Response { kind, resources, removed, .. } = response;
        let asked = &self.asked[kind];
        let mut names: BTreeSet<&ResourceName> = BTreeSet::new();
        for resource in resources {
            assert_eq!(resource.key.kind, *kind);
            let name = &resource.key.name;
            assert!(asked.covers(name.as_str()), "{} was not asked for: {asked:?}", resource.key);
            assert!(names.insert(name), "{} is there twice", resource.key);
            let versions = self.known.get(&resource.key);
            let is_known = versions.is_some_and(|versions| versions.contains(&resource.version));
            let is_absence = self.dialect == Dialect::Sotw && is_without_endpoints(resource);
            assert!(is_known || is_absence, "{} is no view's", resource.key);
        }
        for name in removed {
            assert!(names.insert(name), "{kind} {name} is there and gone");
            assert!(asked.covers(name.as_str()), "{kind} {name} was not asked for: {asked:?}");
        }
        let is_new = !self.nonces.contains(&response.nonce.to_string());
        assert!(is_new, "nonce {} was used before", response.nonce);
        let may_be_split = self.dialect == Dialect::Delta || !kind.has_wildcard();
        let without_last: usize = resources.iter().rev().skip(1).map(|resource| resource.body.len()).sum();
        assert!(!may_be_split || without_last <= RESPONSE_BYTES, "{without_last} bytes of {kind}");
    }

    /// What is remembered of a stranger is bounded, whatever was said.
    fn check(&self) {
        let SessionStatus { kinds, .. } = self.session.status();
        for kind in &kinds {
            let asked = &self.asked[&kind.kind];
            match kind.subscription {
                Subscription::Wildcard => assert!(asked.wildcard, "{kind:?}"),
                Subscription::Names(count) => assert_eq!((asked.wildcard, asked.names.len()), (false, count)),
                Subscription::None => assert!(!asked.wildcard && asked.names.is_empty(), "{kind:?}"),
            }
            assert!(asked.names.len() <= MAX_NAMES, "{kind:?}");
            assert!(kind.in_flight <= MAX_OUTSTANDING, "{kind:?}");
            let remembered = kind.ready + kind.held + kind.refused;
            assert!(remembered <= MAX_REMEMBERED, "{remembered} names are remembered: {kind:?}");
        }
    }

    /// In the end it comes to rest, and does not ask to be asked at once.
    fn finish(&mut self) {
        let said = std::iter::from_fn(|| self.say()).take(1_000).count();
        assert!(said <= ResourceKind::ALL.len() * MAX_OUTSTANDING, "{said} responses to a silent proxy");
        self.check();
        let is_later = self.session.deadline().is_none_or(|deadline| deadline > self.now);
        assert!(is_later, "the session has nothing to say and does not wait");
    }
}

/// Whether a resource says of a cluster that it has no endpoints: the state of the
/// world has no other words for endpoints that do not exist.
fn is_without_endpoints(resource: &Resource) -> bool {
    let Ok(message) = ClusterLoadAssignment::decode(&*resource.body) else { return false };
    resource.key.kind == ResourceKind::Endpoints && message.endpoints.is_empty()
}
