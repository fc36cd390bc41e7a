//! What the server counts, for Prometheus.
//!
//! No label has a value for each proxy or resource: the number of time series is
//! fixed. What a single proxy does is told by `server::Registry`.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::resource::ResourceKind;
use crate::session::Dialect;

/// The counters of one server. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Open connections, those that still shake hands included.
    pub(crate) connections: Gauge,
    /// Connections that came to nothing.
    pub(crate) connection_failures: Family<FailureLabels, Counter>,
    /// Open streams of proxies that have proved who they are.
    pub(crate) streams: Family<DialectLabels, Gauge>,
    /// Streams that ended, by their gRPC status.
    pub(crate) streams_ended: Family<EndLabels, Counter>,
    /// Streams that were refused for want of proof.
    pub(crate) authentication_failures: Family<FailureLabels, Counter>,
    /// Connections and streams that were refused or ended to protect the others.
    pub(crate) rejected: Family<FailureLabels, Counter>,
    /// Streams of proxies that have one from another address as well.
    pub(crate) elsewhere: Counter,
    /// Times that a stream was not read because it had asked for too much.
    pub(crate) throttled: Counter,
    /// Resources that proxies refuse now, by the object that made them.
    pub(crate) refused: Family<RefusedLabels, Gauge>,
    /// Discovery requests, acknowledgements included.
    pub(crate) requests: Family<KindLabels, Counter>,
    /// Discovery responses.
    pub(crate) responses: Family<KindLabels, Counter>,
    /// Resources in responses.
    pub(crate) resources: Family<KindLabels, Counter>,
    /// Bytes of resources in responses.
    pub(crate) bytes: Family<KindLabels, Counter>,
    /// Responses that were refused by a proxy.
    pub(crate) nacks: Family<KindLabels, Counter>,
    /// Times that something was sent although what it depends on was never acknowledged.
    pub(crate) gate_timeouts: Counter,
    /// Seconds from a response to its acknowledgement.
    pub(crate) acknowledgement: Family<KindLabels, Histogram>,
    /// Seconds from a view's arrival until a stream has nothing left to send or wait for.
    pub(crate) synchronization: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            connection_failures: Family::default(),
            streams: Family::default(),
            streams_ended: Family::default(),
            authentication_failures: Family::default(),
            rejected: Family::default(),
            elsewhere: Counter::default(),
            throttled: Counter::default(),
            refused: Family::default(),
            requests: Family::default(),
            responses: Family::default(),
            resources: Family::default(),
            bytes: Family::default(),
            nacks: Family::default(),
            gate_timeouts: Counter::default(),
            acknowledgement: Family::new_with_constructor(seconds),
            synchronization: seconds(),
        }
    }
}

impl Metrics {
    /// Counters at zero. Those of each kind and dialect are shown from the start.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self::default();
        for kind in ResourceKind::ALL.map(KindLabels::from) {
            for family in
                [&metrics.requests, &metrics.responses, &metrics.resources, &metrics.bytes, &metrics.nacks]
            {
                drop(family.get_or_create(&kind));
            }
            drop(metrics.acknowledgement.get_or_create(&kind));
        }
        for dialect in [Dialect::Delta, Dialect::Sotw] {
            drop(metrics.streams.get_or_create(&dialect.into()));
        }
        metrics
    }

    /// Shows the counters in a registry, under names that begin with `osm_xds_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("osm_xds");
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connection_failures",
            "Connections that ended before their first stream, by reason",
            self.connection_failures.clone(),
        );
        registry.register("streams", "Open streams of authenticated proxies", self.streams.clone());
        registry.register(
            "streams_ended",
            "Streams that ended, by gRPC status code",
            self.streams_ended.clone(),
        );
        registry.register(
            "authentication_failures",
            "Streams refused because the proxy did not prove who it claims to be, by reason",
            self.authentication_failures.clone(),
        );
        registry.register(
            "rejected",
            "Connections and streams refused or ended to protect the others, by reason",
            self.rejected.clone(),
        );
        registry.register(
            "streams_elsewhere",
            "Streams of proxies that had one from another address: a certificate may have been copied",
            self.elsewhere.clone(),
        );
        registry.register(
            "throttled",
            "Times that a stream was not read for a while because it had asked for too much",
            self.throttled.clone(),
        );
        registry.register(
            "refused_resources",
            "Resources that connected proxies refuse now, once for each proxy, by the object that made them",
            self.refused.clone(),
        );
        registry.register("requests", "Discovery requests, with acknowledgements", self.requests.clone());
        registry.register("responses", "Discovery responses", self.responses.clone());
        registry.register("resources", "Resources sent in discovery responses", self.resources.clone());
        registry.register("resource_bytes", "Bytes of resources sent", self.bytes.clone());
        registry.register("nacks", "Discovery responses refused by a proxy", self.nacks.clone());
        registry.register(
            "gate_timeouts",
            "Changes sent although what they depend on was not acknowledged in time",
            self.gate_timeouts.clone(),
        );
        registry.register(
            "acknowledgement_seconds",
            "Time from a response to its acknowledgement",
            self.acknowledgement.clone(),
        );
        registry.register(
            "synchronization_seconds",
            "Time from a new view until the proxy has acknowledged all of it",
            self.synchronization.clone(),
        );
    }
}

/// From 1 ms to about 32 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0,
    ])
}

/// An object that made resources of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct RefusedLabels {
    pub(crate) kind: KindLabel,
    pub(crate) object: String,
}

/// A kind of resource, or `other` for one that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabels {
    pub(crate) kind: KindLabel,
}

impl From<Option<ResourceKind>> for KindLabels {
    fn from(kind: Option<ResourceKind>) -> Self {
        Self { kind: KindLabel(kind) }
    }
}

impl From<ResourceKind> for KindLabels {
    fn from(kind: ResourceKind) -> Self {
        Some(kind).into()
    }
}

/// The value of [`KindLabels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindLabel(Option<ResourceKind>);

impl From<ResourceKind> for KindLabel {
    fn from(kind: ResourceKind) -> Self {
        Self(Some(kind))
    }
}

impl EncodeLabelValue for KindLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self.0 {
            Some(kind) => EncodeLabelValue::encode(&kind.to_string(), encoder),
            None => EncodeLabelValue::encode(&"other", encoder),
        }
    }
}

/// The dialect of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DialectLabels {
    pub(crate) dialect: DialectLabel,
}

impl From<Dialect> for DialectLabels {
    fn from(dialect: Dialect) -> Self {
        Self { dialect: DialectLabel(dialect == Dialect::Delta) }
    }
}

/// The value of [`DialectLabels`]: whether it is the incremental one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DialectLabel(bool);

impl EncodeLabelValue for DialectLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&(if self.0 { "delta" } else { "sotw" }), encoder)
    }
}

/// Why something came to nothing: one of a few constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabels {
    pub(crate) reason: &'static str,
}

/// The name of a gRPC status code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndLabels {
    pub(crate) code: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_under_the_prefix() {
        let metrics = Metrics::new();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.nacks.get_or_create(&ResourceKind::Listener.into()).inc();
        metrics.requests.get_or_create(&None.into()).inc();
        metrics.streams.get_or_create(&Dialect::Sotw.into()).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
        for line in [
            "osm_xds_nacks_total{kind=\"listener\"} 1",
            "osm_xds_requests_total{kind=\"other\"} 1",
            "osm_xds_streams{dialect=\"sotw\"} 1",
            "osm_xds_streams{dialect=\"delta\"} 0",
            "osm_xds_gate_timeouts_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let metrics = text.lines().filter(|line| line.starts_with("# HELP")).collect::<Vec<_>>();
        assert!(metrics.iter().all(|line| line.starts_with("# HELP osm_xds_")), "{metrics:?}");
        // Those that count failures by reason or object have no series before there is one.
        assert_eq!(metrics.len(), 12, "{metrics:?}");
    }
}
