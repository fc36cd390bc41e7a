//! Who is connected, and how far each has come.
//!
//! For operators ([`Registry::statuses`]), and for whoever waits until a change
//! has reached every proxy ([`Registry::converged`]). A stream takes the
//! registry's lock only when it comes, goes, is sent a view, falls behind or
//! catches up; its session has a lock of its own.
//!
//! It is not the place that delivers anything.

mod credentials;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use super::{acceptance::Acceptance, dialect::Protocol, watch::now};
use crate::resource::ResourceKind;
use crate::session::{Dialect, SessionStatus};
use crate::view::{Follow, ViewWatch};
pub use credentials::{Names, ProxyCredentials};

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
    /// The newest view that was sent to any stream, by the number of its sending.
    sent: u64,
    /// The streams that have not acknowledged a view that they were sent, by the
    /// oldest such. One that was never sent any is not waited for.
    owing: BTreeSet<(u64, u64)>,
    /// The oldest view that somebody waits for, if anybody does.
    awaited: Option<u64>,
}

struct Slot {
    entry: Arc<dyn Inspect>,
    in_sync: bool,
    /// Whether it was counted in `touched`.
    touched: bool,
    /// The oldest view that it may not have acknowledged, and the newest one sent.
    owing: Option<u64>,
    sent: u64,
}

/// What an open stream shows of itself.
trait Inspect: Send + Sync {
    fn status(&self, stream: u64, in_sync: bool) -> ProxyStatus;
    fn credentials(&self, stream: u64) -> ProxyCredentials;
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
    /// By what this server proved itself.
    pub(super) server: Arc<[CertificateDer<'static>]>,
}

/// What does.
pub(super) struct Live<P> {
    pub(super) session: P,
    pub(super) sent: Sent,
    pub(super) acceptance: Acceptance,
}

impl<P: Protocol> Inspect for Entry<P> {
    fn status(&self, stream: u64, in_sync: bool) -> ProxyStatus {
        let (session, sent) = {
            let live = self.live.lock();
            (live.session.status(), live.sent)
        };
        let About { proxy, address, envoy_version, connected_since, server: _ } = self.about.clone();
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

    fn credentials(&self, stream: u64) -> ProxyCredentials {
        let live = self.live.lock();
        let (secrets, names) = (live.session.secrets(), live.acceptance.names(now()));
        drop(live);
        let About { proxy, server, .. } = &self.about;
        ProxyCredentials::new(stream, proxy.clone(), Arc::clone(server), secrets).knowing(names)
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
        self.entries().into_iter().map(|(id, entry, in_sync)| entry.status(id, in_sync)).collect()
    }

    /// What every open stream's proxy may have of certificates and trust, in the order in which they came. Costs what
    /// there is to tell; for whoever changes the roots of a mesh.
    #[must_use]
    pub fn credentials(&self) -> Vec<ProxyCredentials> {
        self.entries().into_iter().map(|(id, entry, _)| entry.credentials(id)).collect()
    }

    fn entries(&self) -> Vec<(u64, Arc<dyn Inspect>, bool)> {
        let mut entries: Vec<_> = {
            let streams = self.streams.lock();
            streams.slots.iter().map(|(id, slot)| (*id, Arc::clone(&slot.entry), slot.in_sync)).collect()
        };
        entries.sort_unstable_by_key(|(id, ..)| *id);
        entries
    }

    /// How far all have come, as they last said: a view that was published a
    /// moment ago may not have been looked at yet. [`Registry::converged`] makes sure.
    #[must_use]
    pub fn convergence(&self) -> Convergence {
        self.streams.lock().state
    }

    /// Waits until every open stream has acknowledged all of the views that it had
    /// been sent when this was called. Without streams there is nothing to
    /// wait for; a proxy that never acknowledges is waited for until it goes, so
    /// callers bound it. Costs what is waited for: no other stream is looked at.
    /// Safe to cancel.
    pub async fn converged(&self) {
        let mut notified = std::pin::pin!(self.converged.notified());
        notified.as_mut().enable();
        let newest = self.streams.lock().sent;
        while self.streams.lock().awaits(newest) {
            notified.as_mut().await;
            notified.set(self.converged.notified());
            notified.as_mut().enable();
        }
    }

    /// Takes in a stream that follows these views. It is behind until it says otherwise.
    pub(super) fn register<P: Protocol>(
        self: &Arc<Self>,
        entry: Arc<Entry<P>>,
        views: &ViewWatch,
    ) -> Registration {
        let mut streams = self.streams.lock();
        streams.last_id += 1;
        let id = streams.last_id;
        streams.slots.insert(id, Slot { entry, in_sync: false, touched: true, owing: None, sent: 0 });
        streams.state.streams += 1;
        streams.state.behind += 1;
        streams.state.touched += 1;
        drop(streams);
        let place = Arc::new(Place { registry: Arc::clone(self), id });
        views.follow(&place);
        Registration { place, in_sync: false, seen: 0 }
    }

    fn change(&self, id: u64, now: Instant, in_sync: bool, seen: u64) {
        let mut streams = self.streams.lock();
        streams.set(id, in_sync, seen);
        self.settle(&mut streams, now);
    }

    fn remove(&self, id: u64, now: Instant) {
        let mut streams = self.streams.lock();
        streams.remove(id);
        self.settle(&mut streams, now);
    }

    /// Tells those who wait if nothing is left to wait for.
    fn settle(&self, streams: &mut Streams, now: Instant) {
        let state = &mut streams.state;
        if state.behind == 0 && state.touched > 0 {
            state.last_touched = std::mem::take(&mut state.touched);
            state.last_converged = Some(now);
            streams.slots.values_mut().for_each(|slot| slot.touched = false);
        }
        if streams.awaited.is_some_and(|awaited| !streams.owes(awaited)) {
            streams.awaited = None;
            self.converged.notify_waiters();
        }
    }
}

impl Streams {
    /// Whether any stream has not acknowledged what it was sent up to this view.
    fn owes(&self, newest: u64) -> bool {
        self.owing.first().is_some_and(|(oldest, _)| *oldest <= newest)
    }

    /// As [`owes`](Self::owes); if so, somebody waits until it is not.
    fn awaits(&mut self, newest: u64) -> bool {
        let owes = self.owes(newest);
        if owes {
            self.awaited = Some(self.awaited.map_or(newest, |awaited| awaited.min(newest)));
        }
        owes
    }

    fn send(&mut self, id: u64, number: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.sent = number;
        self.sent = self.sent.max(number);
        if slot.owing.is_none() {
            slot.owing = Some(number);
            self.owing.insert((number, id));
        }
    }

    /// A stream that was in sync with a view has acknowledged it, even if it was
    /// sent another since: otherwise steady change would be waited for for ever.
    fn set(&mut self, id: u64, in_sync: bool, seen: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match (slot.in_sync, in_sync) {
            (false, true) => self.state.behind -= 1,
            (true, false) => self.state.behind += 1,
            _ => {}
        }
        slot.in_sync = in_sync;
        if !in_sync {
            self.state.touched += usize::from(!std::mem::replace(&mut slot.touched, true));
        } else if let Some(oldest) = slot.owing.take_if(|oldest| *oldest <= seen) {
            self.owing.remove(&(oldest, id));
            if slot.sent > seen {
                slot.owing = Some(seen + 1);
                self.owing.insert((seen + 1, id));
            }
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.state.streams -= 1;
        self.state.behind -= usize::from(!slot.in_sync);
        if let Some(oldest) = slot.owing {
            self.owing.remove(&(oldest, id));
        }
    }
}

/// What a sender of views and a stream both know of the stream's place.
struct Place {
    registry: Arc<Registry>,
    id: u64,
}

impl Follow for Place {
    fn sent(&self, number: u64) {
        self.registry.streams.lock().send(self.id, number);
    }
}

/// A stream's place in the registry; dropping it takes the stream out.
pub(super) struct Registration {
    place: Arc<Place>,
    in_sync: bool,
    seen: u64,
}

impl Registration {
    /// Says whether this stream has everything of the view that it has seen, given
    /// by the number of its sending. Costs nothing if that has not changed.
    pub(super) fn report(&mut self, now: Instant, in_sync: bool, seen: u64) {
        if in_sync != self.in_sync || seen != self.seen {
            self.in_sync = in_sync;
            self.seen = seen;
            self.place.registry.change(self.place.id, now, in_sync, seen);
        }
    }

    /// Says that this stream was sent something. It counts as touched even if it
    /// has acknowledged before the next report.
    pub(super) fn fell_behind(&mut self, now: Instant) {
        if self.in_sync {
            self.in_sync = false;
            self.place.registry.change(self.place.id, now, false, self.seen);
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.place.id
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.place.registry.remove(self.place.id, tokio::time::Instant::now().into_std());
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
