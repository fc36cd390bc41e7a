//! The controller as a process of its own, watched from outside.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

/// How long it may take to start, with the biggest mesh.
const START: Duration = Duration::from_secs(120);
/// How long it may take to end.
const END: Duration = Duration::from_secs(20);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);

/// A controller that runs; it is ended when this is dropped.
#[derive(Debug)]
pub(super) struct ControllerProcess {
    child: Child,
    log: PathBuf,
    /// Where proxies connect.
    pub(super) xds: SocketAddr,
    admin: SocketAddr,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

/// The controller: what was said, or what lies beside this program.
pub(super) fn find(said: Option<&Path>) -> Result<PathBuf> {
    let path = match said {
        Some(path) => path.to_owned(),
        None => {
            let own = std::env::current_exe().context("where this program is")?;
            let folders = own.ancestors().skip(1).take(2).map(|folder| folder.join("osm-controller"));
            folders.into_iter().find(|path| path.is_file()).unwrap_or_default()
        }
    };
    if !path.is_file() {
        bail!("there is no osm-controller beside this program; build it, or name it with --controller");
    }
    Ok(path)
}

impl ControllerProcess {
    /// Starts a controller that is told where objects are, and waits until it is ready.
    pub(super) fn start(program: &Path, source: &[String], authority: &Path, scratch: &Path) -> Result<Self> {
        let (ready, log) = (scratch.join("ready.json"), scratch.join("controller.log"));
        let output = File::create(&log).context("the controller's log")?;
        let child = Command::new(program)
            .args(source)
            .env_remove("KUBECONFIG")
            .args(["--xds-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--max-proxies", "100000"])
            .arg("--ca-folder")
            .arg(authority)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("the controller's log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, log, xds: nowhere, admin: nowhere };
        let addresses = process.wait_until_ready(&ready)?;
        let address = |name: &str| -> Result<SocketAddr> {
            let text = addresses[name].as_str().ok_or_else(|| anyhow!("no `{name}` address: {addresses}"))?;
            text.parse().with_context(|| format!("the `{name}` address"))
        };
        (process.xds, process.admin) = (address("xds")?, address("admin")?);
        Ok(process)
    }

    fn wait_until_ready(&mut self, file: &Path) -> Result<Value> {
        let deadline = Instant::now() + START;
        loop {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if let Ok(addresses) = serde_json::from_str(&text) {
                return Ok(addresses);
            }
            if let Some(status) = self.child.try_wait().context("waiting for the controller")? {
                bail!("the controller ended with {status}:\n{}", self.log());
            }
            if Instant::now() > deadline {
                bail!("the controller is not ready after {START:?}:\n{}", self.log());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The end of what it has logged.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The time that it has spent computing, in all its threads, also those that ended.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(self.pid()).context("the controller's clock")?;
        Ok(clock_gettime(clock).context("the controller's clock")?.into())
    }

    /// Its resident memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .context("the controller's memory")?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            Ok(kilobytes.ok_or_else(|| anyhow!("no {name} in its status"))? * 1024)
        };
        Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Has the most memory counted anew from now on.
    pub(super) fn forget_peak(&self) -> Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").context("the controller's memory")
    }

    /// One of its counters, by the name that it has on `/metrics`.
    pub(super) fn counter(&self, name: &str) -> Result<f64> {
        let mut socket = TcpStream::connect(self.admin).context("the controller's metrics")?;
        write!(socket, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        socket.read_to_string(&mut text).context("the controller's metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| anyhow!("no {name} among the metrics"))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Asks it to end, and waits.
    pub(super) fn end(mut self) -> Result<()> {
        kill(self.pid(), Signal::SIGTERM).context("ending the controller")?;
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("waiting for the controller")? {
                if !status.success() {
                    bail!("the controller ended with {status}:\n{}", self.log());
                }
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        bail!("the controller does not end:\n{}", self.log())
    }
}

impl Drop for ControllerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
