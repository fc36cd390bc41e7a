//! A whole mesh in no time: catalog, engine, sessions and modelled Envoys under
//! a virtual clock, with whatever can go wrong, and all of it from one seed.
//!
//! A [`Simulation`] runs on one thread and waits for nothing: it is a queue of
//! events ordered by virtual time. Messages take random time; streams break, and
//! each end notices on its own; proxies and the control plane start anew; proxies
//! are slow, silent, or refuse what they are sent; certificates come late and
//! change. At every step, and whenever everything has come to rest, each
//! [`Property`] is checked. A run that breaks one gives a [`Failure`], whose seed
//! gives the same run again.
//!
//! ```
//! use osm_xds::testing::simulation::{Faults, Mesh, Simulation};
//!
//! let mut responses = 0;
//! for seed in 0..3 {
//!     let faults = Faults { connection_losses: 8, ..Faults::default() };
//!     responses += Simulation::new(seed).faults(faults).mesh(Mesh::random(seed)).run()?.responses;
//! }
//! assert!(responses > 0);
//! # Ok::<(), osm_xds::testing::simulation::Failure>(())
//! ```
//!
//! It is for embedders too: give it a [`Mesh`] of your own objects, or [`Parts`]
//! of your own. The server is not part of it (it is transport), nor is
//! [`PublisherDriver`](crate::push::PublisherDriver), a loop around the engine
//! that chance in the runtime decides about.
//!
//! A run has four acts: a *storm* with faults; *quiet* changes, one after the
//! other, after each of which nobody may have been sent what does not concern
//! it; *healing*, in which proxies accept everything and connect anew; and the
//! *end* of all proxies.

mod certainty;
mod check;
mod faults;
mod mesh;
mod parts;
mod plane;
mod proxy;
mod queue;
mod random;
mod report;
mod stream;
mod trace;
mod wake;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use faults::Faults;
pub use mesh::Mesh;
pub use parts::{Parts, RealParts, StreamSession, ViewEngine, ViewFeed};
pub use report::{Failure, Property, Report};

use crate::session::{Dialect, SessionOptions};
use crate::view::View;
use check::Expected;
use proxy::Proxy;
use trace::Happened;
use world::{Event, World};

/// How many changes of a mesh are kept for quiet times, at most.
const QUIET_CHANGES: usize = 2;

/// How long everything may take to come to rest after the last thing that happened to it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Names a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StreamId(u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

/// A property that does not hold, before it is known in which run.
#[derive(Debug)]
struct Broken {
    property: Property,
    message: String,
}

impl Broken {
    fn new(property: Property, message: impl Into<String>) -> Self {
        Self { property, message: message.into() }
    }
}

/// One run, to be set up and then [`run`](Self::run).
pub struct Simulation {
    seed: u64,
    faults: Faults,
    mesh: Option<Mesh>,
    dialect: Option<Dialect>,
    options: Option<SessionOptions>,
    parts: Box<dyn Parts>,
}

impl Simulation {
    /// The run of this seed: a random mesh of that seed, some of every fault, the
    /// real parts, and proxies of both dialects.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Faults::default(),
            mesh: None,
            dialect: None,
            options: None,
            parts: Box::new(RealParts),
        }
    }

    /// What may go wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The mesh, and how it changes.
    #[must_use]
    pub fn mesh(mut self, mesh: Mesh) -> Self {
        self.mesh = Some(mesh);
        self
    }

    /// The dialect of all proxies.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// The bounds of sessions, instead of random ones.
    #[must_use]
    pub fn session_options(mut self, options: SessionOptions) -> Self {
        self.options = Some(options);
        self
    }

    /// The parts of the control plane.
    #[must_use]
    pub fn parts(mut self, parts: impl Parts + 'static) -> Self {
        self.parts = Box::new(parts);
        self
    }

    /// Runs it, from nothing to the end of all proxies.
    ///
    /// # Errors
    /// The first property that did not hold.
    pub fn run(self) -> Result<Report, Failure> {
        let Self { seed, faults, mesh, dialect, options, parts } = self;
        let mesh = mesh.unwrap_or_else(|| Mesh::random(seed));
        let mut world = World::new(seed, faults.clone(), mesh, dialect, options, parts);
        match world.play() {
            Ok(()) => Ok(world.report),
            Err(Broken { property, message }) => Err(Failure {
                seed,
                faults: Box::new(faults),
                property,
                message,
                at: world.queue.now(),
                trace: world.trace.lines(),
            }),
        }
    }
}

impl World {
    fn play(&mut self) -> Result<(), Broken> {
        let after = self.storm()?;
        let after = self.quiet(after)?;
        self.heal(&after)?;
        self.end()?;
        self.report.time = self.queue.now();
        Ok(())
    }

    /// Everything at once, but for the last changes. Gives what the proxies have then.
    fn storm(&mut self) -> Result<Expected, Broken> {
        self.note(Happened::Phase("storm"));
        self.queue.add(Duration::ZERO, Event::Replay(0));
        self.queue.add_after(self.random.within(&self.faults.signing.clone()), Event::Trust);
        let mut end = Duration::ZERO;
        for _ in 0..self.changes.len().saturating_sub(QUIET_CHANGES) {
            end += self.random.within(&self.faults.pause);
            self.queue.add(end, Event::Change);
        }
        end += Duration::from_millis(100);
        for place in 0..self.proxies.len() {
            let at = self.random.within(&(Duration::ZERO..=end));
            self.proxies[place].connecting = true;
            self.queue.add(at, Event::Connect(place));
        }
        self.add_faults(end);
        let until = end + PATIENCE;
        self.settle(until)?;
        let expected = self.expectations()?;
        self.check_content(&expected)?;
        Ok(expected)
    }

    fn add_faults(&mut self, end: Duration) {
        let faults = self.faults.clone();
        let times = |most: u32, world: &mut Self| -> Vec<(Duration, usize)> {
            let number = world.random.below(u64::from(most) + 1);
            let proxies = world.proxies.len();
            let one = |_| (world.random.within(&(Duration::ZERO..=end)), world.random.place(proxies));
            (0..number).map(one).filter(|_| proxies > 0).collect()
        };
        for (at, place) in times(faults.connection_losses, self) {
            self.queue.add(at, Event::Lose(place));
        }
        for (at, place) in times(faults.proxy_restarts, self) {
            self.queue.add(at, Event::RestartProxy(place));
        }
        for (at, _) in times(faults.control_plane_restarts, self) {
            self.queue.add(at, Event::RestartPlane);
        }
        for (at, _) in times(faults.renewals, self) {
            self.queue.add(at, Event::Renew);
        }
        for (at, place) in times(faults.silences, self) {
            let length = self.random.within(&(Duration::ZERO..=Duration::from_secs(30)));
            self.queue.add(at, Event::Silence(place, true));
            self.queue.add(at + length, Event::Silence(place, false));
        }
    }

    /// One change after the other, each left to take its effect.
    fn quiet(&mut self, mut before: Expected) -> Result<Expected, Broken> {
        while !self.changes.is_empty() {
            self.note(Happened::Phase("a quiet change"));
            for proxy in &mut self.proxies {
                drop(proxy.take_read());
            }
            let (start, vain_waits) = (self.queue.now(), self.report.vain_waits);
            self.queue.add(start, Event::Change);
            self.settle(start + PATIENCE)?;
            let after = self.expectations()?;
            self.check_content(&after)?;
            self.check_economy(&before, &after)?;
            let slowest = *self.faults.delay.end() * 2 + *self.faults.slowness.end();
            let bound = Duration::from_secs(1) + *self.faults.signing.end() + slowest * 50;
            if self.traffic > start + bound || self.report.vain_waits > vain_waits {
                let message = format!("a change took {:?}", self.traffic - start);
                return Err(Broken::new(Property::Progress, message));
            }
            before = after;
        }
        Ok(before)
    }

    /// Proxies accept everything and connect anew; those that had everything are sent nothing.
    fn heal(&mut self, expected: &Expected) -> Result<(), Broken> {
        self.note(Happened::Phase("healing"));
        let content: Vec<bool> = self.proxies.iter().zip(expected).map(is_content).collect();
        self.taste.heal();
        for place in 0..self.proxies.len() {
            drop(self.proxies[place].take_read());
            self.lose(place, true);
        }
        self.settle(self.queue.now() + PATIENCE)?;
        self.check_content(expected)?;
        for (proxy, _) in self.proxies.iter().zip(content).filter(|(_, content)| *content) {
            if let Some((key, _)) = proxy.read.first().filter(|_| proxy.untold.is_empty()) {
                let message =
                    format!("{}: {key} is sent to one who has everything and connects anew", proxy.id);
                return Err(Broken::new(Property::Economy, message));
            }
        }
        Ok(())
    }

    /// All proxies go.
    fn end(&mut self) -> Result<(), Broken> {
        self.note(Happened::Phase("the end"));
        for place in 0..self.proxies.len() {
            self.lose(place, false);
        }
        self.settle(self.queue.now() + PATIENCE)?;
        self.check_nothing_left()
    }
}

/// Whether an incremental proxy has just what its view says, so that it lacks
/// nothing when it connects anew.
fn is_content((proxy, view): (&Proxy, &Option<Arc<View>>)) -> bool {
    proxy.dialect == Dialect::Delta && view.as_ref().is_some_and(|view| proxy.has_all_of(view))
}
