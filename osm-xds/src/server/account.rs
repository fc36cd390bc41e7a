//! What is counted when.

use tonic::Code;

use super::farewell::Reason;
use crate::metrics::{EndLabels, FailureLabels, Metrics};
use crate::session::{Received, Response};

/// Counts a request, and the acknowledgement or refusal in it.
pub(super) fn received(metrics: &Metrics, received: &Received) {
    let labels = received.kind.into();
    metrics.requests.get_or_create(&labels).inc();
    if let Some(after) = received.acknowledged {
        metrics.acknowledgement.get_or_create(&labels).observe(after.as_secs_f64());
    }
    if received.nack.is_some() {
        metrics.nacks.get_or_create(&labels).inc();
    }
}

/// Counts a response with so many bytes of resources.
pub(super) fn sent(metrics: &Metrics, response: &Response, bytes: usize) {
    let labels = response.kind.into();
    metrics.responses.get_or_create(&labels).inc();
    metrics.resources.get_or_create(&labels).inc_by(response.resources.len() as u64);
    metrics.bytes.get_or_create(&labels).inc_by(bytes as u64);
}

/// Counts the end of a stream.
pub(super) fn ended(metrics: &Metrics, code: Code) {
    metrics.streams_ended.get_or_create(&EndLabels { code: format!("{code:?}") }).inc();
}

/// Counts a stream that was refused for want of proof.
pub(super) fn unauthenticated(metrics: &Metrics, reason: &'static str) {
    metrics.authentication_failures.get_or_create(&FailureLabels { reason }).inc();
}

/// Counts a connection that came to nothing.
pub(super) fn connection_failed(metrics: &Metrics, reason: &'static str) {
    metrics.connection_failures.get_or_create(&FailureLabels { reason }).inc();
}

/// Counts a connection or stream that was refused or ended to protect the others.
pub(super) fn rejected(metrics: &Metrics, reason: Reason) {
    if let Some(reason) = reason.word() {
        metrics.rejected.get_or_create(&FailureLabels { reason }).inc();
    }
}

/// Counts a connection as open until it is dropped.
pub(super) struct OpenConnection(Metrics);

impl OpenConnection {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
