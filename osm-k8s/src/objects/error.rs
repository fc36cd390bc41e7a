//! What can be wrong when objects are read and written, by who can act on it.

use std::time::Duration;

use thiserror::Error;

/// Why objects can't be read or written.
#[derive(Debug, Error)]
pub enum ObjectsError {
    /// The server does not answer, or not in a way that is understood. Trying again may help.
    #[error("the API server can't be asked about {what}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server says no: a permission, an object that is not valid, a webhook that refuses.
    #[error("the API server refuses {what}: {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status of HTTP.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// The cluster has no such kind.
    #[error("the cluster does not know the kind {kind} of {api_version}")]
    UnknownKind {
        /// Its group and version.
        api_version: String,
        /// Its name.
        kind: String,
    },
    /// A value that is no object: it has no kind or no name.
    #[error("this is no object of Kubernetes: {0}")]
    NoObject(String),
    /// What was waited for did not happen in time.
    #[error("after {} s: {}", after.as_secs(), waiting.join("; "))]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// What for.
        waiting: Vec<String>,
    },
    /// What was waited for can't happen any more.
    #[error("{0}")]
    Failed(String),
}

impl ObjectsError {
    /// Whether the server says that there is no such object or kind.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. } | Self::UnknownKind { .. })
    }

    /// Whether the server says that who asks may not do it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }
}
