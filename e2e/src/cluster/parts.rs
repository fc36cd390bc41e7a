//! Parts of the cluster itself that are taken away, and processes that are killed: what a crash would do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use crate::kubectl::{get, kubectl, run, until};

/// The variable with the command that takes parts of the cluster away.
const COMMAND: &str = "OSM_CLUSTER";

/// A program of the cluster that is away until this goes.
#[derive(Debug)]
pub struct Away(&'static str);

impl Away {
    /// Takes it away at once.
    ///
    /// # Errors
    /// When nobody has said how, or it does not end.
    pub fn take(program: &'static str) -> Result<Self> {
        // It is started again as well if only the answer is late.
        let away = Self(program);
        cluster(&["stop", program])?;
        Ok(away)
    }

    /// Starts it again, and waits until the API server serves.
    ///
    /// # Errors
    /// When it does not.
    pub fn bring_back(self) -> Result<()> {
        drop(self);
        until("API server", || kubectl(&["get", "--raw=/readyz", "--request-timeout=2s"]).map(drop))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Err(error) = cluster(&["start", self.0]) {
            eprintln!("{} could not be started again: {error:#}", self.0);
        }
    }
}

/// Whether somebody has said how parts of the cluster are taken away.
#[must_use]
pub fn are_in_hand() -> bool {
    std::env::var_os(COMMAND).is_some()
}

/// Kills the process of a container, whose number is as a pod's status says it. The kubelet starts another one.
///
/// # Errors
/// When nobody has said how, or there is no such process.
pub fn kill(container: &str) -> Result<()> {
    cluster(&["kill", container.rsplit('/').next().unwrap_or(container)])
}

/// Runs the command that `cargo xtask e2e` names, which has parts of the cluster in hand.
fn cluster(words: &[&str]) -> Result<()> {
    let command = std::env::var(COMMAND).context(
        "OSM_CLUSTER is a command to which `stop PROGRAM`, `start PROGRAM` (kube-apiserver, etcd) and `kill CONTAINER` are added; \
         `cargo xtask e2e` sets it where the cluster is the project's own, such as `cargo xtask cluster`",
    )?;
    let (program, first) = command.split_once(' ').unwrap_or((&command, ""));
    run(program, &first.split_whitespace().chain(words.iter().copied()).collect::<Vec<_>>(), None).map(drop)
}

/// The control plane's pod, as it can be reached and killed without the API server.
#[derive(Debug)]
pub struct ControlPlane {
    pod: String,
    address: String,
    container: String,
}

impl ControlPlane {
    /// The one that there is.
    ///
    /// # Errors
    /// When there is none, or more.
    pub fn find() -> Result<Self> {
        let pods = get(&["pods", "--namespace=osm-system", "--selector=app=osm-controller"])?;
        let pods = pods["items"].as_array().context("a list of pods")?;
        ensure!(pods.len() == 1, "{} pods of the control plane", pods.len());
        let pod = pods[0]["metadata"]["name"].as_str().context("a name")?.to_owned();
        let status = &pods[0]["status"];
        let address = status["podIP"].as_str().context("an address")?.to_owned();
        let container = status["containerStatuses"][0]["containerID"].as_str().context("a container")?;
        Ok(Self { pod, address, container: container.to_owned() })
    }

    /// Kills its process. The kubelet starts another one.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill(&self) -> Result<()> {
        kill(&self.container)
    }

    /// Whether it is another process in the pod of an earlier one.
    #[must_use]
    pub fn follows(&self, earlier: &Self) -> bool {
        self.pod == earlier.pod && self.container != earlier.container
    }

    /// The moments at which this process has logged something.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn logged(&self, what: &str) -> Result<Vec<Timestamp>> {
        let log = kubectl(&["logs", "--namespace=osm-system", &self.pod, "--timestamps"])?;
        let moments = log.lines().filter(|line| line.contains(what)).map(|line| {
            let moment = line.split(' ').next().unwrap_or_default();
            moment.parse().with_context(|| format!("the moment of {line}"))
        });
        moments.collect()
    }

    /// Asks one of its pages, and returns the number of the answer's status and its text. Nothing that
    /// is not there answers.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn page(&self, path: &str) -> Result<(u16, String)> {
        let address: SocketAddr = format!("{}:9091", self.address).parse().context("an address")?;
        let patience = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, patience).context("connecting")?;
        stream.set_read_timeout(Some(patience)).context("a patience")?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).context("asking")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).context("reading")?;
        let (head, body) = said.split_once("\r\n\r\n").context("a head and a body")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
        Ok((status, body.to_owned()))
    }
}
