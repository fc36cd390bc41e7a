//! What a mesh is asked to do, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// The serial number of the certificate that was served, in the same form as in [`CertificateStatus`](super::CertificateStatus).
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
    /// Variables in addition to those of the pod's first container.
    pub environment: BTreeMap<String, String>,
}

/// How a program is run inside a pod, from within the mesh's own namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterResponse {
    /// What stands before the program's arguments; the program is its last word.
    pub prefix: Vec<String>,
}
