//! The process outside that a cluster lives by: it makes namespaces with the cluster's
//! first process in them and the link to it, and removes what is left when that ends.
//!
//! Everything in the cluster is a descendant of the first process, and mounts, rules and
//! networks are in its namespaces, so its end is the end of all. It ends when its
//! standard input does, which this process holds: when this is told to stop, or killed.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

use super::authority;
use super::layout::{CONTROL_GROUP, LINK, LINK_PREFIX, LOCK, Layout, MACHINE, NODE, PODS, SERVICES};
use super::until;
use crate::workspace::output;

/// Those of the running cluster's folders that the cluster has at other places.
pub(super) const DATA: &str = "lib";
/// See [`DATA`].
pub(super) const CONFIG: &str = "config";

/// Runs a cluster until it is told to stop, or the cluster ends by itself. `tied`: also
/// until standard input ends, that is until whoever started this is gone.
///
/// # Errors
/// When there is a cluster already, or it can't be started.
pub fn keep(layout: &Layout, tied: bool) -> Result<()> {
    let mut lock = lock()?;
    lock.set_len(0).context("writing the lock")?;
    write!(lock, "{}", std::process::id()).context("writing the lock")?;
    sweep(layout)?;
    let ran = run(layout, tied);
    sweep(layout)?;
    // The number may be another process's soon.
    lock.set_len(0).context("writing the lock")?;
    ran
}

/// Takes the lock that there is one of on a machine.
///
/// # Errors
/// When somebody else has it.
pub(super) fn lock() -> Result<File> {
    let lock = File::options().create(true).truncate(false).read(true).write(true).open(LOCK);
    let lock = lock.with_context(|| format!("opening {LOCK}"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "a cluster is up already: use it (`cargo xtask cluster up` says how), or end it by `cargo xtask cluster down`"
            )
        }
        Err(TryLockError::Error(error)) => Err(error).context("locking"),
    }
}

fn run(layout: &Layout, tied: bool) -> Result<()> {
    // Before any other thread, so that none of them is ended by these.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().context("holding back signals")?;
    prepare(layout)?;
    let mut cluster = namespaces(layout)?;
    let life = Arc::new(Mutex::new(cluster.stdin.take()));
    end_by(&life, move || {
        signals.wait().ok();
    });
    if tied {
        end_by(&life, || drop(std::io::stdin().read_to_end(&mut Vec::new())));
    }
    if let Err(error) = link(cluster.id()) {
        drop(life.lock().map(|mut life| life.take()));
        cluster.wait().context("waiting for the cluster")?;
        return Err(error);
    }
    let status = cluster.wait().context("waiting for the cluster")?;
    if !status.success() {
        bail!("the cluster ended with {status}");
    }
    Ok(())
}

/// Ends the cluster when `event` has happened.
fn end_by(life: &Arc<Mutex<Option<ChildStdin>>>, event: impl FnOnce() + Send + 'static) {
    let life = Arc::clone(life);
    std::thread::spawn(move || {
        event();
        drop(life.lock().map(|mut life| life.take()));
    });
}

fn prepare(layout: &Layout) -> Result<()> {
    remove(&layout.logs())?;
    for folder in [layout.state().join(DATA), layout.away(), layout.tools(), layout.logs()] {
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    // A copy: whoever edits the sources meanwhile does not pull them from under the cluster.
    let config = layout.state().join(CONFIG);
    output(Command::new("cp").arg("-R").arg(&layout.config).arg(config))?;
    let kubectl = layout.tools().join("kubectl");
    std::os::unix::fs::symlink(layout.programs.join("kubectl"), kubectl).context("naming kubectl")?;
    authority::make(&layout.state().join("pki"))?;
    for group in control_groups()? {
        std::fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
    }
    Ok(())
}

fn namespaces(layout: &Layout) -> Result<Child> {
    let own = std::env::current_exe().context("finding this program")?;
    let log = File::create(layout.logs().join("first-process.log")).context("writing logs")?;
    let errors = log.try_clone().context("writing logs")?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .args(["unshare", "--pid", "--mount", "--net", "--ipc", "--uts"])
        .args(["--fork", "--kill-child=KILL", "--mount-proc", "--"])
        .arg(own)
        .args(["cluster", "first-process"])
        .args(layout.words())
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .context("starting setpriv (Debian package util-linux)")
}

/// Joins the machine's network with the cluster's. This end goes with the other one.
fn link(cluster: u32) -> Result<()> {
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    let own = network("self").context("looking at this network")?;
    until("the cluster's network", || Ok(network(&cluster.to_string()).is_ok_and(|network| network != own)))?;
    let (id, address) = (cluster.to_string(), format!("{MACHINE}/{LINK_PREFIX}"));
    ip(&["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", &id])?;
    ip(&["address", "add", &address, "dev", LINK])?;
    ip(&["link", "set", LINK, "up"])?;
    for network in [PODS, SERVICES] {
        ip(&["route", "add", network, "via", &NODE.to_string()])?;
    }
    Ok(())
}

/// Runs `ip` with some words.
pub(super) fn ip(words: &[&str]) -> Result<()> {
    output(Command::new("ip").args(words)).map(drop)
}

/// Removes what a cluster leaves: its folder, its control groups and, where that is
/// not gone yet, its link.
pub(super) fn sweep(layout: &Layout) -> Result<()> {
    if Path::new("/sys/class/net").join(LINK).exists() {
        // The kernel may be faster; then there is nothing to do.
        ip(&["link", "delete", LINK]).ok();
    }
    for group in control_groups()? {
        remove_control_group(&group)?;
    }
    remove(&layout.state())
}

/// The cluster's group in each hierarchy of the machine: one of version 2, or one a
/// controller of version 1.
fn control_groups() -> Result<Vec<PathBuf>> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return Ok(vec![top.join(CONTROL_GROUP)]);
    }
    let mut groups = Vec::new();
    for entry in std::fs::read_dir(top).context("looking for control groups")? {
        let hierarchy = entry.context("looking for control groups")?.path();
        if hierarchy.join("cgroup.procs").exists() {
            groups.push(hierarchy.join(CONTROL_GROUP));
        }
    }
    Ok(groups)
}

/// Control groups are removed from below, and only when the last process of them is
/// gone for good, which may be a moment after the last one could be seen.
fn remove_control_group(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(group).with_context(|| format!("reading {}", group.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            remove_control_group(&path)?;
        }
    }
    until(&format!("the end of what is in {}", group.display()), || match std::fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(false),
        removed => removed.map(|()| true).context("removing it"),
    })
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Ends the cluster that is up, whoever keeps it, and waits until nothing of it is left.
/// Without one, removes what is left of one whose keeper was killed.
///
/// # Errors
/// When it does not end.
pub(super) fn stop(layout: &Layout) -> Result<()> {
    let began = Instant::now();
    loop {
        match lock() {
            Ok(held) => {
                // One that was killed has left its number.
                held.set_len(0).context("writing the lock")?;
                return sweep(layout);
            }
            Err(error) if began.elapsed() > Duration::from_secs(60) => {
                return Err(error).context("the cluster did not end within a minute");
            }
            Err(_) => {}
        }
        let keeper = std::fs::read_to_string(LOCK).context("reading who keeps the cluster")?;
        // A keeper that has just started has not said its number yet.
        if let Ok(keeper) = keeper.parse() {
            let keeper = nix::unistd::Pid::from_raw(keeper);
            nix::sys::signal::kill(keeper, Signal::SIGTERM).ok();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
