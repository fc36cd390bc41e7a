//! The client's side of a mesh's control socket.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::{
    DialRequest, DialResponse, Done, EnterRequest, EnterResponse, Events, FetchRequest, FetchResponse,
    Problem, RestartRequest, Status, path,
};
use super::http;

/// Speaks to one mesh on this machine. Every call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the mesh that listens on this socket. Nothing is opened yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether a mesh listens there.
    pub async fn is_up(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    /// The process at the other end, as this process numbers it: one that lives
    /// in the mesh's own namespaces.
    ///
    /// # Errors
    /// When no mesh listens there.
    pub async fn process(&self) -> Result<u32> {
        let credentials =
            self.connect().await?.peer_cred().context("asking who listens on the control socket")?;
        let pid = credentials.pid().context("the kernel does not tell who listens on the control socket")?;
        u32::try_from(pid).context("a process number is not negative")
    }

    /// The whole mesh at this moment.
    ///
    /// # Errors
    /// When no mesh listens there, or it can't answer.
    pub async fn status(&self) -> Result<Status> {
        self.call(Method::GET, path::STATUS, Bytes::new()).await
    }

    /// Events after a number, at once if there are any, else within `wait`.
    ///
    /// # Errors
    /// When no mesh listens there, or it can't answer.
    pub async fn events(&self, after: u64, wait: Duration) -> Result<Events> {
        let path = format!("{}?after={after}&wait_ms={}", path::EVENTS, wait.as_millis());
        self.call(Method::GET, &path, Bytes::new()).await
    }

    /// Asks an application, from inside its pod and past its proxy.
    ///
    /// # Errors
    /// When there is no such pod, or nothing answers on that port.
    pub async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse> {
        self.post(path::FETCH, request).await
    }

    /// Connects to a pod's proxy as any identity.
    ///
    /// # Errors
    /// When the request makes no sense. That the proxy refuses is no error: the
    /// response tells it.
    pub async fn dial(&self, request: &DialRequest) -> Result<DialResponse> {
        self.post(path::DIAL, request).await
    }

    /// Has all certificates signed anew.
    ///
    /// # Errors
    /// When no mesh listens there, or it can't.
    pub async fn rotate(&self) -> Result<()> {
        self.post::<_, Done>(path::ROTATE, &Done {}).await.map(drop)
    }

    /// Ends the control plane, and starts another once there was none for a while.
    ///
    /// # Errors
    /// When no mesh listens there, or the other one does not start.
    pub async fn restart_controller(&self, stay_down: Duration) -> Result<()> {
        let stay_down_ms = u64::try_from(stay_down.as_millis()).unwrap_or(u64::MAX);
        let request = RestartRequest { stay_down_ms };
        self.post::<_, Done>(path::RESTART_CONTROLLER, &request).await.map(drop)
    }

    /// How a program is run inside a pod.
    ///
    /// # Errors
    /// When there is no such pod, or no such program.
    pub async fn enter(
        &self,
        pod: &str,
        program: &str,
        environment: BTreeMap<String, String>,
    ) -> Result<EnterResponse> {
        let request = EnterRequest { pod: pod.to_owned(), program: program.to_owned(), environment };
        self.post(path::ENTER, &request).await
    }

    /// Has the mesh end.
    ///
    /// # Errors
    /// When no mesh listens there.
    pub async fn shutdown(&self) -> Result<()> {
        self.post::<_, Done>(path::SHUTDOWN, &Done {}).await.map(drop)
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(&self, path: &str, request: &Q) -> Result<A> {
        let body = serde_json::to_vec(request).context("writing a request")?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A> {
        let stream = self.connect().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "local")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .context("writing a request")?;
        let response = http::exchange(stream, request).await.context("the mesh ended before it answered")?;
        answer(response.status(), response.body())
    }

    async fn connect(&self) -> Result<UnixStream> {
        UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                anyhow::anyhow!(
                    "the mesh at {} is another user's; only they and root may do this",
                    self.socket.display()
                )
            }
            _ => anyhow::anyhow!(
                "no mesh runs here (nothing listens on {}); start one with `osm local up -f DIR`",
                self.socket.display()
            ),
        })
    }
}

fn answer<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A> {
    if status.is_success() {
        return serde_json::from_slice(body)
            .context("the mesh answers in words of another version; use the `osm` that started it");
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => bail!("{}", problem.message),
        Err(_) => bail!("the mesh answers {status}: {}", String::from_utf8_lossy(body)),
    }
}
