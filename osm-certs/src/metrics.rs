//! What the manager counts, for Prometheus.
//!
//! No label has a value for each subject: the number of time series is fixed.
//! How a single subject is doing is told by the manager's statuses.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::manager::FailureKind;

/// The number of subjects, and the seconds until the first certificate ends;
/// `None` when the manager is gone.
type Gauges = dyn Fn() -> Option<(usize, Option<f64>)> + Send + Sync;

/// What one manager counts. Clones are the same counters.
#[derive(Clone)]
pub struct Metrics {
    counters: Counters,
    gauges: Arc<Gauges>,
}

/// The counters alone.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) issued: Counter,
    failures: Family<FailureLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kind: &'static str,
}

impl Default for Counters {
    /// All kinds are there from the start, so that a first failure shows as a rise.
    fn default() -> Self {
        let counters = Self { issued: Counter::default(), failures: Family::default() };
        for kind in FailureKind::ALL {
            drop(counters.failures.get_or_create(&FailureLabels { kind: kind.as_str() }));
        }
        counters
    }
}

impl Counters {
    pub(crate) fn failed(&self, kind: FailureKind) {
        self.failures.get_or_create(&FailureLabels { kind: kind.as_str() }).inc();
    }
}

impl Metrics {
    pub(crate) fn new(counters: Counters, gauges: Arc<Gauges>) -> Self {
        Self { counters, gauges }
    }

    /// Shows them in a registry, under names that begin with `osm_certs_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("osm_certs");
        registry.register(
            "issued",
            "Certificates that were issued and are fit for use",
            self.counters.issued.clone(),
        );
        registry.register(
            "failures",
            "Times that a certificate or the trust bundle could not be had, by kind",
            self.counters.failures.clone(),
        );
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for Metrics {
    /// The gauges that move by themselves are reckoned when they are asked for.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some((subjects, first_expiry)) = (self.gauges)() else { return Ok(()) };
        let subjects = ConstGauge::new(i64::try_from(subjects).unwrap_or(i64::MAX));
        let about = "Subjects whose certificates are kept fresh";
        subjects.encode(encoder.encode_descriptor("subjects", about, None, subjects.metric_type())?)?;
        if let Some(left) = first_expiry {
            let left = ConstGauge::new(left);
            let about = "Seconds until the first certificate in use ends; negative if one has ended";
            let name = "seconds_until_first_expiry";
            left.encode(encoder.encode_descriptor(name, about, None, left.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("counters", &self.counters).finish_non_exhaustive()
    }
}
