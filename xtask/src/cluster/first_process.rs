//! The first process of a cluster, in namespaces of its own: it puts files where the
//! cluster's programs look for them, starts those, and buries whoever is left behind.
//! It ends with any of them that nobody wants away, since a cluster with a part missing
//! is worse than none.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::commands;
use super::keeper::{CONFIG, DATA, ip};
use super::layout::{
    INSIDE, INSIDE_CONFIG, INSIDE_PROGRAMS, INSIDE_STATE, LINK_PREFIX, Layout, MACHINE, NODE, SERVICES,
};
use super::running::Running;
use super::until;
use crate::workspace::output;

/// Settings of the whole machine that the kubelet insists on, with what it wants to
/// read there. It is shown these, and the machine keeps its own.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Runs as process 1 until standard input ends or one of the programs does.
///
/// # Errors
/// When something can't be started, or a program has ended.
pub fn run(layout: &Layout) -> Result<()> {
    // The end of this process is the end of all others here.
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    mounts(layout)?;
    network()?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")?;
    let mut running = Running::default();
    running.start(commands::first())?;
    until("API server", || {
        running.look()?;
        Ok(output(&mut readiness()).is_ok())
    })?;
    running.start(commands::second())?;
    running.watch()
}

fn mounts(layout: &Layout) -> Result<()> {
    // What the kubelet mounts for a pod must be seen by that pod's container.
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SHARED, nothing).context("sharing mounts")?;
    bind(&layout.state().join(DATA), Path::new("/var/lib"))?;
    bind(&layout.logs(), Path::new("/var/log"))?;
    fresh("/run")?;
    for (what, place) in [
        (layout.programs.as_path(), INSIDE_PROGRAMS),
        (&layout.state().join(CONFIG), INSIDE_CONFIG),
        (&layout.state(), INSIDE_STATE),
    ] {
        std::fs::create_dir_all(place).with_context(|| format!("making {place}"))?;
        bind(what, Path::new(place))?;
    }
    fresh("/tmp")?;
    for (setting, value) in SETTINGS {
        let shown = Path::new(INSIDE).join(setting.replace('/', "."));
        std::fs::write(&shown, format!("{value}\n"))
            .with_context(|| format!("writing {}", shown.display()))?;
        bind(&shown, &Path::new("/proc/sys").join(setting))?;
    }
    Ok(())
}

fn bind(what: &Path, place: &Path) -> Result<()> {
    mount(Some(what), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("showing {} as {}", what.display(), place.display()))
}

fn fresh(place: &str) -> Result<()> {
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("making an empty {place}"))
}

/// One link, to the machine. There is no default route: nothing leaves it.
fn network() -> Result<()> {
    nix::unistd::sethostname("node").context("naming the node")?;
    let link = Path::new("/proc/sys/net/ipv4/conf/eth0");
    until("the link to the machine", || Ok(link.exists()))?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{NODE}/{LINK_PREFIX}"), "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    // Only to be found: kube-proxy exchanges the address before the route is used.
    ip(&["route", "add", SERVICES, "via", &MACHINE.to_string()])?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("letting pods through")
}

fn readiness() -> Command {
    let mut kubectl = Command::new(format!("{INSIDE_PROGRAMS}/kubectl"));
    kubectl.args(["get", "--raw=/readyz", "--request-timeout=2s"]);
    kubectl.env("HOME", "/run").env("KUBECONFIG", format!("{INSIDE_STATE}/pki/admin.kubeconfig"));
    kubectl
}
