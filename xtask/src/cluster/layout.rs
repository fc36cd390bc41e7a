//! Where the cluster's things are: on the machine, as the cluster itself sees them,
//! and on the network. The files of `e2e/cluster/config` say the same numbers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The end of the link to the cluster that is the machine's, which is also its address
/// as pods see it.
pub(super) const MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 249, 0, 1));
/// The node: the API server listens here.
pub(super) const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 249, 0, 2));
/// The length of the prefix that the two share.
pub(super) const LINK_PREFIX: u8 = 30;
/// The link's name on the machine.
pub(super) const LINK: &str = "osm-e2e";
/// The addresses of pods.
pub(super) const PODS: &str = "10.250.0.0/24";
/// The addresses of services.
pub(super) const SERVICES: &str = "10.251.0.0/16";
/// The service by which pods reach the API server: the first of those.
pub(super) const API_SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 251, 0, 1));
/// The service of the name server.
pub(super) const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 251, 0, 10));
/// The control group that all others of the cluster are below.
pub(super) const CONTROL_GROUP: &str = "osm-e2e";

/// Locked while there is a cluster, whoever's: link, addresses and control group are the machine's.
/// Says which process keeps it.
pub(super) const LOCK: &str = "/run/osm-e2e.lock";

/// The folder that the cluster itself finds everything in.
pub(super) const INSIDE: &str = "/run/osm-e2e";
/// The running cluster's folder, as the cluster sees it.
pub(super) const INSIDE_STATE: &str = "/run/osm-e2e/state";
/// The programs, as the cluster sees them.
pub(super) const INSIDE_PROGRAMS: &str = "/run/osm-e2e/programs";
/// `e2e/cluster/config`, as the cluster sees it.
pub(super) const INSIDE_CONFIG: &str = "/run/osm-e2e/config";

/// The folder, in that of the running cluster, with a file for each program that is to be away.
pub(super) const AWAY: &str = "away";
/// What such a file says when the program has ended.
pub(super) const ENDED: &str = "ended";

/// The folders that a cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Layout {
    /// What outlives a cluster
    #[arg(long)]
    pub cache: PathBuf,
    /// The programs of Kubernetes
    #[arg(long)]
    pub programs: PathBuf,
    /// The files of the programs' configuration
    #[arg(long)]
    pub config: PathBuf,
}

impl Layout {
    /// What exists only while the cluster does: keys, data, the runtime's socket.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.cache.join("run")
    }

    /// Where somebody says which programs are to be away, each by a file with its name.
    #[must_use]
    pub fn away(&self) -> PathBuf {
        self.state().join(AWAY)
    }

    /// What the programs log. It stays until the next cluster.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.cache.join("log")
    }

    /// How to reach the cluster as its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }

    /// The program that keeps the cluster: a copy of this one.
    #[must_use]
    pub fn keeper(&self) -> PathBuf {
        self.cache.join("keeper")
    }

    /// A folder with `kubectl` in it and nothing else, to be put on a path.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.state().join("tools")
    }

    /// `kubectl` for this cluster.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// The words that say this layout on the command line.
    pub(super) fn words(&self) -> [&Path; 6] {
        let name = Path::new;
        [name("--cache"), &self.cache, name("--programs"), &self.programs, name("--config"), &self.config]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        layout: Layout,
    }

    #[test]
    fn a_layout_is_said_and_read_again() {
        let layout = Layout { cache: "/a b".into(), programs: "/c".into(), config: "/d".into() };
        let line = std::iter::once(Path::new("keep")).chain(layout.words());
        assert_eq!(Line::parse_from(line).layout, layout);
    }

    #[test]
    fn the_configuration_says_the_same_addresses() {
        let folder = crate::workspace::root().join("e2e/cluster/config");
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        for (file, expected) in [
            ("kubelet.yaml", DNS.to_string()),
            ("kubelet.yaml", format!("cgroupRoot: /{CONTROL_GROUP}")),
            ("kubelet.yaml", format!("{INSIDE_STATE}/containerd.sock")),
            ("dns.yaml", format!("clusterIP: {DNS}")),
            ("dns.yaml", INSIDE_PROGRAMS.to_owned()),
            ("kube-proxy.yaml", PODS.to_owned()),
            ("cni/pods.conflist", PODS.to_owned()),
            ("containerd.toml", format!("{INSIDE_CONFIG}/cni")),
        ] {
            assert!(text(file).contains(&expected), "{file} does not say {expected}");
        }
    }
}
