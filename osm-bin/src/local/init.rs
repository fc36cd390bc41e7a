//! The first processes of a mesh's own namespaces, and the one outside that they
//! end with.
//!
//! Outside, [`start`] makes the namespaces and their first process, in such a way
//! that the end of this process, however it comes, ends that one, and with it
//! everything: processes, mounts, networks. Those of an ordinary user lie in a user
//! namespace ([`super::user_namespace`]). Inside, [`first_process`] is process 1,
//! which all orphans fall to and which does nothing but bury them; its one child
//! runs the mesh ([`supervise`]).

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, wait};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::context::Settings;
use super::mesh;
use super::requirements::Tools;
use super::state::StateFolder;

/// The hidden commands of `osm local` that are started inside.
pub const FIRST_PROCESS: &str = "__first-process";
/// See [`supervise`].
pub const SUPERVISE: &str = "__supervise";

/// Starts a mesh in namespaces of its own. It ends when this process ends, when
/// the child's standard input is closed, or when the child is killed.
///
/// To be called from a thread that lives as long as this process: the kernel ties
/// the child's life to it.
///
/// # Errors
/// When the first program can't be started.
pub fn start(settings: &Settings) -> Result<Child> {
    let own = std::env::current_exe().context("finding this program")?;
    let text = serde_json::to_string(settings).context("writing settings")?;
    let tools = &settings.tools;
    let mut words = Vec::new();
    if let Some(user_namespace) = &settings.user_namespace {
        words = user_namespace.words()?;
    }
    words.extend(namespaces(tools));
    Command::new(&tools.setpriv)
        .args(["--pdeathsig", "KILL", "--"])
        .args(words)
        .arg(own)
        .args(["local", FIRST_PROCESS, &text])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", tools.setpriv.display()))
}

/// The words that run a command as process 1 of namespaces of its own.
pub(super) fn namespaces(tools: &Tools) -> Vec<String> {
    let unshare = tools.unshare.display().to_string();
    let options =
        ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--mount-proc", "--"];
    std::iter::once(unshare).chain(options.map(str::to_owned)).collect()
}

/// Runs as process 1: starts the mesh, and buries whoever ends. Ends with the mesh.
///
/// # Errors
/// When the mesh ended otherwise than well.
pub fn first_process(settings: &str) -> Result<()> {
    let own = std::env::current_exe().context("finding this program")?;
    let child =
        Command::new(own).args(["local", SUPERVISE, settings]).spawn().context("starting the mesh")?;
    let mesh = i32::try_from(child.id()).context("a process number is small")?;
    loop {
        match wait() {
            Ok(WaitStatus::Exited(process, 0)) if process.as_raw() == mesh => return Ok(()),
            Ok(WaitStatus::Exited(process, code)) if process.as_raw() == mesh => std::process::exit(code),
            Ok(WaitStatus::Signaled(process, signal, _)) if process.as_raw() == mesh => {
                bail!("the mesh was ended by {signal}")
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the mesh"),
        }
    }
}

/// Runs the mesh until it is told to end, or until whoever started it is gone.
///
/// # Errors
/// When it does not start.
pub fn supervise(settings: &str) -> Result<()> {
    crate::limits::raise_open_files();
    let settings: Settings = serde_json::from_str(settings).context("reading settings")?;
    log_to_file(&settings)?;
    let stop = CancellationToken::new();
    end_with_starter(stop.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting")?;
    let ended = runtime.block_on(mesh::run(settings, stop));
    if let Err(error) = &ended {
        tracing::error!(error = format!("{error:#}"), "mesh ends");
    }
    // Whatever still runs ends with process 1.
    runtime.shutdown_background();
    ended
}

fn log_to_file(settings: &Settings) -> Result<()> {
    let path = StateFolder::new(&settings.state, &settings.name)?.mesh_log();
    let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    let filter = std::env::var("OSM_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).context("$OSM_LOG is not a log filter; try `info`")?;
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_target(false)
        .try_init();
    installed.map_err(|error| anyhow::anyhow!("logs cannot be set up: {error}"))
}

/// The starter holds the other end of standard input, and never writes.
fn end_with_starter(stop: CancellationToken) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while matches!(std::io::stdin().read(&mut buffer), Ok(count) if count > 0) {}
        stop.cancel();
    });
}
