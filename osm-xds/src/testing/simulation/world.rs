//! All that there is in a simulation, and what happens to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::identity::ServiceIdentity;
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;

use super::super::Request;
use super::faults::Faults;
use super::mesh::{Mesh, Objects};
use super::parts::Parts;
use super::plane::{Authority, Plane};
use super::proxy::{Letter, Proxy, Taste};
use super::queue::Queue;
use super::random::Random;
use super::report::{Property, Report};
use super::trace::{Happened, Trace};
use super::wake::{Task, Woken};
use super::{Broken, StreamId};
use crate::session::{Dialect, SessionOptions};

/// What an Envoy waits for what a warming cluster lacks (`initial_fetch_timeout`).
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// More than this many events are a loop.
const MAX_EVENTS: u64 = 300_000;

/// Something that is to happen.
pub(super) enum Event {
    Look(StreamId),
    Poll(Task),
    Read(StreamId, Box<Letter>),
    Hear(StreamId, Box<Request>),
    Notice(StreamId),
    Connect(usize),
    GiveUp(usize, u64),
    Change,
    Replay(u64),
    Trust,
    Sign(ServiceIdentity),
    Renew,
    Lose(usize),
    Silence(usize, bool),
    RestartProxy(usize),
    RestartPlane,
}

/// A simulation at one moment.
pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) options: Arc<SessionOptions>,
    pub(super) mesh_options: MeshOptions,
    pub(super) parts: Box<dyn Parts>,
    pub(super) random: Random,
    pub(super) queue: Queue<Event>,
    pub(super) woken: Woken,
    /// What time 0 is to the parts, which are told the time.
    epoch: Instant,
    pub(super) plane: Plane,
    pub(super) authority: Authority,
    pub(super) objects: Objects,
    pub(super) changes: VecDeque<Vec<SourceEvent>>,
    pub(super) proxies: Vec<Proxy>,
    /// The streams that are not broken, with their proxies.
    pub(super) links: BTreeMap<StreamId, usize>,
    pub(super) taste: Taste,
    /// When the last message was read or heard.
    pub(super) traffic: Duration,
    pub(super) trace: Trace,
    pub(super) report: Report,
    streams: u64,
}

impl World {
    pub(super) fn new(
        seed: u64,
        faults: Faults,
        mesh: Mesh,
        dialect: Option<Dialect>,
        options: Option<SessionOptions>,
        mut parts: Box<dyn Parts>,
    ) -> Self {
        let mut random = Random::new(seed);
        let options = Arc::new(options.unwrap_or_else(|| any_options(&mut random)));
        let taste = Taste::new(seed, faults.refused);
        let mut proxy = |id| {
            let any = if random.percent(50) { Dialect::Delta } else { Dialect::Sotw };
            let slow = random.percent(faults.slow_proxies);
            let window = if slow { 1 } else { 1 + random.place(16) };
            Proxy::new(id, dialect.unwrap_or(any), slow, window, &taste)
        };
        let proxies: Vec<_> = mesh.proxies().into_iter().map(&mut proxy).collect();
        let woken = Woken::default();
        let plane = Plane::new(0, mesh.options.clone(), &mut *parts, &woken);
        let report = Report { seed, proxies: proxies.len(), ..Report::default() };
        Self {
            faults,
            options,
            mesh_options: mesh.options,
            parts,
            random,
            queue: Queue::new(),
            woken,
            epoch: Instant::now(),
            plane,
            authority: Authority::default(),
            objects: mesh.objects,
            changes: mesh.changes.into(),
            proxies,
            links: BTreeMap::new(),
            taste,
            traffic: Duration::ZERO,
            trace: Trace::default(),
            report,
            streams: 0,
        }
    }

    /// The time as the parts are told it.
    pub(super) fn instant(&self) -> Instant {
        self.epoch + self.queue.now()
    }

    pub(super) fn note(&mut self, happened: Happened) {
        self.trace.add(self.queue.now(), happened);
    }

    /// Goes on until nothing is to happen any more.
    pub(super) fn settle(&mut self, until: Duration) -> Result<(), Broken> {
        loop {
            for task in self.woken.take() {
                let delay = self.random.within(&self.faults.delay) / 8;
                self.queue.add_after(delay, Event::Poll(task));
            }
            let Some(event) = self.queue.next() else { return Ok(()) };
            self.report.events += 1;
            if self.report.events > MAX_EVENTS || self.queue.now() > until {
                let message = format!("it does not come to rest: {} events are to come", self.queue.len());
                return Err(Broken::new(Property::Progress, message));
            }
            self.happen(event)?;
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Look(id) => self.pump(id)?,
            Event::Poll(Task::Snapshots(generation)) => {
                if generation == self.plane.generation {
                    self.plane.take_in_snapshots(&self.woken);
                    self.serve_certificates();
                }
            }
            Event::Poll(Task::Feed(id)) => self.feed(id)?,
            Event::Read(id, letter) => self.read(id, &letter)?,
            Event::Hear(id, request) => self.hear(id, *request)?,
            Event::Notice(id) => {
                self.note(Happened::Noticed(id));
                self.plane.close(id);
                self.serve_certificates();
            }
            Event::Connect(place) => self.connect(place),
            Event::GiveUp(place, warm) => self.give_up(place, warm)?,
            Event::Change => self.change(),
            Event::Replay(generation) => self.replay(generation),
            Event::Trust => self.renew_trust(),
            Event::Sign(identity) => self.sign(identity),
            Event::Renew => self.renew(),
            Event::Lose(place) => self.lose(place, true),
            Event::Silence(place, silent) => self.silence(place, silent),
            Event::RestartProxy(place) => {
                self.lose(place, true);
                self.note(Happened::ProxyRestarted(self.proxies[place].id.to_string()));
                self.proxies[place].restart(&self.taste);
            }
            Event::RestartPlane => self.restart_plane(),
        }
        Ok(())
    }

    fn change(&mut self) {
        let Some(events) = self.changes.pop_front() else { return };
        self.note(Happened::Changed(events.clone()));
        self.report.changes += 1;
        self.objects.take(&events);
        // A source that is not there yet will tell it with everything.
        if self.plane.ready {
            self.plane.catalog.take_in(events);
        }
    }

    fn replay(&mut self, generation: u64) {
        if generation != self.plane.generation {
            return;
        }
        self.note(Happened::Replayed);
        self.plane.ready = true;
        self.plane.catalog.take_in(self.objects.told_anew());
    }

    fn renew_trust(&mut self) {
        self.authority.trust += 1;
        self.note(Happened::Trust(self.authority.trust));
        self.authority.tell_trust(&mut *self.plane.engine);
    }

    fn sign(&mut self, identity: ServiceIdentity) {
        self.authority.signing.remove(&identity);
        let number = self.authority.certificates.entry(identity.clone()).or_default();
        *number += 1;
        let number = *number;
        self.authority.tell(&mut *self.plane.engine, &identity);
        self.note(Happened::Certificate(identity, number));
    }

    /// Renews one certificate, or all roots.
    fn renew(&mut self) {
        let known: Vec<_> = self.authority.certificates.keys().cloned().collect();
        match self.random.place(known.len() + 1) {
            0 => self.renew_trust(),
            place => self.sign(known[place - 1].clone()),
        }
    }

    /// Watches the certificates of the identities that have proxies.
    pub(super) fn serve_certificates(&mut self) {
        for identity in self.plane.engine.turned() {
            let told = self.plane.engine.serves(&identity)
                && self.authority.tell(&mut *self.plane.engine, &identity);
            let wanted = !told && self.plane.engine.serves(&identity);
            if wanted && self.authority.signing.insert(identity.clone()) {
                let delay = self.random.within(&self.faults.signing);
                self.queue.add_after(delay, Event::Sign(identity));
            }
        }
    }

    fn connect(&mut self, place: usize) {
        self.streams += 1;
        self.report.streams += 1;
        let id = StreamId(self.streams);
        self.note(Happened::Connected(self.proxies[place].id.to_string(), id));
        self.links.insert(id, place);
        self.proxies[place].begin(id);
        let requests = self.proxies[place].envoy.connect();
        self.say(place, requests);
    }

    /// Breaks the stream of a proxy.
    pub(super) fn lose(&mut self, place: usize, again: bool) {
        let proxy = &mut self.proxies[place];
        let lost = proxy.stream.take();
        if let Some(id) = lost {
            proxy.envoy.disconnect();
            self.links.remove(&id);
            self.note(Happened::Lost(id));
            let delay = self.random.within(&(Duration::ZERO..=Duration::from_millis(800)));
            self.queue.add_after(delay, Event::Notice(id));
        }
        let proxy = &mut self.proxies[place];
        if again && lost.is_some() && !std::mem::replace(&mut proxy.connecting, true) {
            let delay = self.random.within(&(Duration::from_millis(1)..=Duration::from_millis(900)));
            self.queue.add_after(delay, Event::Connect(place));
        }
    }

    fn silence(&mut self, place: usize, silent: bool) {
        let proxy = &mut self.proxies[place];
        proxy.silent = silent;
        proxy.was_silent |= silent;
        let requests = proxy.envoy.keep_silent(silent);
        self.note(Happened::Silence(self.proxies[place].id.to_string(), silent));
        self.say(place, requests);
    }

    fn restart_plane(&mut self) {
        self.note(Happened::ControlPlaneRestarted);
        for place in 0..self.proxies.len() {
            self.lose(place, true);
        }
        let (generation, options) = (self.plane.generation + 1, self.mesh_options.clone());
        self.plane = Plane::new(generation, options, &mut *self.parts, &self.woken);
        self.authority.tell_trust(&mut *self.plane.engine);
        let delay = self.random.within(&(Duration::ZERO..=Duration::from_millis(1500)));
        self.queue.add_after(delay, Event::Replay(generation));
    }

    /// Sends what a proxy says.
    pub(super) fn say(&mut self, place: usize, requests: Vec<Request>) {
        let Some(id) = self.proxies[place].stream else { return };
        for request in requests {
            self.proxies[place].let_go.extend(request.lets_go());
            let delay = self.random.within(&self.faults.delay);
            let arrival = &mut self.proxies[place].arrival[1];
            *arrival = (*arrival).max(self.queue.now() + delay);
            self.queue.add(*arrival, Event::Hear(id, Box::new(request)));
        }
    }

    fn read(&mut self, id: StreamId, letter: &Letter) -> Result<(), Broken> {
        let Some(&place) = self.links.get(&id) else { return Ok(()) };
        self.traffic = self.queue.now();
        let nonce = letter.response.nonce.to_string();
        self.note(Happened::Read(id, nonce, letter.response.kind));
        if let Some(stream) = self.plane.streams.get_mut(&id) {
            stream.unread -= 1;
            self.queue.add_after(Duration::ZERO, Event::Look(id));
        }
        let proxy = &mut self.proxies[place];
        proxy.look(letter)?;
        proxy.note_lost(&letter.response, &self.taste);
        let seen = proxy.envoy.violations().len();
        let requests = proxy.envoy.receive(&letter.response);
        proxy.judge(seen, letter, &self.taste)?;
        self.say(place, requests);
        self.watch_warming(place);
        self.check_certainty(id)
    }

    /// Sets the timer of a proxy whose clusters have begun to warm.
    fn watch_warming(&mut self, place: usize) {
        let proxy = &mut self.proxies[place];
        if proxy.envoy.is_warm() {
            proxy.warm += 1;
        } else if proxy.timer != Some(proxy.warm) {
            proxy.timer = Some(proxy.warm);
            self.queue.add_after(FETCH_TIMEOUT, Event::GiveUp(place, proxy.warm));
        }
    }

    fn give_up(&mut self, place: usize, warm: u64) -> Result<(), Broken> {
        let proxy = &mut self.proxies[place];
        if proxy.warm != warm || proxy.envoy.is_warm() {
            return Ok(());
        }
        let vain: Vec<_> = proxy.envoy.warming().filter(|name| !proxy.doubtful.contains(*name)).collect();
        if let (Some(cluster), Some(_)) = (vain.first(), proxy.stream) {
            let message = format!("{} waits in vain for what {cluster} lacks", proxy.id);
            return Err(Broken::new(Property::Progress, message));
        }
        let requests = proxy.envoy.stop_waiting();
        proxy.warm += 1;
        self.report.vain_waits += 1;
        self.note(Happened::GaveUp(self.proxies[place].id.to_string()));
        self.say(place, requests);
        Ok(())
    }
}

/// Options of a session, small ones among them, so that responses are split and
/// wait for each other.
fn any_options(random: &mut Random) -> SessionOptions {
    let mut options = SessionOptions::default();
    let small = [500, 4_000, options.response_bytes];
    options.response_bytes = small[random.place(small.len())];
    let few = [4, 16, options.max_outstanding];
    options.max_outstanding = few[random.place(few.len())];
    options
}
