//! A mesh at one moment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// The files and folders of its manifests.
    pub manifests: Vec<PathBuf>,
    /// For how long it has been running, in milliseconds.
    pub running_ms: u64,
    /// The control plane.
    pub control_plane: ControlPlaneStatus,
    /// The roots of its certificates; `None` while the control plane is being restarted.
    pub roots: Option<RootsStatus>,
    /// Its pods, by namespace and name.
    pub pods: Vec<PodStatus>,
    /// Its services, by namespace and name.
    pub services: Vec<ServiceStatus>,
    /// What is wrong with the manifests, worst first.
    pub findings: Vec<Finding>,
}

/// The roots of a mesh at one moment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootsStatus {
    /// The root by which workloads' certificates are signed.
    pub issuing: String,
    /// The root of the control plane's own certificate.
    pub serving: String,
    /// The roots that are trusted, in order.
    pub trusted: Vec<String>,
    /// The trust domains in which identities are the mesh's, the one that they have first.
    #[serde(default)]
    pub trust_domains: Vec<String>,
    /// How many steps the mesh has taken in its life.
    pub stage: u64,
    /// Whether nothing more is to be done.
    pub settled: bool,
    /// What is done, or what is waited for and who holds it up, as a sentence: the first of them are named.
    pub message: String,
    /// All who hold it up, pods by their names, each with what is missing.
    #[serde(default)]
    pub held_up_by: Vec<String>,
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
    /// Whose it is: a SPIFFE ID.
    #[serde(default)]
    pub id: String,
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
