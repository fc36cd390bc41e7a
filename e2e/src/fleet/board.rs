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
    /// Which change each proxy was last reached in.
    reached: Vec<AtomicU64>,
    change: AtomicU64,
    /// How many proxies were reached in this change.
    reached_now: AtomicUsize,
    /// When the last response was acknowledged, in nanoseconds after the start.
    acknowledged: AtomicU64,
    /// Why streams ended.
    failures: Mutex<Vec<String>>,
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
    pub(super) fn new(proxies: usize) -> Self {
        Self {
            start: Instant::now(),
            responses: AtomicU64::new(0),
            resources: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            synced: AtomicUsize::new(0),
            reached: (0..proxies).map(|_| AtomicU64::new(0)).collect(),
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
        if self.reached[proxy].swap(change, Ordering::Relaxed) != change {
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

    /// Begins the next change.
    pub(super) fn begin(&self) {
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
        let here = move |(index, last): (usize, &AtomicU64)| {
            (last.load(Ordering::Relaxed) == change).then_some(index)
        };
        self.reached.iter().enumerate().filter_map(here)
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
        let board = Board::new(3);
        board.begin();
        [2, 0, 2].iter().for_each(|proxy| board.acknowledged(*proxy, 1, 10));
        assert_eq!((board.reached_proxies(), board.reached().collect::<Vec<_>>()), (2, vec![0, 2]));
        assert_eq!(board.received().bytes, 30);
        board.begin();
        assert_eq!(board.reached_proxies(), 0);
        board.acknowledged(2, 1, 10);
        assert_eq!(board.reached().collect::<Vec<_>>(), [2]);
    }
}
