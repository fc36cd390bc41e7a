//! `osm local up`: starts a mesh, and tells what happens in it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::lines::{Painter, print};
use crate::local::api::{Event, Happening};
use crate::local::client::Client;
use crate::local::context::{Settings, application_uid};
use crate::local::init;
use crate::local::requirements::{Tools, find_envoy, search_path};
use crate::local::state::StateFolder;
use crate::local::user_namespace::UserNamespace;

/// How often a starting mesh is asked whether it is there.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait for an event.
const WAIT: Duration = Duration::from_secs(20);
/// How long a mesh has to end once it is told to.
const STOP_BOUND: Duration = Duration::from_secs(20);

/// Which mesh to run, and with what.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// A file or folder of manifests; may be repeated
    #[arg(short = 'f', long = "files", value_name = "PATH", required = true)]
    pub manifests: Vec<PathBuf>,
    /// The Envoy to run [default: $OSM_ENVOY, `envoy` on the path, the one that `cargo xtask envoy` fetched]
    #[arg(long, value_name = "FILE")]
    pub envoy: Option<PathBuf>,
    /// A folder to look for the programs of containers in, before the path; may be repeated
    #[arg(long = "path", value_name = "FOLDER")]
    pub path: Vec<PathBuf>,
    /// Namespaces labelled `openservicemesh.io/monitored-by` with this belong to the mesh
    #[arg(long, value_name = "NAME", default_value = "osm")]
    pub mesh_name: String,
    /// Return once the mesh is up, and leave it running
    #[arg(long)]
    pub detach: bool,
}

impl UpArgs {
    /// Looks whether everything is there that is needed.
    fn settings(&self, folder: &StateFolder, state: &Path) -> Result<Settings> {
        let system = search_path();
        let own = std::env::current_exe().context("finding this program")?;
        let folders = self.path.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>();
        let mut search_path = folders.context("--path")?;
        search_path.extend(own.parent().map(Path::to_owned));
        let tools = Tools::find(&system)?;
        let envoy = find_envoy(self.envoy.as_deref(), &system)?;
        search_path.extend(system);
        for path in &self.manifests {
            ensure!(path.exists(), "-f {}: there is no such file or folder", path.display());
        }
        let manifests = self.manifests.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>();
        let manifests = manifests.context("-f")?;
        let state = std::path::absolute(state).context("--state")?;
        for path in manifests.iter().chain([&envoy, &own, &state]) {
            // A folder that is not there yet has no other name.
            let hidden = path.canonicalize().as_ref().unwrap_or(path).starts_with("/run");
            ensure!(
                !hidden,
                "{} is in /run, which a mesh covers with its own: put it elsewhere",
                path.display()
            );
        }
        let application_uid = application_uid();
        Ok(Settings {
            name: folder.name().to_owned(),
            state,
            manifests,
            mesh_name: self.mesh_name.clone(),
            envoy,
            search_path,
            application_uid,
            user_namespace: UserNamespace::of_this_user(&tools, application_uid)?,
            tools,
        })
    }
}

pub(super) async fn run(args: &UpArgs, folder: &StateFolder, state: &Path) -> Result<ExitCode> {
    let settings = args.settings(folder, state)?;
    folder.create()?;
    let lock = folder.lock()?;
    let client = Client::new(folder.socket());
    if args.detach {
        drop(lock);
        return detach(folder, &client).await;
    }
    folder.forget_stage()?;
    let mut mesh = Mesh(init::start(&settings)?);
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let follow = async {
        let painter = Painter::for_stdout();
        each_event(&client, |event| {
            for line in painter.lines(event) {
                print(&line)?;
            }
            Ok(true)
        })
        .await
    };
    let status = tokio::select! {
        status = mesh.ended() => Some(status?),
        result = follow => {
            result?;
            None
        }
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let status = match status {
        Some(status) => status,
        None => {
            print("stopping")?;
            mesh.stop().await?
        }
    };
    drop(lock);
    ensure!(status.success(), "the mesh ended with {status}; see {}", folder.mesh_log().display());
    Ok(ExitCode::SUCCESS)
}

/// The program outside that the mesh ends with.
struct Mesh(Child);

impl Mesh {
    async fn ended(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait().context("waiting for the mesh")? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells the mesh to end, and makes it if it does not.
    async fn stop(&mut self) -> Result<ExitStatus> {
        drop(self.0.stdin.take());
        match tokio::time::timeout(STOP_BOUND, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.0.kill().context("ending the mesh")?;
                self.0.wait().context("ending the mesh")
            }
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // Nothing is left to do when it has ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Gives each event of a mesh, once it is there, until it ends or enough was given.
async fn each_event(client: &Client, mut give: impl FnMut(&Event) -> Result<bool>) -> Result<()> {
    while !client.is_up().await {
        tokio::time::sleep(LOOK).await;
    }
    let mut after = 0;
    loop {
        // The mesh ends, and whoever waits for that says so.
        let Ok(events) = client.events(after, WAIT).await else { return std::future::pending().await };
        after = events.last;
        for event in &events.events {
            if !give(event)? {
                return Ok(());
            }
        }
    }
}

/// Starts another of this program that runs the mesh, and waits until that is up.
async fn detach(folder: &StateFolder, client: &Client) -> Result<ExitCode> {
    let path = folder.path().join("up.log");
    let log = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    let both = log.try_clone().context("writing a log")?;
    let own = std::env::current_exe().context("finding this program")?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let child = Command::new(own)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(both)
        .process_group(0)
        .spawn()
        .context("starting the mesh")?;
    // Not one that is ended with this process.
    let mut child = std::mem::ManuallyDrop::new(Mesh(child));
    let painter = Painter::for_stdout();
    let up = each_event(client, |event| {
        for line in painter.lines(event) {
            print(&line)?;
        }
        Ok(!matches!(event.what, Happening::Up { .. }))
    });
    tokio::select! {
        result = up => result?,
        status = child.ended() => {
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            bail!("the mesh ended ({}):\n{}", status?, said.trim());
        }
    }
    print(&format!("it goes on until `osm local down --name {}`", folder.name()))?;
    Ok(ExitCode::SUCCESS)
}
