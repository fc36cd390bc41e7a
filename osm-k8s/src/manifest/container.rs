//! Containers, as far as whoever runs or redirects them needs to know.

use std::num::NonZeroU16;

use serde::Deserialize;

use super::{IntOrString, field};

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name, unique within the pod.
    pub name: String,
    /// The image; local mode does not look at it.
    #[serde(default)]
    pub image: Option<String>,
    /// The program; empty leaves it to the image.
    #[serde(default, deserialize_with = "field::nullable")]
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(default, deserialize_with = "field::nullable")]
    pub args: Vec<String>,
    /// Where it starts; `None` leaves it to the image.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Its environment, in the order of the manifest; a later name wins.
    #[serde(default, deserialize_with = "field::nullable")]
    pub env: Vec<EnvVar>,
    /// The ports that it declares.
    #[serde(default, deserialize_with = "field::nullable")]
    pub ports: Vec<ContainerPort>,
    /// When it has started, before which the other probes wait; `None` as soon as it runs.
    #[serde(default)]
    pub startup_probe: Option<Probe>,
    /// When it can serve; `None` as soon as it has started.
    #[serde(default)]
    pub readiness_probe: Option<Probe>,
    /// Whether it still works, else it is restarted; `None` as long as it runs.
    #[serde(default)]
    pub liveness_probe: Option<Probe>,
}

impl Container {
    /// The number of the port that an action means: itself, or that of the
    /// container's port of this name.
    #[must_use]
    pub fn port_number(&self, port: &IntOrString) -> Option<NonZeroU16> {
        match port {
            IntOrString::Number(number) => Some(*number),
            IntOrString::Name(name) => self
                .ports
                .iter()
                .find(|declared| declared.name == *name)
                .map(|declared| declared.container_port),
        }
    }
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name; empty when it has none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub name: String,
    /// Its number.
    pub container_port: NonZeroU16,
    /// `TCP` (also when empty), `UDP` or `SCTP`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub protocol: String,
}

/// A variable of a container's environment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value, where it is written.
    #[serde(default)]
    pub value: Option<String>,
    /// Where its value comes from, where it is not.
    #[serde(default)]
    pub value_from: Option<ValueFrom>,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// A field of the pod; `None` when it comes from elsewhere (a Secret, a ConfigMap).
    #[serde(default)]
    pub field_ref: Option<FieldRef>,
}

/// A field of the pod, by path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// The path, such as `metadata.name`, `metadata.namespace`, `status.podIP`
    /// or `spec.serviceAccountName`.
    pub field_path: String,
}

/// A probe of a container. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Succeeds when this request is answered with 200 to 399.
    #[serde(default)]
    pub http_get: Option<HttpGetAction>,
    /// Succeeds when this port accepts a connection.
    #[serde(default)]
    pub tcp_socket: Option<TcpSocketAction>,
    /// Succeeds when this program ends with 0.
    #[serde(default)]
    pub exec: Option<ExecAction>,
    /// Succeeds when gRPC's health service says that it serves.
    #[serde(default)]
    pub grpc: Option<GrpcAction>,
    /// The time before the first probe.
    #[serde(default, deserialize_with = "field::nullable")]
    pub initial_delay_seconds: u32,
    /// The time between two probes; 0 and absence mean 10 ([`Probe::period`]).
    #[serde(default, deserialize_with = "field::nullable")]
    pub period_seconds: u32,
    /// The time in which an answer must come; 0 and absence mean 1 ([`Probe::timeout`]).
    #[serde(default, deserialize_with = "field::nullable")]
    pub timeout_seconds: u32,
    /// How many successes make it ready; 0 and absence mean 1.
    #[serde(default, deserialize_with = "field::nullable")]
    pub success_threshold: u32,
    /// How many failures make it not ready; 0 and absence mean 3.
    #[serde(default, deserialize_with = "field::nullable")]
    pub failure_threshold: u32,
}

impl Probe {
    /// The time between two probes, in seconds.
    #[must_use]
    pub fn period(&self) -> u32 {
        if self.period_seconds == 0 { 10 } else { self.period_seconds }
    }

    /// The time in which an answer must come, in seconds.
    #[must_use]
    pub fn timeout(&self) -> u32 {
        self.timeout_seconds.max(1)
    }

    /// How many successes in a row make the container ready.
    #[must_use]
    pub fn successes(&self) -> u32 {
        self.success_threshold.max(1)
    }

    /// How many failures in a row make the container not ready.
    #[must_use]
    pub fn failures(&self) -> u32 {
        if self.failure_threshold == 0 { 3 } else { self.failure_threshold }
    }
}

/// An HTTP request of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// The path; empty means `/`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub path: String,
    /// The port, by number or by the name of a container's port.
    pub port: IntOrString,
    /// `HTTP` (also when empty) or `HTTPS`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub scheme: String,
    /// The host to connect to; `None` is the pod.
    #[serde(default)]
    pub host: Option<String>,
    /// Headers of the request, in the order of the manifest.
    #[serde(default, deserialize_with = "field::nullable")]
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a probe's request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, deserialize_with = "field::nullable")]
    pub value: String,
}

/// A connection of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TcpSocketAction {
    /// The port, by number or by the name of a container's port.
    pub port: IntOrString,
}

/// A program of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExecAction {
    /// The program and its arguments; no shell is involved.
    #[serde(default, deserialize_with = "field::nullable")]
    pub command: Vec<String>,
}

/// A question to gRPC's health service (`grpc.health.v1.Health/Check`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GrpcAction {
    /// The port.
    pub port: NonZeroU16,
    /// The service that is asked about; empty asks about the whole server.
    #[serde(default, deserialize_with = "field::nullable")]
    pub service: String,
}
