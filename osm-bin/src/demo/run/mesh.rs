//! The mesh of a demo: an `osm local up` of its own.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::demo::DemoArgs;
use crate::local::api::{Phase, Status};
use crate::local::client::Client;
use crate::local::requirements::{Tools, search_path};
use crate::local::state::StateFolder;

/// How long a mesh may take to come up.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long pods may not be ready after that: an application that has ended is started again.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// How much of what it said is shown when it fails, in bytes.
const TAIL: usize = 4000;

/// The pods that take no requests, each with the reason on a line of its own.
fn unready(status: &Status) -> String {
    let pods = status.pods.iter().filter(|pod| !pod.ready);
    let lines = pods.map(|pod| format!("  {}: {}\n", pod.pod, pod.reason.as_deref().unwrap_or("not ready")));
    lines.collect::<String>().trim_end().to_owned()
}

/// A mesh that is to run, or runs.
pub(super) struct Mesh {
    command: Command,
    client: Client,
    child: Option<Child>,
    output: File,
    name: String,
}

impl Mesh {
    /// A mesh of the manifests in a folder. Nothing runs yet.
    pub(super) fn prepare(args: &DemoArgs, name: &str, state: &Path, manifests: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let output = tempfile::tempfile().context("making a file for the mesh's output")?;
        // However this demo ends, its mesh ends in order.
        let mut command = Command::new(Tools::find(&search_path())?.setpriv);
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command.args(["local", "up", "--name", name, "-f"]).arg(manifests).arg("--state").arg(state);
        if let Some(envoy) = &args.envoy {
            command.arg("--envoy").arg(envoy);
        }
        if let Some(apps) = &args.apps {
            command.arg("--path").arg(apps);
        }
        let copy = || output.try_clone().context("sharing the mesh's output");
        command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?).kill_on_drop(true);
        let client = Client::new(StateFolder::new(state, name)?.socket());
        Ok(Self { command, client, child: None, output, name: name.to_owned() })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Starts it and waits until all of its pods are ready.
    pub(super) async fn start(&mut self) -> Result<Status> {
        if self.client.is_up().await {
            bail!(
                "a demo runs already; end it with `osm local down --name {}`, or choose another `--name`",
                self.name
            );
        }
        self.child = Some(self.command.spawn().context("starting the mesh")?);
        let deadline = Instant::now() + START_LIMIT;
        let mut up_since = None;
        loop {
            self.check()?;
            if self.client.is_up().await {
                let status = self.client.status().await?;
                if status.phase == Phase::Up {
                    let unready = unready(&status);
                    if unready.is_empty() {
                        return Ok(status);
                    }
                    if up_since.get_or_insert_with(Instant::now).elapsed() > READY_LIMIT {
                        bail!("the demo can't begin, as applications are not ready:\n{unready}");
                    }
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "the mesh did not come up within {} s. It said:\n{}",
                    START_LIMIT.as_secs(),
                    self.said()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Checks that it has not ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(status) = child.try_wait().context("looking after the mesh")? {
            self.child = None;
            bail!("the mesh ended by itself ({status}). It said:\n{}", self.said());
        }
        Ok(())
    }

    /// Ends it and waits for its end.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // It may be ending already, by the same Ctrl-C.
        drop(self.client.shutdown().await);
        if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
            child.kill().await.context("ending the mesh")?;
            bail!("the mesh did not end within {} s and was killed", STOP_LIMIT.as_secs());
        }
        Ok(())
    }

    /// The end of what it said.
    fn said(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.output.rewind().and_then(|()| self.output.read_to_end(&mut text));
        if read.is_err() {
            return "(its output cannot be read)".to_owned();
        }
        let from = text.len().saturating_sub(TAIL);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
    }
}
