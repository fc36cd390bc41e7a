//! Who is connected, and how far each has come.
//!
//! For operators ([`Registry::statuses`]), and for whoever waits until a change
//! has reached every proxy ([`Registry::converged`]). A stream takes the
//! registry's lock only when it comes, goes, falls behind or catches up; its
//! session has a lock of its own.
//!
//! It is not the place that delivers anything.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use super::dialect::Protocol;
use crate::resource::ResourceKind;
use crate::session::{Dialect, SessionStatus};

/// One proxy's stream at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProxyStatus {
    /// The number of the stream, unique in this process. A proxy has more than
    /// one while it reconnects.
    pub stream: u64,
    /// Who it is.
    pub proxy: ProxyId,
    /// The dialect that it speaks.
    pub dialect: Dialect,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The version of Envoy, if it told one.
    pub envoy_version: Option<String>,
    /// Since when the stream is open.
    pub connected_since: SystemTime,
    /// Whether it had everything when it was last looked at.
    pub in_sync: bool,
    /// What was sent to it since then.
    pub sent: Sent,
    /// The state of the protocol: versions, resources of each kind, refusals.
    pub session: SessionStatus,
}

/// What was sent on a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Responses.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of these resources.
    pub bytes: u64,
    /// Names that it was told are gone.
    pub removed: u64,
}

impl Sent {
    pub(super) fn add(&mut self, resources: usize, bytes: usize, removed: usize) {
        self.responses += 1;
        self.removed += removed as u64;
        self.resources += resources as u64;
        self.bytes += bytes as u64;
    }
}

/// How far all connected proxies have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Convergence {
    /// How many streams are open.
    pub streams: usize,
    /// How many of them do not have everything yet.
    pub behind: usize,
    /// How many streams have fallen behind since all were last in sync.
    pub touched: usize,
    /// How many had, when all were last in sync again.
    pub last_touched: usize,
    /// When all were last in sync after at least one was not.
    pub last_converged: Option<Instant>,
}

/// The connected proxies of one server.
#[derive(Default)]
pub struct Registry {
    streams: Mutex<Streams>,
    /// Counts calls of [`Registry::converged`]: each asks every stream to look
    /// for a newer view.
    rounds: watch::Sender<u64>,
    converged: Notify,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("convergence", &self.convergence()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Streams {
    slots: FxHashMap<u64, Slot>,
    last_id: u64,
    state: Convergence,
    /// How many slots have not answered the newest round yet.
    unsettled: usize,
    /// The newest round that all have answered.
    settled_round: u64,
}

struct Slot {
    entry: Arc<dyn Inspect>,
    in_sync: bool,
    /// Whether it was counted in `touched`.
    touched: bool,
    /// The newest round in which it was in sync.
    settled_round: u64,
}

/// What an open stream shows of itself.
trait Inspect: Send + Sync {
    fn status(&self, stream: u64, in_sync: bool) -> ProxyStatus;
}

/// An open stream's shared half: the registry looks at it, the stream works on it.
pub(super) struct Entry<P> {
    pub(super) about: About,
    pub(super) live: Mutex<Live<P>>,
}

/// What does not change during a stream.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) proxy: ProxyId,
    pub(super) address: SocketAddr,
    pub(super) envoy_version: Option<String>,
    pub(super) connected_since: SystemTime,
}

/// What does.
pub(super) struct Live<P> {
    pub(super) session: P,
    pub(super) sent: Sent,
}

impl<P: Protocol> Inspect for Entry<P> {
    fn status(&self, stream: u64, in_sync: bool) -> ProxyStatus {
        let (session, sent) = {
            let live = self.live.lock();
            (live.session.status(), live.sent)
        };
        let About { proxy, address, envoy_version, connected_since } = self.about.clone();
        ProxyStatus {
            stream,
            proxy,
            dialect: P::DIALECT,
            address,
            envoy_version,
            connected_since,
            in_sync,
            sent,
            session,
        }
    }
}

impl Registry {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Every open stream, in the order in which they came. Costs what there is to
    /// tell; for operators.
    #[must_use]
    pub fn statuses(&self) -> Vec<ProxyStatus> {
        let mut entries: Vec<_> = {
            let streams = self.streams.lock();
            streams.slots.iter().map(|(id, slot)| (*id, Arc::clone(&slot.entry), slot.in_sync)).collect()
        };
        entries.sort_unstable_by_key(|(id, ..)| *id);
        entries.into_iter().map(|(id, entry, in_sync)| entry.status(id, in_sync)).collect()
    }

    /// How far all have come, as they last said: a view that was published a
    /// moment ago may not have been looked at yet. [`Registry::converged`] makes sure.
    #[must_use]
    pub fn convergence(&self) -> Convergence {
        self.streams.lock().state
    }

    /// Waits until every open stream has acknowledged all of the views that had
    /// been published when this was called. Without streams there is nothing to
    /// wait for; a proxy that never acknowledges is waited for until it goes, so
    /// callers bound it. Safe to cancel.
    pub async fn converged(&self) {
        let mut notified = std::pin::pin!(self.converged.notified());
        notified.as_mut().enable();
        let round = self.ask();
        while self.streams.lock().settled_round < round {
            notified.as_mut().await;
            notified.set(self.converged.notified());
            notified.as_mut().enable();
        }
    }

    /// Asks every stream to report once it has what is newest now.
    fn ask(&self) -> u64 {
        let mut streams = self.streams.lock();
        let round = *self.rounds.borrow() + 1;
        streams.unsettled = streams.slots.len();
        if streams.unsettled == 0 {
            streams.settled_round = round;
        }
        self.rounds.send_replace(round);
        round
    }

    /// Takes in a stream. It is behind until it says otherwise.
    pub(super) fn register<P: Protocol>(self: &Arc<Self>, entry: Arc<Entry<P>>) -> Registration {
        let mut streams = self.streams.lock();
        let rounds = self.rounds.subscribe();
        streams.last_id += 1;
        let id = streams.last_id;
        let answered = *rounds.borrow();
        streams.slots.insert(id, Slot { entry, in_sync: false, touched: true, settled_round: 0 });
        streams.unsettled += usize::from(answered > 0);
        streams.state.streams += 1;
        streams.state.behind += 1;
        streams.state.touched += 1;
        Registration { registry: Arc::clone(self), id, rounds, in_sync: false, answered }
    }

    fn change(&self, id: u64, now: Instant, in_sync: bool, round: u64) {
        let mut streams = self.streams.lock();
        let newest = *self.rounds.borrow();
        streams.set(id, newest, in_sync, round);
        self.settle(&mut streams, newest, now);
    }

    fn remove(&self, id: u64, now: Instant) {
        let mut streams = self.streams.lock();
        let newest = *self.rounds.borrow();
        streams.remove(id, newest);
        self.settle(&mut streams, newest, now);
    }

    /// Tells those who wait if nothing is left to wait for.
    fn settle(&self, streams: &mut Streams, newest: u64, now: Instant) {
        let state = &mut streams.state;
        if state.behind == 0 && state.touched > 0 {
            state.last_touched = std::mem::take(&mut state.touched);
            state.last_converged = Some(now);
            streams.slots.values_mut().for_each(|slot| slot.touched = false);
        }
        if streams.unsettled == 0 && streams.settled_round < newest {
            streams.settled_round = newest;
            self.converged.notify_waiters();
        }
    }
}

impl Streams {
    /// A stream that was in sync in a round has answered it, even if it falls
    /// behind again: otherwise steady change would keep a round open for ever.
    fn set(&mut self, id: u64, newest: u64, in_sync: bool, round: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match (slot.in_sync, in_sync) {
            (false, true) => self.state.behind -= 1,
            (true, false) => self.state.behind += 1,
            _ => {}
        }
        slot.in_sync = in_sync;
        if in_sync {
            let was_unsettled = slot.settled_round < newest;
            slot.settled_round = slot.settled_round.max(round);
            self.unsettled -= usize::from(was_unsettled && slot.settled_round >= newest);
        } else if !slot.touched {
            slot.touched = true;
            self.state.touched += 1;
        }
    }

    fn remove(&mut self, id: u64, newest: u64) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.state.streams -= 1;
        self.state.behind -= usize::from(!slot.in_sync);
        self.unsettled -= usize::from(slot.settled_round < newest);
    }
}

/// A stream's place in the registry; dropping it takes the stream out.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    id: u64,
    rounds: watch::Receiver<u64>,
    in_sync: bool,
    answered: u64,
}

impl Registration {
    /// Waits until somebody asks whether all have the newest view. Safe to cancel.
    pub(super) async fn asked(&mut self) {
        if self.rounds.changed().await.is_err() {
            // The registry outlives its registrations; were it not so, nobody could ask.
            std::future::pending::<()>().await;
        }
    }

    /// The round to answer with [`Registration::report`]: taken before the newest
    /// view is looked at.
    pub(super) fn round(&mut self) -> u64 {
        *self.rounds.borrow_and_update()
    }

    /// Says whether this stream has everything of the newest view. Costs nothing
    /// if that has not changed.
    pub(super) fn report(&mut self, now: Instant, in_sync: bool, round: u64) {
        if in_sync != self.in_sync || round != self.answered {
            self.in_sync = in_sync;
            self.answered = round;
            self.registry.change(self.id, now, in_sync, round);
        }
    }

    /// Says that this stream was sent something. It counts as touched even if it
    /// has acknowledged before the next report.
    pub(super) fn fell_behind(&mut self, now: Instant) {
        if self.in_sync {
            self.in_sync = false;
            self.registry.change(self.id, now, false, self.answered);
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(self.id, tokio::time::Instant::now().into_std());
    }
}

impl ProxyStatus {
    /// How many resources of a kind the proxy has or is being sent.
    #[must_use]
    pub fn delivered(&self, kind: ResourceKind) -> usize {
        self.session.kinds.iter().find(|status| status.kind == kind).map_or(0, |status| status.delivered)
    }
}

#[cfg(test)]
mod tests;
