//! How old what is known may be: shared by a source with whoever shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::cursor::Seen;
use crate::manifest::ManifestKind;

/// How old the facts of a [`KubernetesSource`](super::KubernetesSource) may be. Cheap
/// to clone; clones are the same.
///
/// A control plane stays ready while its facts grow old: what it knows is the best
/// that anybody knows, and starting it again would only lose that. So this is for
/// people, and for alarms.
#[derive(Debug, Clone, Default)]
pub struct Freshness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The kinds whose watch is broken, and when each was known to be right last.
    lost: BTreeMap<ManifestKind, (Instant, String)>,
    /// When each kind was known to be right last.
    right: BTreeMap<ManifestKind, Instant>,
    absent: BTreeSet<ManifestKind>,
    is_complete: bool,
}

impl Freshness {
    /// Whether everything was known at some time. Until then nothing is served.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state().is_complete
    }

    /// For how long the API server may have known better: zero while every watch
    /// stands.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        let state = self.state();
        let oldest = state.lost.values().map(|(since, _)| *since).min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The kinds that can't be watched at present, and why.
    #[must_use]
    pub fn lost(&self) -> BTreeMap<ManifestKind, String> {
        self.state().lost.iter().map(|(kind, (_, reason))| (*kind, reason.clone())).collect()
    }

    /// The kinds that the API server does not have: their definitions are not
    /// installed.
    #[must_use]
    pub fn absent(&self) -> BTreeSet<ManifestKind> {
        self.state().absent.clone()
    }

    pub(super) fn on_complete(&self) {
        self.state().is_complete = true;
    }

    /// Takes in what a watch has seen.
    pub(super) fn on_seen(&self, kind: ManifestKind, seen: &Seen, now: Instant) {
        let mut state = self.state();
        match seen {
            Seen::Lost(reason) => {
                let since = state.right.get(&kind).copied().unwrap_or(now);
                if state.lost.insert(kind, (since, reason.clone())).is_none() {
                    tracing::warn!(%kind, reason, "the API server can't be watched; what is known stays");
                }
                return;
            }
            Seen::Absent => {
                if state.absent.insert(kind) {
                    let api = kind.api_version();
                    tracing::warn!(%kind, api, "the API server has no such kind; install its definition");
                }
            }
            _ => {
                if state.absent.remove(&kind) {
                    tracing::info!(%kind, "the API server has this kind now");
                }
            }
        }
        state.right.insert(kind, now);
        if state.lost.remove(&kind).is_some() {
            tracing::info!(%kind, "the API server is watched again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn facts_grow_old_from_when_they_were_known_to_be_right_last() {
        let freshness = Freshness::default();
        let saw = |kind, seen: &Seen| freshness.on_seen(kind, seen, Instant::now());
        saw(ManifestKind::Pod, &Seen::InTouch);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(freshness.staleness(), Duration::ZERO, "nothing says that it is wrong");
        saw(ManifestKind::Pod, &Seen::Lost("reset".to_owned()));
        saw(ManifestKind::Service, &Seen::InTouch);
        tokio::time::advance(Duration::from_secs(20)).await;
        saw(ManifestKind::Pod, &Seen::Lost("refused".to_owned()));
        assert_eq!(freshness.staleness(), Duration::from_secs(30));
        assert_eq!(freshness.lost(), BTreeMap::from([(ManifestKind::Pod, "refused".to_owned())]));
        saw(ManifestKind::Pod, &Seen::InTouch);
        assert_eq!(freshness.staleness(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_installed_is_known_to_be_empty() {
        let freshness = Freshness::default();
        freshness.on_seen(ManifestKind::TcpRoute, &Seen::Absent, Instant::now());
        assert_eq!(freshness.absent(), BTreeSet::from([ManifestKind::TcpRoute]));
        assert_eq!(freshness.staleness(), Duration::ZERO);
        freshness.on_seen(ManifestKind::TcpRoute, &Seen::Begin, Instant::now());
        assert!(freshness.absent().is_empty());
    }
}
