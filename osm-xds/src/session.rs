//! The xDS protocol as a state machine: requests and views in, responses out.
//!
//! A session is one ADS stream's state. [`DeltaSession`] and [`SotwSession`] are
//! thin readers of their dialect's requests over one core, which keeps what the
//! proxy subscribed to and *how what it has differs* from the newest view: a
//! session that is up to date costs its subscribed names and little more, and a
//! new view costs what changed.
//!
//! Order (make before break): a listener or route waits until clusters that are
//! new to the proxy and that it needs are acknowledged; a cluster waits until
//! the secrets it needs exist; a cluster goes when what used it is acknowledged
//! to have stopped; a listener goes before another one may come to its address.
//! Endpoints and secrets never wait, since Envoy holds its
//! acknowledgement of a cluster back until it has them. A proxy that never
//! acknowledges is carried on in this order after a bound.
//!
//! It is not the place for I/O, clocks or tasks: `server` has those.
//! Specification: Envoy's "xDS REST and gRPC protocol".

mod ack;
mod batch;
mod core;
mod deliver;
mod delta;
mod in_flight;
mod kind;
mod order;
mod response;
mod resume;
mod secrets;
mod sotw;
mod status;
mod subscription;

use std::time::Duration;

pub use delta::DeltaSession;
pub use in_flight::Nonce;
pub use response::Response;
pub use secrets::{Possible, Secrets, UnknownSecret};
pub use sotw::SotwSession;
pub use status::{KindStatus, Nack, Received, Rejected, SessionStatus, Subscription};

use crate::resource::ResourceKind;

/// Bounds and time-outs of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How many names a proxy may subscribe to, for each kind of resource.
    pub max_names: usize,
    /// How many resources of a kind a proxy that connects anew may say that it has: it was sent
    /// them under a wildcard, which names none, and some may be gone since.
    pub max_known: usize,
    /// How long a name may be, in bytes.
    pub max_name_length: usize,
    /// How many responses of one kind may wait for their acknowledgement.
    pub max_outstanding: usize,
    /// After how many bytes of resources a response is closed and another one
    /// begun, where the dialect allows it. One resource is never split.
    pub response_bytes: usize,
    /// For how long what depends on an unacknowledged response is held back.
    pub acknowledgement_timeout: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            max_names: 10_000,
            max_known: 50_000,
            max_name_length: 1024,
            max_outstanding: 64,
            response_bytes: 64 * 1024,
            acknowledgement_timeout: Duration::from_secs(20),
        }
    }
}

/// What a proxy sent that ends its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first request does not say who asks.
    #[error("node.id is missing in the first request")]
    MissingNode,
    /// A request names another node than the one that was authenticated.
    #[error("node.id is {claimed:?}, but this stream belongs to {proved:?}")]
    WrongNode {
        /// What the request says.
        claimed: String,
        /// Whose stream it is.
        proved: String,
    },
    /// More names than allowed.
    #[error("{names} names of {kind} resources subscribed to; at most {limit} are allowed")]
    TooManyNames {
        /// The kind of resource.
        kind: ResourceKind,
        /// How many there would be.
        names: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More resources than a proxy can have been sent.
    #[error("the proxy says that it has {known} {kind} resources; at most {limit} are allowed")]
    TooManyKnown {
        /// The kind of resource.
        kind: ResourceKind,
        /// How many it says.
        known: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A name that no resource can have.
    #[error("a {kind} resource name of {length} bytes; it must have 1 to {limit}")]
    InvalidName {
        /// The kind of resource.
        kind: ResourceKind,
        /// How long the name is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
}

/// The dialect that a session's proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Incremental xDS: responses carry what changed.
    Delta,
    /// State of the world: a response of clusters or listeners carries all.
    Sotw,
}

#[cfg(test)]
mod tests;
