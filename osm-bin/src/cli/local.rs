//! `osm local`: a mesh from manifests on this machine.

mod exec;
pub(super) mod lines;
mod logs;
mod show;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::demo::{DemoArgs, demo};
use crate::local::client::Client;
use crate::local::init;
use crate::local::requirements::check_machine;
use crate::local::state::{self, StateFolder};
use crate::local::user_namespace;

pub use exec::ExecArgs;
pub use logs::LogsArgs;
pub use up::UpArgs;

/// How long a mesh has to end.
const DOWN_BOUND: Duration = Duration::from_secs(30);

/// Runs a mesh from manifests on this machine, each pod a network namespace with a real Envoy
#[derive(Debug, Clone, Args)]
pub struct LocalArgs {
    /// The name of the mesh, if more than one runs on this machine [default: osm; of the demo: demo]
    #[arg(long, value_name = "NAME", global = true)]
    pub name: Option<String>,
    /// The folder in which meshes keep their addresses, keys and logs
    #[arg(long, value_name = "FOLDER", default_value_os_t = state::base(), env = "OSM_LOCAL_STATE", global = true)]
    pub state: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// What can be done with a mesh on this machine.
#[derive(Debug, Clone, Subcommand)]
pub enum LocalCommand {
    /// Runs a mesh, follows edits of its manifests, and tells what happens
    Up(UpArgs),
    /// Shows pods, proxies, what they have acknowledged, certificates, and what is wrong
    Status(StatusArgs),
    /// Runs a program inside a pod, as its application's user
    Exec(ExecArgs),
    /// Shows what a container, or its Envoy, has written
    Logs(LogsArgs),
    /// Ends a mesh
    Down,
    /// Runs the bookstore, and walks through what a mesh does
    Demo(DemoArgs),
    /// What `up` starts for an ordinary user, to go on as root of a user namespace
    #[command(name = user_namespace::ENTER, hide = true)]
    InUserNamespace {
        /// Who is who, as JSON.
        namespace: String,
        /// What is run there.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// What `up` starts as the first process of the mesh's own namespaces
    #[command(name = init::FIRST_PROCESS, hide = true)]
    FirstProcess {
        /// Settings, as JSON.
        settings: String,
    },
    /// What that one starts
    #[command(name = init::SUPERVISE, hide = true)]
    Supervise {
        /// Settings, as JSON.
        settings: String,
    },
}

/// What `osm local status` shows.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}

impl LocalArgs {
    /// Does it. To be called from the main thread, outside of any runtime.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match &self.command {
            LocalCommand::InUserNamespace { namespace, command } => {
                match user_namespace::enter(namespace, command)? {}
            }
            LocalCommand::FirstProcess { settings } => {
                return init::first_process(settings).map(|()| ExitCode::SUCCESS);
            }
            LocalCommand::Supervise { settings } => {
                return init::supervise(settings).map(|()| ExitCode::SUCCESS);
            }
            _ => check_machine()?,
        }
        let folder = StateFolder::new(&self.state, self.name())?;
        // On one thread, the main one: children that end with it are started there.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
        runtime.block_on(async {
            match &self.command {
                LocalCommand::Up(args) => up::run(args, &folder, &self.state).await,
                LocalCommand::Status(args) => {
                    let status = self.client(&folder).await?.status().await?;
                    if args.json {
                        lines::print(&serde_json::to_string_pretty(&status)?)?;
                    } else {
                        lines::print(&show::status(&status))?;
                    }
                    Ok(ExitCode::SUCCESS)
                }
                LocalCommand::Exec(args) => exec::run(args, &self.client(&folder).await?).await,
                LocalCommand::Logs(args) => logs::run(args, &self.client(&folder).await?).await,
                LocalCommand::Down => down(&folder, &self.client(&folder).await?).await,
                LocalCommand::Demo(args) => {
                    let ok = demo(args, self.name(), &self.state).await?;
                    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
                }
                LocalCommand::InUserNamespace { .. }
                | LocalCommand::FirstProcess { .. }
                | LocalCommand::Supervise { .. } => Ok(ExitCode::SUCCESS),
            }
        })
    }

    /// The name of the mesh that is meant.
    fn name(&self) -> &str {
        let default = if matches!(self.command, LocalCommand::Demo(_)) { "demo" } else { "osm" };
        self.name.as_deref().unwrap_or(default)
    }

    /// A client of the mesh that is meant, which runs.
    async fn client(&self, folder: &StateFolder) -> Result<Client> {
        let client = Client::new(folder.socket());
        if client.is_up().await {
            return Ok(client);
        }
        let running = running(&self.state).await;
        if running.is_empty() {
            bail!("no mesh of yours runs on this machine; start one with `osm local up -f FOLDER`");
        }
        bail!(
            "no mesh named {:?} runs on this machine; use --name with one that does: {}",
            self.name(),
            running.join(", ")
        );
    }
}

/// The names of the meshes that run.
async fn running(state: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in StateFolder::all(state) {
        if Client::new(folder.socket()).is_up().await {
            names.push(folder.name().to_owned());
        }
    }
    names
}

async fn down(folder: &StateFolder, client: &Client) -> Result<ExitCode> {
    client.shutdown().await?;
    let deadline = tokio::time::Instant::now() + DOWN_BOUND;
    // Whoever runs the mesh gives the lock back last.
    while folder.lock().is_err() {
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the mesh has not ended within {} s; see {}",
                DOWN_BOUND.as_secs(),
                folder.mesh_log().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lines::print(&format!("mesh {} has ended; nothing of it runs any more", folder.name()))?;
    Ok(ExitCode::SUCCESS)
}
