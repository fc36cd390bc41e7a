//! The network of a mesh: a bridge in the node's namespace, a namespace for each
//! pod, and the rules that lead a pod's connections through its proxy.
//!
//! The node's namespace is the one that this process lives in, made for the mesh
//! and gone with it. Nothing here touches the machine's own network.

mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use osm_core::interception::{Interception, IpFamily};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub use services::rules as service_rules;

use super::address_book::NODE;
use super::netns;
use super::plan::PodPlan;
use super::requirements::Tools;

const BRIDGE: &str = "osm0";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Whether packets between pods pass the node's iptables. They must not: one that
/// is led back to its own pod would be lost on the bridge.
const BRIDGE_FILTERING: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// The network of the node that all pods are on.
#[derive(Debug)]
pub struct Network {
    ip: PathBuf,
    nsenter: PathBuf,
    iptables_restore: PathBuf,
    sh: PathBuf,
}

impl Network {
    /// Makes the node's network in the namespace that this process is in.
    ///
    /// # Errors
    /// When a tool refuses; the message has its own.
    pub async fn set_up(tools: &Tools) -> Result<Self> {
        let mut network = Self {
            ip: tools.ip.clone(),
            nsenter: tools.nsenter.clone(),
            iptables_restore: tools.iptables_restore.clone(),
            sh: tools.sh.clone(),
        };
        let commands = format!(
            "link set lo up\nlink add name {BRIDGE} type bridge\naddress add {NODE}/16 dev {BRIDGE}\nlink set {BRIDGE} up\n"
        );
        run(Command::new(&network.ip).args(["-batch", "-"]), &commands)
            .await
            .context("making the node's network")?;
        fs::write(FORWARDING, "1").context("allowing the node to forward")?;
        if Path::new(BRIDGE_FILTERING).exists() {
            fs::write(BRIDGE_FILTERING, "0").context("letting packets between pods pass")?;
        }
        network.choose_iptables().await?;
        Ok(network)
    }

    /// Takes the first iptables that works: kernels have one kind or the other.
    async fn choose_iptables(&mut self) -> Result<()> {
        let rules = services::base_rules();
        let first = self.restore(None, &rules).await;
        let Err(error) = first else { return Ok(()) };
        let other = self.iptables_restore.with_file_name("iptables-legacy-restore");
        if !other.exists() {
            return Err(error).context("setting iptables rules in the node's own namespace");
        }
        self.iptables_restore = other;
        self.restore(None, &rules).await.context("setting iptables rules in the node's own namespace")
    }

    /// Makes a pod's namespace, with its address, route and, where it has a
    /// proxy, redirects. What an earlier try left is removed first.
    ///
    /// # Errors
    /// When a tool refuses.
    pub async fn add(&self, pod: &PodPlan) -> Result<()> {
        let name = pod.file_name();
        self.remove(pod).await;
        self.ip(&["netns", "add", &name]).await.context("making the pod's network namespace")?;
        // Nothing redirects IPv6, so nothing may speak it: a link-local address would do.
        self.without_ipv6(&name).await.context("turning IPv6 off in the pod")?;
        let link = link(pod);
        self.ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name]).await?;
        self.ip(&["link", "set", &link, "master", BRIDGE, "up"]).await?;
        // The route must be there although nothing leaves: the kernel looks it up
        // before it redirects.
        let commands = format!(
            "link set lo up\naddress add {}/16 dev eth0\nlink set eth0 up\nroute add default via {NODE}\n",
            pod.address
        );
        run(Command::new(&self.ip).args(["-netns", &name, "-batch", "-"]), &commands)
            .await
            .context("giving the pod its address")?;
        if pod.has_proxy {
            let rules = Interception::default().rules(IpFamily::V4);
            self.restore(Some(&name), &rules).await.context("redirecting the pod's connections")?;
        }
        Ok(())
    }

    async fn without_ipv6(&self, namespace: &str) -> Result<()> {
        // For links that are made from here on; loopback keeps its own.
        let off = "f=/proc/sys/net/ipv6/conf/default/disable_ipv6; [ ! -e $f ] || echo 1 >$f";
        let words = ["netns", "exec", namespace];
        run(Command::new(&self.ip).args(words).arg(&self.sh).args(["-c", off]), "").await
    }

    /// Removes a pod's namespace and all that is in it; nothing is left of one that
    /// is not there.
    pub async fn remove(&self, pod: &PodPlan) {
        let name = pod.file_name();
        if netns::file(&name).exists() {
            // The link goes with the namespace, once nobody holds that any more.
            self.ip(&["link", "delete", &link(pod)]).await.ok();
            if let Err(error) = self.ip(&["netns", "delete", &name]).await {
                tracing::warn!(pod = %pod.name, error = format!("{error:#}"), "network namespace is left");
            }
        }
    }

    /// Sets the rules by which workloads without a proxy reach services.
    ///
    /// # Errors
    /// When iptables refuses.
    pub async fn set_services(&self, rules: &str) -> Result<()> {
        self.restore(None, rules).await.context("leading virtual addresses to pods")
    }

    async fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new(&self.ip).args(arguments), "").await
    }

    async fn restore(&self, namespace: Option<&str>, rules: &str) -> Result<()> {
        let mut command = match namespace {
            Some(name) => {
                let mut command = Command::new(&self.nsenter);
                command
                    .arg(format!("--net={}", netns::file(name).display()))
                    .arg("--")
                    .arg(&self.iptables_restore);
                command
            }
            None => Command::new(&self.iptables_restore),
        };
        run(command.args(["--noflush", "--wait"]), rules).await
    }
}

/// The name of the node's end of a pod's link: unique, as the address is.
fn link(pod: &PodPlan) -> String {
    let [_, _, high, low] = pod.address.octets();
    format!("pod{high}-{low}")
}

/// Runs a tool to its end with this input.
async fn run(command: &mut Command, input: &str) -> Result<()> {
    let shown = format!("{:?}", command.as_std());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that ends early says why by itself.
        stdin.write_all(input.as_bytes()).await.ok();
    }
    let output = child.wait_with_output().await.with_context(|| format!("waiting for {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
