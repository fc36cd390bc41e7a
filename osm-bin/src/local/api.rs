//! What a mesh on this machine tells and is told over its control socket.
//!
//! One JSON object a request and a response, over HTTP/1.1 on a Unix socket that
//! only root can open. [`Client`](super::client::Client) speaks it; the commands of `osm local`
//! and the demo are written against these types. Pods are named
//! `namespace/name`, identities `namespace/service-account`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// How far a mesh has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not all pods have been ready yet.
    Starting,
    /// All pods that can be ready have been.
    Up,
    /// It is about to end.
    Stopping,
}

/// A whole mesh at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The name that `--name` gave it.
    pub name: String,
    /// The name of the mesh, as namespaces are labelled with it.
    pub mesh_name: String,
    /// How far it has come.
    pub phase: Phase,
    /// Where its manifests are.
    pub manifests: PathBuf,
    /// For how long it has been running, in milliseconds.
    pub running_ms: u64,
    /// The control plane.
    pub control_plane: ControlPlaneStatus,
    /// Its pods, by namespace and name.
    pub pods: Vec<PodStatus>,
    /// Its services, by namespace and name.
    pub services: Vec<ServiceStatus>,
    /// What is wrong with the manifests, worst first.
    pub findings: Vec<Finding>,
}

/// The control plane at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneStatus {
    /// Where proxies connect to, inside the mesh.
    pub xds_address: String,
    /// Where metrics and health are, inside the mesh.
    pub admin_address: String,
    /// Whether it runs; it does not while it is being restarted.
    pub running: bool,
    /// How often it was restarted.
    pub restarts: u64,
    /// The version of the newest snapshot of the mesh.
    pub snapshot: u64,
    /// Whether MeshConfig lets every workload reach every service.
    pub permissive: bool,
    /// How many proxies are connected.
    pub proxies: usize,
    /// How many of them have not acknowledged everything.
    pub behind: usize,
}

/// A service at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// `namespace/name`.
    pub service: String,
    /// Its virtual address; `None` for a headless service.
    pub address: Option<String>,
    /// The ports that clients dial.
    pub ports: Vec<u16>,
    /// The pods behind it, ready or not.
    pub pods: Vec<String>,
}

/// What a pod is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodPhase {
    /// Its network and proxy are being made ready; no container runs yet.
    Starting,
    /// Its containers have been started.
    Running,
    /// It is about to go.
    Terminating,
}

/// A pod at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodStatus {
    /// `namespace/name`.
    pub pod: String,
    /// Its address.
    pub address: String,
    /// Its identity, `namespace/service-account`.
    pub identity: String,
    /// The file and line that it comes from.
    pub location: String,
    /// What it is doing.
    pub phase: PodPhase,
    /// Whether it takes requests.
    pub ready: bool,
    /// Why it is not ready, where that is known.
    pub reason: Option<String>,
    /// Its containers, those that run before the others first.
    pub containers: Vec<ProcessStatus>,
    /// Its proxy; `None` outside the mesh.
    pub proxy: Option<ProxyStatus>,
}

/// A process that is kept running, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// The name of the container; `envoy` for the proxy.
    pub name: String,
    /// Its process in the mesh's own namespace of processes; `None` when none runs.
    pub pid: Option<u32>,
    /// Whether it runs and its readiness probe succeeds.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last, such as `exit status 1`, or why it can't be started.
    pub last_end: Option<String>,
    /// The file that its output goes to.
    pub log: PathBuf,
}

/// A proxy at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The unique name of the proxy.
    pub uuid: String,
    /// Envoy.
    pub process: ProcessStatus,
    /// Whether it is connected to the control plane.
    pub connected: bool,
    /// Whether it has acknowledged everything.
    pub in_sync: bool,
    /// The version of what it is being sent, and of what it has acknowledged.
    pub versions: (Option<u64>, Option<u64>),
    /// How many resources of each kind it has, by kind.
    pub resources: BTreeMap<String, usize>,
    /// What was sent to it since it connected.
    pub sent: Sent,
    /// What it refused.
    pub refused: Vec<Refused>,
    /// The certificate of its workload, with which it proves to others who it is.
    pub certificate: Option<CertificateStatus>,
    /// Its own certificate, with which it proves to the control plane who it is.
    pub own_certificate: Option<CertificateStatus>,
}

/// What was sent to a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Responses.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of these resources.
    pub bytes: u64,
    /// Names that it was told are gone.
    pub removed: u64,
}

/// A resource that a proxy refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its kind and name.
    pub resource: String,
    /// What the proxy said.
    pub message: String,
    /// The objects and defaults that made it, most important first.
    pub origins: Vec<String>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its serial number: hexadecimal bytes joined by colons, as `openssl x509` writes them.
    pub serial: String,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    /// In how many seconds it expires; negative once it has.
    pub expires_in: i64,
}

/// A finding about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// The stable word for it.
    pub code: String,
    /// The whole text, with file and line.
    pub text: String,
}

/// Events after a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// What to ask for next: the number of the newest event.
    pub last: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts events from 1.
    pub number: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// All pods that can be ready are, for the first time.
    Up {
        /// How many pods there are.
        pods: usize,
        /// How many proxies.
        proxies: usize,
        /// How long it took from the start, in milliseconds.
        after_ms: u64,
    },
    /// A pod became ready, or is not ready any more.
    Readiness {
        /// The pod.
        pod: String,
        /// Whether it takes requests now.
        ready: bool,
    },
    /// A process ended that should run, and is started again.
    Ended {
        /// The pod.
        pod: String,
        /// The container, or `envoy`.
        process: String,
        /// How it ended, such as `exit status 1` or `signal 9`.
        how: String,
        /// In how many milliseconds it is started again.
        again_in_ms: u64,
    },
    /// A process can't be started.
    CannotStart {
        /// The pod.
        pod: String,
        /// The container, or `envoy`.
        process: String,
        /// Why, and what to do about it, with file and line.
        reason: String,
    },
    /// A pod is there, or gone, or is started anew because its manifest changed.
    Pod {
        /// The pod.
        pod: String,
        /// What happens to it.
        change: PodChange,
    },
    /// The mesh changed, and this is how far it reached.
    Changed(Change),
    /// The findings about the manifests changed.
    Findings {
        /// What is new.
        new: Vec<Finding>,
        /// The text of what is no longer so.
        gone: Vec<String>,
    },
    /// The control plane was restarted.
    ControllerRestarted {
        /// How long there was none, in milliseconds.
        gap_ms: u64,
    },
    /// All certificates are being signed anew.
    Rotating,
    /// The mesh ends.
    Stopping,
}

/// What happens to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodChange {
    /// It is new.
    Added,
    /// What it runs changed; it keeps its address.
    Restarted,
    /// It goes.
    Removed,
}

/// A change of the mesh: what was edited, and when the last proxy had acknowledged it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Objects that are new, as `Kind namespace/name (file:line)`.
    pub added: Vec<String>,
    /// Objects that are different.
    pub changed: Vec<String>,
    /// Objects that are gone.
    pub removed: Vec<String>,
    /// How many proxies were given something new.
    pub proxies: u64,
    /// How many resources were generated for it.
    pub generated: u64,
    /// How long it took from the edit's being read until the last proxy had
    /// acknowledged it, in milliseconds; `None` when some have not.
    pub acknowledged_ms: Option<f64>,
}

/// An HTTP request to an application, from inside its pod and past its proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchRequest {
    /// The pod.
    pub pod: String,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The method; empty is `GET`.
    pub method: String,
    /// The path and query; empty is `/`.
    pub path: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
}

/// What the application answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResponse {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// A connection to a pod's proxy as any identity, with no proxy on the
/// client's side: what a workload that has got around its sidecar could try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DialRequest {
    /// The identity whose certificate is shown, `namespace/service-account`;
    /// `None` speaks plaintext.
    pub identity: Option<String>,
    /// The service that is dialled, `namespace/name`.
    pub service: String,
    /// The port of the service.
    pub port: u16,
    /// The pod to connect to; `None` is the first ready one behind the service.
    pub pod: Option<String>,
    /// The server name in TLS; `None` is the one that the service's clients use.
    pub server_name: Option<String>,
    /// The application protocol in TLS; `None` is `osm`, as proxies use.
    pub alpn: Option<String>,
    /// An HTTP request to send; `None` sends nothing by HTTP.
    pub http: Option<HttpRequest>,
    /// Bytes to send as they are, where no HTTP request is; `None` only listens.
    pub send: Option<String>,
    /// How long to wait for an answer, in milliseconds; `None` is 2,000.
    pub timeout_ms: Option<u64>,
}

/// An HTTP request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRequest {
    /// The method; empty is `GET`.
    pub method: String,
    /// The path and query; empty is `/`.
    pub path: String,
    /// Headers; `host` is that of the service unless it is among them.
    pub headers: BTreeMap<String, String>,
}

/// What came of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialResponse {
    /// The address that was dialled.
    pub address: String,
    /// Whether a connection was made.
    pub connected: bool,
    /// Whether the client's side of the handshake came to its end. With TLS 1.3 a
    /// server that does not like the client's certificate says so only after that.
    pub handshake: bool,
    /// The serial number of the certificate that was served, in the same form as in [`CertificateStatus`].
    pub serial: Option<String>,
    /// The URIs in it.
    pub uris: Vec<String>,
    /// The answer to the HTTP request.
    pub http: Option<FetchResponse>,
    /// How many bytes were received where no HTTP request was sent.
    pub received: usize,
    /// These bytes as text.
    pub text: String,
    /// What ended it, if an error did.
    pub error: Option<String>,
}

/// How the control plane is restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartRequest {
    /// How long there is to be none, in milliseconds; at most a minute.
    pub stay_down_ms: u64,
}

/// Asks how a program is run inside a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterRequest {
    /// The pod.
    pub pod: String,
    /// The program, as the user calls it.
    pub program: String,
}

/// How a program is run inside a pod, from within the mesh's own namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterResponse {
    /// What stands before the program's arguments; the program is its last word.
    pub prefix: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

/// An answer that only says that it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
