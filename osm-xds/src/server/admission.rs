//! Which proxies may open a stream.
//!
//! A proxy that has proved who it is takes a place among the proxies, of which
//! there may be a bounded number; lowering the bound ends nothing that is open.
//! A proxy may have several streams, since one that connects anew leaves its old
//! one behind until the transport notices. When it has as many as it may, its
//! address that has most loses its oldest: whoever shows a copy of a proxy's
//! certificate elsewhere displaces its own streams and never those of its victim,
//! and a victim that connects anew takes the place of one of the thief's.
//!
//! Of those that are admitted a bounded number may be on their way to their first
//! configuration at a time. Who comes then is told when to try again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use super::ServerOptions;
use super::farewell::Reason;

/// How many proxies may be connected, exchangeable while a server runs. Clones
/// are the same limit. [`ServerOptions::max_proxies`] holds as well.
#[derive(Debug, Clone)]
pub struct ProxyLimit(Arc<AtomicUsize>);

impl Default for ProxyLimit {
    /// No limit.
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl ProxyLimit {
    /// Lets in so many proxies from now on, or as many as come. Those who are
    /// connected stay, even if they are more.
    pub fn set(&self, limit: Option<NonZeroU32>) {
        let limit = limit.and_then(|limit| usize::try_from(limit.get()).ok()).unwrap_or(usize::MAX);
        self.0.store(limit, Ordering::Relaxed);
    }

    /// The limit, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<usize> {
        Some(self.now()).filter(|limit| *limit < usize::MAX)
    }

    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The proxies of a server.
#[derive(Debug)]
pub(super) struct Admission {
    max_proxies: usize,
    max_streams_per_proxy: usize,
    max_starting: usize,
    starting_timeout: Duration,
    limit: ProxyLimit,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    last: u64,
    /// The streams of each proxy, oldest first.
    proxies: FxHashMap<ProxyId, Vec<Place>>,
    /// Since when those are open that have not had all of their first configuration,
    /// oldest first.
    starting: BTreeMap<u64, Instant>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    address: IpAddr,
    displaced: CancellationToken,
}

/// A stream's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    proxy: ProxyId,
    number: u64,
    is_starting: bool,
    displaced: CancellationToken,
    /// Whether the same proxy has a stream from another address as well.
    pub(super) is_elsewhere: bool,
}

impl Admission {
    pub(super) fn new(options: &ServerOptions) -> Arc<Self> {
        Arc::new(Self {
            max_proxies: options.max_proxies,
            max_streams_per_proxy: options.max_streams_per_proxy.max(1),
            max_starting: options.max_starting_streams,
            starting_timeout: options.session.acknowledgement_timeout,
            limit: ProxyLimit::default(),
            places: Mutex::default(),
        })
    }

    pub(super) fn limit(&self) -> ProxyLimit {
        self.limit.clone()
    }

    /// A place for a stream of a proxy that has proved itself.
    pub(super) fn admit(
        self: &Arc<Self>,
        proxy: &ProxyId,
        address: IpAddr,
        now: Instant,
    ) -> Result<Admitted, Reason> {
        let address = address.to_canonical();
        let mut places = self.places.lock();
        let limit = self.max_proxies.min(self.limit.now());
        if !places.proxies.contains_key(proxy) && places.proxies.len() >= limit {
            return Err(Reason::TooManyProxies(limit));
        }
        if places.starting(now, self.starting_timeout) >= self.max_starting {
            return Err(Reason::Overloaded);
        }
        places.last += 1;
        let (number, displaced) = (places.last, CancellationToken::new());
        let own = places.proxies.entry(proxy.clone()).or_default();
        if own.len() >= self.max_streams_per_proxy && !displace(own, address) {
            return Err(Reason::TooManyStreams(self.max_streams_per_proxy));
        }
        let is_elsewhere = own.iter().any(|place| place.address != address);
        own.push(Place { number, address, displaced: displaced.clone() });
        places.starting.insert(number, now);
        Ok(Admitted {
            admission: Arc::clone(self),
            proxy: proxy.clone(),
            number,
            is_starting: true,
            displaced,
            is_elsewhere,
        })
    }

    /// How many proxies have a stream, and how many streams are starting.
    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let places = self.places.lock();
        (places.proxies.len(), places.starting.len())
    }
}

/// Takes a stream's place for one from this address, where that is fair: of the
/// address that would have most, the newcomer counted, the oldest goes.
fn displace(own: &mut Vec<Place>, newcomer: IpAddr) -> bool {
    let of = |address: IpAddr| own.iter().filter(|place| place.address == address).count();
    let newcomers = of(newcomer);
    let (most, fullest) =
        own.iter().map(|place| (of(place.address), place.address)).max().unwrap_or((0, newcomer));
    let loser = if most > newcomers + 1 { fullest } else { newcomer };
    let Some(oldest) = own.iter().position(|place| place.address == loser) else { return false };
    own.remove(oldest).displaced.cancel();
    true
}

impl Places {
    /// How many streams are starting. One that takes too long is not waited for.
    fn starting(&mut self, now: Instant, timeout: Duration) -> usize {
        while let Some(oldest) = self.starting.first_entry() {
            if now.saturating_duration_since(*oldest.get()) < timeout {
                break;
            }
            oldest.remove();
        }
        self.starting.len()
    }
}

impl Admitted {
    /// The number of the stream among all that were admitted.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Notes that it has everything; the first time counts.
    pub(super) fn started(&mut self) {
        if std::mem::take(&mut self.is_starting) {
            self.admission.places.lock().starting.remove(&self.number);
        }
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.displaced.is_cancelled()
    }

    /// Waits until another stream took the place of this one. Cancel safe.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut places = self.admission.places.lock();
        places.starting.remove(&self.number);
        if let Some(own) = places.proxies.get_mut(&self.proxy) {
            own.retain(|place| place.number != self.number);
            if own.is_empty() {
                places.proxies.remove(&self.proxy);
            }
        }
    }
}

#[cfg(test)]
mod tests;
