//! What webhooks, the reconciler and the keeper of Secrets count, for Prometheus. No label has a value for each object.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What one control plane counts in a cluster. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    answers: Family<AnswerLabels, Counter>,
    durations: Family<WebhookLabels, Histogram, fn() -> Histogram>,
    restored: Family<KindLabels, Counter>,
    secrets: Family<SecretLabels, Counter>,
}

/// Which webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Webhook {
    Mutate,
    Validate,
}

/// How it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Allowed,
    Patched,
    Refused,
    Unavailable,
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    webhook: Webhook,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: Webhook,
}

/// What became of the Secret of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum SecretOutcome {
    Made,
    Renewed,
    Removed,
    Foreign,
    Changed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabels {
    outcome: SecretOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 0.1 ms to 3 s.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0001, 2.0, 16));
        let durations = Family::new_with_constructor(buckets);
        Self {
            answers: Family::default(),
            durations,
            restored: Family::default(),
            secrets: Family::default(),
        }
    }
}

impl Metrics {
    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "osm_admission_answers",
            "Questions of the API server that were answered, by webhook and answer",
            self.answers.clone(),
        );
        registry.register(
            "osm_admission_duration_seconds",
            "How long an answer took",
            self.durations.clone(),
        );
        registry.register(
            "osm_reconciliation",
            "Objects of the installation that were edited or deleted and are restored, by kind",
            self.restored.clone(),
        );
        registry.register(
            "osm_pod_secrets",
            "Secrets of pods that were written or taken away, or could not be, by what became of them",
            self.secrets.clone(),
        );
    }

    pub(crate) fn wrote_secret(&self, outcome: SecretOutcome) {
        self.secrets.get_or_create(&SecretLabels { outcome }).inc();
    }

    pub(crate) fn restored(&self, kind: &str) {
        self.restored.get_or_create(&KindLabels { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn answered(&self, webhook: Webhook, outcome: Outcome, took: Duration) {
        self.answers.get_or_create(&AnswerLabels { webhook, outcome }).inc();
        self.durations.get_or_create(&WebhookLabels { webhook }).observe(took.as_secs_f64());
    }
}
