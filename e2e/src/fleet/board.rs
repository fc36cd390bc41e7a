//! What all simulated proxies write down together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counters of a measurement, and who was reached since when.
#[derive(Debug)]
pub(super) struct Board {
    start: Instant,
    responses: AtomicU64,
    resources: AtomicU64,
    bytes: AtomicU64,
    synced: AtomicUsize,
    proxies: Vec<OfProxy>,
    /// The changes of endpoints that are on their way, by service.
    awaited: Vec<Mutex<Option<Awaited>>>,
    /// How long those took that have arrived.
    arrived: Mutex<Vec<Duration>>,
    change: AtomicU64,
    /// How many proxies were reached in this change.
    reached_now: AtomicUsize,
    /// When the last response was acknowledged, in nanoseconds after the start.
    acknowledged: AtomicU64,
    /// Why streams ended.
    failures: Mutex<Vec<String>>,
}

/// What one proxy received.
#[derive(Debug, Default)]
struct OfProxy {
    /// Which change it was last reached in.
    reached: AtomicU64,
    /// Responses and bytes since the change began.
    responses: AtomicU64,
    bytes: AtomicU64,
}

/// A change of a service's endpoints that has not reached all whom it concerns.
#[derive(Debug)]
struct Awaited {
    begin: Instant,
    clients: usize,
}

/// What was received.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    pub(super) responses: u64,
    pub(super) resources: u64,
    pub(super) bytes: u64,
}

impl std::ops::Sub for Received {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            responses: self.responses - earlier.responses,
            resources: self.resources - earlier.resources,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

impl Board {
    pub(super) fn new(proxies: usize, services: usize) -> Self {
        Self {
            start: Instant::now(),
            responses: AtomicU64::new(0),
            resources: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            synced: AtomicUsize::new(0),
            proxies: (0..proxies).map(|_| OfProxy::default()).collect(),
            awaited: (0..services).map(|_| Mutex::default()).collect(),
            arrived: Mutex::default(),
            change: AtomicU64::new(0),
            reached_now: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    /// Writes down that a proxy received a response and has acknowledged it.
    pub(super) fn acknowledged(&self, proxy: usize, resources: usize, bytes: usize) {
        self.responses.fetch_add(1, Ordering::Relaxed);
        self.resources.fetch_add(resources as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.acknowledged.fetch_max(now, Ordering::Relaxed);
        let change = self.change.load(Ordering::Acquire);
        let of_proxy = &self.proxies[proxy];
        of_proxy.responses.fetch_add(1, Ordering::Relaxed);
        of_proxy.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if of_proxy.reached.swap(change, Ordering::Relaxed) != change {
            self.reached_now.fetch_add(1, Ordering::Release);
        }
    }

    /// Writes down that a proxy has everything for the first time.
    pub(super) fn synced(&self) {
        self.synced.fetch_add(1, Ordering::Release);
    }

    pub(super) fn failed(&self, reason: String) {
        self.failures.lock().push(reason);
    }

    /// Writes down that a proxy has acknowledged endpoints by this name.
    pub(super) fn endpoints_acknowledged(&self, name: &str) {
        let service = name.strip_prefix("fleet/s").and_then(|rest| rest.split('|').next()?.parse().ok());
        let Some(awaited) = service.and_then(|service: usize| self.awaited.get(service)) else { return };
        let mut awaited = awaited.lock();
        if let Some(change) = awaited.as_mut() {
            change.clients -= 1;
            if change.clients == 0 {
                self.arrived.lock().push(change.begin.elapsed());
                *awaited = None;
            }
        }
    }

    /// Awaits a change of a service's endpoints at so many clients. Says whether
    /// the last one had arrived.
    pub(super) fn await_endpoints(&self, service: usize, clients: usize) -> bool {
        let change = Awaited { begin: Instant::now(), clients };
        self.awaited[service].lock().replace(change).is_none()
    }

    /// How many changes of endpoints have arrived since these were taken last.
    pub(super) fn arrivals(&self) -> usize {
        self.arrived.lock().len()
    }

    /// How long changes of endpoints took until they had arrived everywhere.
    pub(super) fn take_arrivals(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.arrived.lock())
    }

    /// Begins the next change.
    pub(super) fn begin(&self) {
        for proxy in &self.proxies {
            proxy.responses.store(0, Ordering::Relaxed);
            proxy.bytes.store(0, Ordering::Relaxed);
        }
        self.reached_now.store(0, Ordering::Release);
        self.change.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn synced_proxies(&self) -> usize {
        self.synced.load(Ordering::Acquire)
    }

    /// How many proxies were reached since the change began.
    pub(super) fn reached_proxies(&self) -> usize {
        self.reached_now.load(Ordering::Acquire)
    }

    /// The proxies that were reached since the change began.
    pub(super) fn reached(&self) -> impl Iterator<Item = usize> {
        let change = self.change.load(Ordering::Acquire);
        let here = move |(index, proxy): (usize, &OfProxy)| {
            (proxy.reached.load(Ordering::Relaxed) == change).then_some(index)
        };
        self.proxies.iter().enumerate().filter_map(here)
    }

    /// The responses and bytes that a proxy received since the change began.
    pub(super) fn of_proxy(&self, proxy: usize) -> (u64, u64) {
        let OfProxy { responses, bytes, .. } = &self.proxies[proxy];
        (responses.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// When the last response was acknowledged.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_nanos(self.acknowledged.load(Ordering::Relaxed))
    }

    pub(super) fn received(&self) -> Received {
        Received {
            responses: self.responses.load(Ordering::Relaxed),
            resources: self.resources.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_reached_once_in_each_change() {
        let board = Board::new(3, 0);
        board.begin();
        [2, 0, 2].iter().for_each(|proxy| board.acknowledged(*proxy, 1, 10));
        assert_eq!((board.reached_proxies(), board.reached().collect::<Vec<_>>()), (2, vec![0, 2]));
        assert_eq!((board.received().bytes, board.of_proxy(2), board.of_proxy(1)), (30, (2, 20), (0, 0)));
        board.begin();
        assert_eq!(board.reached_proxies(), 0);
        board.acknowledged(2, 1, 10);
        assert_eq!(board.reached().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_change_of_endpoints_has_arrived_when_the_last_client_has_it() {
        let board = Board::new(2, 3);
        assert!(board.await_endpoints(1, 2));
        board.endpoints_acknowledged("fleet/s1|80");
        board.endpoints_acknowledged("fleet/s2|80");
        assert_eq!(board.arrivals(), 0);
        assert!(!board.await_endpoints(1, 1), "the last one is overtaken");
        board.endpoints_acknowledged("fleet/s1|80");
        assert_eq!((board.take_arrivals().len(), board.arrivals()), (1, 0));
        board.endpoints_acknowledged("fleet/s1|80");
        assert_eq!(board.arrivals(), 0, "nothing was awaited");
    }
}
