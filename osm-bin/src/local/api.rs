//! What a mesh on this machine tells and is told over its control socket.
//!
//! One JSON object a request and a response, over HTTP/1.1 on a Unix socket that
//! only root can open. [`Client`](super::client::Client) speaks it; the commands of `osm local`
//! and the demo are written against these types. Pods are named
//! `namespace/name`, identities `namespace/service-account`.

mod event;
mod request;
mod status;

use serde::{Deserialize, Serialize};

pub use event::{Change, Event, Events, Happening, PodChange, RootStep};
pub use request::{
    DialRequest, DialResponse, EnterRequest, EnterResponse, FetchRequest, FetchResponse, HttpRequest,
    RestartRequest,
};
pub use status::{
    CertificateStatus, ControlPlaneStatus, Finding, Phase, PodPhase, PodStatus, ProcessStatus, ProxyStatus,
    Refused, RootsStatus, Sent, ServiceStatus, Status,
};

/// The paths of the control socket's requests.
pub mod path {
    /// `GET`: a [`Status`](super::Status).
    pub const STATUS: &str = "/status";
    /// `GET` with `after` and `wait_ms`: [`Events`](super::Events).
    pub const EVENTS: &str = "/events";
    /// `POST` a [`FetchRequest`](super::FetchRequest): a [`FetchResponse`](super::FetchResponse).
    pub const FETCH: &str = "/fetch";
    /// `POST` a [`DialRequest`](super::DialRequest): a [`DialResponse`](super::DialResponse).
    pub const DIAL: &str = "/dial";
    /// `POST`: signs all certificates anew; answers as soon as that has begun.
    pub const ROTATE: &str = "/rotate";
    /// `POST` a [`RestartRequest`](super::RestartRequest): ends the control plane and starts
    /// another; answers when it is up.
    pub const RESTART_CONTROLLER: &str = "/restart-controller";
    /// `POST` an [`EnterRequest`](super::EnterRequest): an [`EnterResponse`](super::EnterResponse).
    pub const ENTER: &str = "/enter";
    /// `POST`: ends the mesh; answers at once.
    pub const SHUTDOWN: &str = "/shutdown";
}

/// What went wrong with a request, as the body of a response that is not 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, and what to do next.
    pub message: String,
}

/// An answer that only says that it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
