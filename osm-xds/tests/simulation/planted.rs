//! Faults planted at the doors of a control plane that has none: each is found
//! by one of a few seeds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::snapshot::{ChangeSet, MeshSnapshot};
use osm_xds::push::{Engine, SubscriptionId};
use osm_xds::resource::ResourceKind;
use osm_xds::session::{
    DeltaSession, Dialect, Nonce, ProtocolError, Received, Response, Secrets, SessionOptions, SessionStatus,
};
use osm_xds::testing::Request;
use osm_xds::testing::simulation::{
    Faults, Parts, Property, RealParts, Simulation, StreamSession, ViewEngine, ViewFeed,
};
use osm_xds::view::{View, ViewSender, ViewWatch};

/// How many seeds a planted fault may take to be found: a share of what CI runs.
const BUDGET: u64 = 60;

/// Expects that one of the first seeds turns red, by one of these properties.
fn is_found<P: Parts + 'static>(what: &str, parts: impl Fn() -> P, properties: &[Property]) {
    is_found_under(&Faults::none(), what, parts, properties);
}

/// Expects the same where these things go wrong.
pub(crate) fn is_found_under<P: Parts + 'static>(
    faults: &Faults,
    what: &str,
    parts: impl Fn() -> P,
    properties: &[Property],
) {
    let run =
        |seed| Simulation::new(seed).dialect(Dialect::Delta).faults(faults.clone()).parts(parts()).run();
    let Some(failure) = (0..BUDGET).find_map(|seed| run(seed).err()) else {
        panic!("{what}: not found by {BUDGET} seeds");
    };
    eprintln!("{what}: seed {}, {:?}: {}", failure.seed, failure.property, failure.message);
    assert!(properties.contains(&failure.property), "{failure}");
    let again = run(failure.seed).expect_err("a seed fails again");
    assert_eq!(again.to_string(), failure.to_string());
}

#[test]
fn the_real_parts_pass_where_planted_faults_are_found() {
    for seed in 0..BUDGET {
        let run = Simulation::new(seed).dialect(Dialect::Delta).faults(Faults::none()).parts(RealParts).run();
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_dropped_acknowledgement_gate_is_found() {
    is_found("no gate", || NoGate, &[Property::Order]);
}

#[test]
fn a_removal_before_what_replaces_it_is_found() {
    is_found("removal first", || RemovalFirst, &[Property::Order]);
}

#[test]
fn a_cache_key_without_the_namespace_is_found() {
    is_found("no namespace", || NoNamespace, &[Property::Content]);
}

#[test]
fn a_lost_wake_up_is_found() {
    is_found("lost wake-up", LostWakeUp::default, &[Property::Content, Property::Progress]);
}

/// A session that is told of an acknowledgement as soon as it has said something.
struct NoGate;

struct Ungated(DeltaSession);

impl Parts for NoGate {
    fn session(
        &mut self,
        proxy: &ProxyId,
        _: Dialect,
        options: &Arc<SessionOptions>,
    ) -> Box<dyn StreamSession> {
        Box::new(Ungated(DeltaSession::new(proxy, Arc::clone(options))))
    }
}

impl StreamSession for Ungated {
    fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError> {
        StreamSession::on_request(&mut self.0, request, now)
    }

    fn on_view(&mut self, view: Arc<View>) {
        self.0.on_view(view);
    }

    fn next_response(&mut self, now: Instant) -> Option<Response> {
        let response = self.0.next_response(now)?;
        let acknowledgement = discovery::DeltaDiscoveryRequest {
            type_url: response.kind.type_url().to_owned(),
            response_nonce: response.nonce.to_string(),
            ..Default::default()
        };
        drop(self.0.on_request(acknowledgement, now));
        Some(response)
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn status(&self) -> SessionStatus {
        self.0.status()
    }

    fn secrets(&self) -> Secrets {
        self.0.secrets()
    }
}

/// A session that says what is gone before it says what is there.
struct RemovalFirst;

struct Removing {
    inner: DeltaSession,
    view: Option<Arc<View>>,
    removals: VecDeque<Response>,
    made: u64,
}

impl Parts for RemovalFirst {
    fn session(
        &mut self,
        proxy: &ProxyId,
        _: Dialect,
        options: &Arc<SessionOptions>,
    ) -> Box<dyn StreamSession> {
        let inner = DeltaSession::new(proxy, Arc::clone(options));
        Box::new(Removing { inner, view: None, removals: VecDeque::new(), made: 0 })
    }
}

impl StreamSession for Removing {
    fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError> {
        StreamSession::on_request(&mut self.inner, request, now)
    }

    fn on_view(&mut self, view: Arc<View>) {
        if let Some(old) = self.view.replace(Arc::clone(&view)) {
            let gone = view.changed_since(&old).into_iter().filter(|key| view.get(key).is_none());
            let clusters = gone.filter(|key| key.kind == ResourceKind::Cluster).map(|key| key.name);
            let removed: Vec<_> = clusters.collect();
            if !removed.is_empty() {
                self.made += 1;
                self.removals.push_back(Response {
                    dialect: Dialect::Delta,
                    kind: ResourceKind::Cluster,
                    // One that the session has not.
                    nonce: Nonce::parse(&(u64::MAX - self.made).to_string()).expect("a number"),
                    version_info: String::new(),
                    resources: Vec::new(),
                    removed,
                });
            }
        }
        self.inner.on_view(view);
    }

    fn next_response(&mut self, now: Instant) -> Option<Response> {
        self.removals.pop_front().or_else(|| self.inner.next_response(now))
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn status(&self) -> SessionStatus {
        self.inner.status()
    }

    fn secrets(&self) -> Secrets {
        self.inner.secrets()
    }
}

/// Views from a cache whose key is the account without its namespace: who comes
/// second is shown what was compiled for the first.
struct NoNamespace;

struct Confused {
    inner: Engine,
    first: BTreeMap<String, ProxyId>,
}

impl Parts for NoNamespace {
    fn engine(&mut self, snapshot: Arc<MeshSnapshot>) -> Box<dyn ViewEngine> {
        Box::new(Confused { inner: Engine::new(snapshot), first: BTreeMap::new() })
    }
}

impl ViewEngine for Confused {
    fn subscribe(&mut self, id: SubscriptionId, proxy: ProxyId, sender: ViewSender) {
        let account = proxy.identity.service_account.to_string();
        let first = self.first.entry(account).or_insert(proxy).clone();
        self.inner.subscribe(id, first, sender);
    }

    fn unsubscribe(&mut self, id: SubscriptionId) {
        self.inner.unsubscribe(id);
    }

    fn on_snapshot(&mut self, snapshot: Arc<MeshSnapshot>, change: &ChangeSet) {
        self.inner.on_snapshot(snapshot, change);
    }

    fn on_trust(&mut self, pem: &str) {
        self.inner.on_trust(pem);
    }

    fn on_certificate(&mut self, identity: &ServiceIdentity, chain: &str, key: &str) {
        self.inner.on_certificate(identity, chain, key);
    }

    fn turned(&mut self) -> Vec<ServiceIdentity> {
        self.inner.turned()
    }

    fn serves(&self, identity: &ServiceIdentity) -> bool {
        self.inner.serves(identity)
    }

    fn is_idle(&self) -> bool {
        self.inner.is_idle()
    }
}

/// A watch of which one notification in eight is lost.
#[derive(Default)]
struct LostWakeUp {
    made: u64,
}

struct Sleepy {
    inner: Box<dyn ViewFeed>,
    polls: u64,
}

impl Parts for LostWakeUp {
    fn feed(&mut self, watch: ViewWatch) -> Box<dyn ViewFeed> {
        self.made += 1;
        Box::new(Sleepy { inner: RealParts.feed(watch), polls: self.made })
    }
}

impl ViewFeed for Sleepy {
    fn poll_view(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<View>>> {
        self.polls += 1;
        if self.polls.is_multiple_of(8) {
            return self.inner.poll_view(&mut Context::from_waker(Waker::noop()));
        }
        self.inner.poll_view(context)
    }
}
