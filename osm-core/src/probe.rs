//! Probes: how whoever runs an application asks whether it works, where the answer
//! comes from its proxy.
//!
//! A probe from outside the mesh would be led to the proxy and refused there. So it is
//! sent to a port that is reached directly, and the proxy passes it on, or
//! looks itself where the answer can't be passed on. Data only: who rewrites probes
//! writes these, and who configures the proxy reads them.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::interception::{LIVENESS_PORT, READINESS_PORT, STARTUP_PORT};

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbePurpose {
    /// Whether the container is restarted.
    Liveness,
    /// Whether the pod is sent requests.
    Readiness,
    /// Whether the other probes begin.
    Startup,
}

impl ProbePurpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Liveness, Self::Readiness, Self::Startup];

    /// The word for it, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
        }
    }

    /// The port of the proxy that answers.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Liveness => LIVENESS_PORT,
            Self::Readiness => READINESS_PORT,
            Self::Startup => STARTUP_PORT,
        }
    }
}

/// A probe of one container that its proxy answers over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredProbe {
    /// What it decides: on which port it is answered.
    pub purpose: ProbePurpose,
    /// The container; its name is part of the path on which it is answered.
    pub container: String,
    /// The port of the application.
    pub port: NonZeroU16,
    /// In what time the application has to answer.
    pub timeout: Duration,
    /// What the application is asked.
    pub question: ProbeQuestion,
}

impl AnsweredProbe {
    /// The path on which it is answered.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/osm-{}-probe/{}", self.purpose.as_str(), self.container)
    }
}

/// What an application is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeQuestion {
    /// A request that is passed on, and its answer back. A query comes with it.
    Http {
        /// The path that the application knows.
        path: String,
        /// Whether the application wants TLS. Its certificate is not looked at, as
        /// Kubernetes does not either.
        tls: bool,
    },
    /// A connection that the proxy opens every so often.
    Tcp {
        /// How often.
        interval: Duration,
    },
    /// A call of gRPC's health service (`grpc.health.v1.Health/Check`) that the proxy
    /// makes every so often.
    Grpc {
        /// The service that is asked about; empty is the whole server.
        service: String,
        /// How often.
        interval: Duration,
    },
}
