//! Addresses that pass from one listener to another: a proxy refuses one that comes
//! before the other has gone.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;
use osm_core::model::{MeshConfig, MeshObject, Namespace, Service, ServicePort, Workload};
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;
use osm_xds::resource::ResourceKind;
use osm_xds::session::{
    DeltaSession, Dialect, Nonce, ProtocolError, Received, Response, Secrets, SessionOptions, SessionStatus,
};
use osm_xds::testing::Request;
use osm_xds::testing::simulation::{Faults, Mesh, Parts, Property, RealParts, Simulation, StreamSession};
use osm_xds::view::View;

use crate::seeds;

const MEMBERS: u8 = 5;

/// A headless service of pods without names, where everybody may reach everybody.
/// Then a second one gets their places, by its name; then its protocol changes, and
/// with it its listeners' names; then it goes again.
fn mesh() -> Mesh {
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    config.permissive = true;
    let shop = Namespace::monitored("shop".parse().expect("valid"), "osm");
    let mut objects: Vec<MeshObject> = vec![config.into(), shop.into(), headless("web", "http").into()];
    objects.extend((0..MEMBERS).map(|number| pod(number).into()));
    let front = headless("front", "http");
    Mesh::new(objects)
        .then([SourceEvent::apply(front.clone())])
        .then([SourceEvent::apply(headless("front", "tcp"))])
        .then([SourceEvent::Delete(MeshObject::from(front).object_ref())])
}

fn headless(name: &str, protocol: &str) -> Service {
    let mut service = Service::new(format!("shop/{name}").parse().expect("valid"));
    service.headless = true;
    service.selector.insert("app".to_owned(), "web".to_owned());
    let mut port = ServicePort::new("main", NonZeroU16::new(8080).expect("not 0"));
    port.app_protocol = Some(protocol.to_owned());
    service.ports.push(port);
    service
}

fn pod(number: u8) -> Workload {
    let name = format!("shop/web-{number}").parse().expect("valid");
    let mut pod = Workload::new(name, "web".parse().expect("valid"));
    pod.labels.insert("app".to_owned(), "web".to_owned());
    pod.addresses.push([10, 244, 0, number + 1].into());
    pod.proxy = Some(format!("proxy-{number}").parse().expect("valid"));
    pod.ready = true;
    pod
}

/// The run of a seed in which each response says little.
fn run(seed: u64, parts: impl Parts + 'static) -> Simulation {
    let mut options = SessionOptions::default();
    options.response_bytes = 500;
    Simulation::new(seed).mesh(mesh()).session_options(options).faults(Faults::none()).parts(parts)
}

#[test]
fn a_listener_goes_before_another_one_comes_to_its_place_however_many_responses_that_takes() {
    for seed in seeds(8) {
        for dialect in [Dialect::Delta, Dialect::Sotw] {
            let played = run(seed, RealParts).dialect(dialect).run();
            played.unwrap_or_else(|failure| panic!("{failure}"));
        }
    }
}

#[test]
fn a_listener_that_comes_to_a_place_before_another_one_has_left_it_is_found() {
    let failure = run(0, ComingFirst).dialect(Dialect::Delta).run().expect_err("a refused listener");
    assert_eq!(failure.property, Property::Content, "{failure}");
}

/// A session that says which listeners are there before it says which are gone.
struct ComingFirst;

struct Coming {
    inner: DeltaSession,
    removals: VecDeque<Response>,
    made: u64,
}

impl Parts for ComingFirst {
    fn session(&mut self, proxy: &ProxyId, _: Dialect, _: &Arc<SessionOptions>) -> Box<dyn StreamSession> {
        let inner = DeltaSession::new(proxy, Arc::default());
        Box::new(Coming { inner, removals: VecDeque::new(), made: 0 })
    }
}

impl StreamSession for Coming {
    fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError> {
        StreamSession::on_request(&mut self.inner, request, now)
    }

    fn on_view(&mut self, view: Arc<View>) {
        self.inner.on_view(view);
    }

    fn next_response(&mut self, now: Instant) -> Option<Response> {
        if let Some(removal) = self.removals.pop_front() {
            return Some(removal);
        }
        let mut response = self.inner.next_response(now)?;
        if response.kind == ResourceKind::Listener && !response.resources.is_empty() {
            let removed = std::mem::take(&mut response.removed);
            self.made += 1;
            // One that the session has not.
            let nonce = Nonce::parse(&(u64::MAX - self.made).to_string()).expect("a number");
            let removal = Response { nonce, resources: Vec::new(), removed, ..response.clone() };
            self.removals.extend(Some(removal).filter(|removal| !removal.removed.is_empty()));
        }
        Some(response)
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
