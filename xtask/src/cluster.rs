//! A Kubernetes of one node on this machine, for the tests that need a cluster: from
//! Debian packages and Go modules, in namespaces of its own, gone without a trace.
//!
//! It is real: API server, etcd, controllers, scheduler, kubelet with containerd,
//! kube-proxy, CoreDNS. `e2e/cluster/README.md` says how it holds together.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod authority;
mod commands;
mod first_process;
mod keeper;
mod layout;
mod programs;
mod ready;
mod running;

pub use first_process::run as first_process;
pub use keeper::keep;
pub use layout::Layout;

use crate::{envoy, packages, workspace};

/// How long any part of a cluster may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster to run tests in.
#[derive(Debug)]
pub enum Cluster {
    /// The one that `$KUBECONFIG` names.
    Given {
        /// That file.
        kubeconfig: PathBuf,
    },
    /// The project's own. It goes when this does.
    Own {
        /// Where its things are.
        layout: Layout,
        /// The process that it lives by.
        keeper: Child,
    },
}

impl Cluster {
    /// The cluster that `$KUBECONFIG` names, else the project's own, started now.
    ///
    /// # Errors
    /// When it does not come up; the message says what is missing.
    pub fn get(root: &Path) -> Result<Self> {
        if let Some(kubeconfig) = given() {
            return Ok(Self::Given { kubeconfig });
        }
        let layout = prepare(root)?;
        workspace::step("starting Kubernetes", || {
            let keeper = start(&layout, true)?;
            Ok(Self::Own { layout, keeper })
        })
    }

    /// Gives it an image from an archive as `docker save` writes one. To a given cluster
    /// by the command in `$OSM_LOAD_IMAGE`, to which the archive's path is added.
    ///
    /// # Errors
    /// When the cluster does not take it, or nobody has said how to give it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        match self {
            Self::Own { layout, .. } => ready::import(layout, archive),
            Self::Given { .. } => match std::env::var("OSM_LOAD_IMAGE") {
                Ok(command) => ready::load_by(&command, archive),
                Err(_) => bail!(
                    "set $OSM_LOAD_IMAGE to a command that gives an archive of an image to the cluster of $KUBECONFIG, \
                     such as `kind load image-archive`"
                ),
            },
        }
    }

    /// Shows it to a command: `KUBECONFIG`, and `kubectl` on the path. How parts of it are taken
    /// away is said for the project's own: `OSM_CLUSTER`.
    pub fn show_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self {
            Self::Given { kubeconfig } => command.env("KUBECONFIG", kubeconfig),
            Self::Own { layout, .. } => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let path =
                    std::env::join_paths([layout.tools()].into_iter().chain(std::env::split_paths(&path)));
                if let Ok(path) = path {
                    command.env("PATH", path);
                }
                command.env("OSM_CLUSTER", format!("{} cluster", layout.keeper().display()));
                command.env("KUBECONFIG", layout.kubeconfig())
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Self::Own { keeper, .. } = self {
            drop(keeper.stdin.take());
            if let Err(error) = keeper.wait() {
                eprintln!("xtask: the cluster could not be waited for: {error}");
            }
        }
    }
}

fn given() -> Option<PathBuf> {
    std::env::var_os("KUBECONFIG").filter(|given| !given.is_empty()).map(PathBuf::from)
}

/// Sees to it that what a cluster is built with is there, to be asked before a long run of
/// other tests.
///
/// # Errors
/// When it is missing; the message names it.
pub fn require(root: &Path) -> Result<()> {
    let layout = layout(root, PathBuf::new())?;
    if given().is_some() || programs::found(&sources(root), &layout.cache)?.is_some() {
        return Ok(());
    }
    programs::require()
}

/// The folder of Kubernetes' own programs, built now if they are not there.
///
/// # Errors
/// When they can't be built.
pub fn programs(root: &Path) -> Result<PathBuf> {
    programs::ensure(&sources(root), &layout(root, PathBuf::new())?.cache)
}

fn sources(root: &Path) -> PathBuf {
    root.join("e2e/cluster/node")
}

/// Brings up a cluster that stays, and returns the path of its kubeconfig. One that is
/// up already is left alone.
///
/// # Errors
/// As [`Cluster::get`].
pub fn up(root: &Path) -> Result<PathBuf> {
    let layout = prepare(root)?;
    if keeper::lock().is_ok() {
        workspace::step("starting Kubernetes", || start(&layout, false).map(drop))?;
    }
    Ok(layout.kubeconfig())
}

/// Takes down the cluster that is up, or what is left of one.
///
/// # Errors
/// When it does not end.
pub fn down(root: &Path) -> Result<()> {
    keeper::stop(&layout(root, PathBuf::new())?)
}

/// Gives the cluster that is up an image.
///
/// # Errors
/// When there is none, or it does not take the image.
pub fn load(root: &Path, archive: &Path) -> Result<()> {
    ready::import(&layout(root, PathBuf::new())?, archive)
}

/// Takes a program of the cluster that is up away, as a crash would: `kube-apiserver`, `etcd` and so on.
///
/// # Errors
/// When there is no such program, or it does not end.
pub fn stop(root: &Path, program: &str) -> Result<()> {
    let file = wish(root, program)?;
    let told = File::create_new(&file).map(drop);
    told.with_context(|| format!("writing {}: is a cluster up, and {program} there?", file.display()))?;
    until(&format!("end of {program}"), || {
        let said = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(said == layout::ENDED)
    })
}

/// Starts a program again that was taken away. It may take a while until it serves.
///
/// # Errors
/// When it was not taken away.
pub fn start_again(root: &Path, program: &str) -> Result<()> {
    let file = wish(root, program)?;
    std::fs::remove_file(&file).with_context(|| format!("removing {}: was it taken away?", file.display()))
}

/// The file by which a program is wanted away.
fn wish(root: &Path, program: &str) -> Result<PathBuf> {
    let programs = [commands::first(), commands::second()].concat();
    if !programs.iter().any(|each| each.name() == program) {
        let names: Vec<&str> = programs.iter().map(commands::Program::name).collect();
        bail!("{program} is no program of the cluster; those are {}", names.join(", "));
    }
    Ok(layout(root, PathBuf::new())?.away().join(program))
}

/// Kills a container of the cluster that is up, by its number. The cluster's API server is not asked.
///
/// # Errors
/// When there is no such container.
pub fn kill_container(root: &Path, id: &str) -> Result<()> {
    ready::kill_container(&layout(root, PathBuf::new())?, id)
}

/// Sees to it that everything is there that a cluster needs, before anything is started.
fn prepare(root: &Path) -> Result<Layout> {
    if !packages::is_root()? {
        bail!(
            "a cluster of the project's own needs root (namespaces, mounts, routes): run this as root, \
             or set $KUBECONFIG to a cluster of yours"
        );
    }
    packages::ensure(packages::CLUSTER)?;
    let unready = layout(root, PathBuf::new())?;
    let programs = programs::ensure(&sources(root), &unready.cache)?;
    Ok(Layout { programs, ..unready })
}

fn layout(root: &Path, programs: PathBuf) -> Result<Layout> {
    let cache = envoy::cache()?.join("cluster");
    Ok(Layout { cache, programs, config: root.join("e2e/cluster/config") })
}

/// Starts the keeper in a process group of its own, and waits until the cluster serves.
fn start(layout: &Layout, tied: bool) -> Result<Child> {
    // Refused here where one is up, before its log is emptied.
    drop(keeper::lock()?);
    let said = layout.cache.join("keeper.log");
    std::fs::create_dir_all(&layout.cache).with_context(|| format!("making {}", layout.cache.display()))?;
    let log = File::create(&said).with_context(|| format!("writing {}", said.display()))?;
    // A copy of this program: what has compiled the tests meanwhile may have put another in its place.
    let own = layout.keeper();
    std::fs::copy("/proc/self/exe", &own)
        .with_context(|| format!("copying this program to {}", own.display()))?;
    let mut keeper = Command::new(own);
    keeper.args(["cluster", "keep"]).args(layout.words()).args(tied.then_some("--tied"));
    keeper.stdin(if tied { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::null()).stderr(log);
    let mut keeper = keeper.process_group(0).spawn().context("starting the cluster's keeper")?;
    ready::complete(layout, &mut keeper).map_err(|error| {
        let logs = layout.logs();
        let said = [said, logs.join("first-process.log")]
            .map(|file| std::fs::read_to_string(file).unwrap_or_default());
        end(&mut keeper);
        error.context(format!("{}\nthe logs are in {}", said.join("").trim(), logs.display()))
    })?;
    Ok(keeper)
}

/// Ends a keeper that was started here, and no other: one that found another's cluster has
/// ended by itself, and that cluster goes on.
fn end(keeper: &mut Child) {
    drop(keeper.stdin.take());
    if let (Ok(None), Ok(id)) = (keeper.try_wait(), i32::try_from(keeper.id())) {
        kill(Pid::from_raw(id), Signal::SIGTERM).ok();
    }
    if let Err(error) = keeper.wait() {
        eprintln!("xtask: waiting for the cluster's keeper: {error}");
    }
}

/// Asks again and again until the answer is yes.
///
/// # Errors
/// That of the question, at once, or that the patience ended.
fn until(what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !ask().with_context(|| format!("waiting for {what}"))? {
        if began.elapsed() > PATIENCE {
            bail!("no {what} within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
