//! Which resources connected proxies refuse, for the log and the metrics.
//!
//! A thousand proxies that refuse the same make one warning, which names the
//! resource and the objects that made it; there is one more line when the last of
//! them refuses it no longer. The metric has a series for each object at fault,
//! a bounded number of them, and none for a proxy.
//!
//! It is not the place that decides what is at fault (`session`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;
use parking_lot::Mutex;

use super::pace::{Pace, Rate};
use crate::metrics::{Metrics, RefusedLabels};
use crate::resource::{ResourceKey, Version};
use crate::session::{Nack, Rejected};

/// How many objects the metric names; what others made is counted together.
const MAX_OBJECTS: usize = 100;
/// What stands for the others.
const OTHERS: &str = "others";
/// How fast warnings may come: a proxy that refuses everything fills no log.
const WARNINGS: Rate = Rate { burst: 50, per_second: 1 };

/// What is refused by the proxies of a server.
#[derive(Debug)]
pub(super) struct RefusedResources {
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    resources: BTreeMap<(ResourceKey, Version), Known>,
    /// How many refusals each series of the metric counts.
    series: BTreeMap<RefusedLabels, usize>,
    warnings: Pace,
    /// Warnings that were left out since the last one.
    omitted: u64,
}

#[derive(Debug)]
struct Known {
    labels: RefusedLabels,
    proxies: usize,
    is_told: bool,
}

/// What one stream's proxy refuses. Dropping it takes all of that back.
#[derive(Debug)]
pub(super) struct Refusing {
    all: Arc<RefusedResources>,
    held: BTreeSet<(ResourceKey, Version)>,
}

impl RefusedResources {
    pub(super) fn new(metrics: Metrics, now: Instant) -> Arc<Self> {
        let warnings = Pace::new(WARNINGS, now);
        let state = State { resources: BTreeMap::new(), series: BTreeMap::new(), warnings, omitted: 0 };
        Arc::new(Self { metrics, state: Mutex::new(state) })
    }

    /// A proxy that refuses nothing yet.
    pub(super) fn proxy(self: &Arc<Self>) -> Refusing {
        Refusing { all: Arc::clone(self), held: BTreeSet::new() }
    }

    fn add(&self, proxy: &ProxyId, rejected: &Rejected, nack: &Nack, now: Instant) {
        let mut state = self.state.lock();
        let resource = key_of(rejected);
        let labels = match state.resources.get_mut(&resource) {
            Some(known) => {
                known.proxies += 1;
                known.labels.clone()
            }
            None => {
                let labels = state.labels(rejected);
                let is_told = state.may_warn(now);
                if is_told {
                    warn(proxy, rejected, nack, std::mem::take(&mut state.omitted));
                }
                state.resources.insert(resource, Known { labels: labels.clone(), proxies: 1, is_told });
                labels
            }
        };
        *state.series.entry(labels.clone()).or_default() += 1;
        self.metrics.refused.get_or_create(&labels).inc();
    }

    fn remove(&self, resource: &(ResourceKey, Version)) {
        let mut state = self.state.lock();
        let Some(known) = state.resources.get_mut(resource) else { return };
        known.proxies -= 1;
        let (labels, left, is_told) = (known.labels.clone(), known.proxies, known.is_told);
        if left == 0 {
            state.resources.remove(resource);
            if is_told {
                tracing::info!(resource = %resource.0, "no connected proxy refuses the resource any more");
            }
        }
        let series = state.series.entry(labels.clone()).or_insert(1);
        *series -= 1;
        if *series == 0 {
            state.series.remove(&labels);
            self.metrics.refused.remove(&labels);
        } else {
            self.metrics.refused.get_or_create(&labels).dec();
        }
    }
}

impl State {
    /// The series that counts a resource.
    fn labels(&self, rejected: &Rejected) -> RefusedLabels {
        let object = rejected.origins.first().map_or_else(|| "unknown".to_owned(), |origin| origin.name());
        let kind = rejected.key.kind.into();
        let labels = RefusedLabels { kind, object };
        if self.series.contains_key(&labels) || self.series.len() < MAX_OBJECTS {
            labels
        } else {
            RefusedLabels { object: OTHERS.to_owned(), ..labels }
        }
    }

    fn may_warn(&mut self, now: Instant) -> bool {
        let allowed = self.warnings.allows(WARNINGS, now);
        if allowed {
            self.warnings.spend(1);
        } else {
            self.omitted += 1;
        }
        allowed
    }
}

fn warn(proxy: &ProxyId, rejected: &Rejected, nack: &Nack, omitted: u64) {
    let objects: Vec<String> = rejected.origins.iter().map(ToString::to_string).collect();
    let (resource, objects, message) = (&rejected.key, objects.join(", "), &nack.message);
    tracing::warn!(%resource, objects, %proxy, message, omitted, "a proxy refuses a resource");
}

impl Refusing {
    /// Notes what the proxy refuses now.
    pub(super) fn update(&mut self, proxy: &ProxyId, refused: &[(Rejected, Arc<Nack>)], now: Instant) {
        let is_held = |(rejected, _): &(Rejected, Arc<Nack>)| self.held.contains(&key_of(rejected));
        if refused.len() == self.held.len() && refused.iter().all(is_held) {
            return;
        }
        let before = std::mem::take(&mut self.held);
        for (rejected, nack) in refused {
            let resource = key_of(rejected);
            if !before.contains(&resource) {
                self.all.add(proxy, rejected, nack, now);
            }
            self.held.insert(resource);
        }
        before.difference(&self.held).for_each(|resource| self.all.remove(resource));
    }
}

fn key_of(rejected: &Rejected) -> (ResourceKey, Version) {
    (rejected.key.clone(), rejected.version)
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.held.iter().for_each(|resource| self.all.remove(resource));
    }
}

#[cfg(test)]
mod tests;
