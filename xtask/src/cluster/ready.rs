//! From a cluster that has been started to one that serves: the node is ready, the
//! image that pods are made of is there, and names resolve.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::layout::{DNS, Layout};
use super::until;
use crate::images::archive::{self, Content};
use crate::workspace::{output, succeed};

/// The image that holds a pod's namespaces, and that CoreDNS runs in.
const PAUSE: &str = "osm.test/pause:1";

/// Makes a started cluster ready.
///
/// # Errors
/// With the part that does not come.
pub(super) fn complete(layout: &Layout, keeper: &mut Child) -> Result<()> {
    let mut wait = |what: &str, ask: &dyn Fn() -> bool| {
        until(what, || match keeper.try_wait().context("looking at the cluster's keeper")? {
            Some(status) => bail!("the cluster's keeper ended with {status}"),
            None => Ok(ask()),
        })
    };
    wait("container runtime", &|| output(images(layout).arg("list")).is_ok())?;
    import(layout, &pause(layout)?)?;
    let says = |words: &[&str]| output(admin(layout).args(words)).is_ok();
    wait("API server", &|| says(&["get", "--raw=/readyz"]))?;
    let kubeconfig = output(admin(layout).args(["config", "view", "--raw", "--flatten"]))?;
    std::fs::write(layout.kubeconfig(), kubeconfig).context("writing the kubeconfig")?;
    let names = layout.config.join("dns.yaml");
    wait("answer to the first objects", &|| {
        output(admin(layout).args(["apply", "--server-side", "--filename"]).arg(&names)).is_ok()
    })?;
    wait("default service account", &|| says(&["get", "serviceaccount", "default"]))?;
    wait("node", &|| says(&["wait", "--for=condition=Ready", "node/node", "--timeout=1s"]))?;
    wait("answer of the name server", &|| resolves("kubernetes.default.svc.cluster.local"))
}

/// Gives the cluster an image.
///
/// # Errors
/// When it does not take it.
pub(super) fn import(layout: &Layout, archive: &Path) -> Result<()> {
    output(images(layout).arg("import").arg(archive)).map(drop)
}

/// Kills a container, without asking anybody else.
///
/// # Errors
/// When there is no such container.
pub(super) fn kill_container(layout: &Layout, id: &str) -> Result<()> {
    output(runtime(layout).args(["tasks", "kill", "--signal", "SIGKILL", id])).map(drop)
}

fn images(layout: &Layout) -> Command {
    let mut ctr = runtime(layout);
    ctr.arg("images");
    ctr
}

fn runtime(layout: &Layout) -> Command {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(layout.state().join("containerd.sock"));
    ctr.args(["--namespace", "k8s.io"]).stdin(Stdio::null());
    ctr
}

fn pause(layout: &Layout) -> Result<PathBuf> {
    let root = layout.state().join("pause");
    std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    std::fs::copy(layout.programs.join("pause"), root.join("pause")).context("copying pause")?;
    let content = Content { name: PAUSE, command: &["/pause"], user: "65535", environment: &[] };
    let image = archive::pack(&content, &root, &layout.state())?;
    Ok(image.file)
}

/// `kubectl` by the kubeconfig that names files, which is there from the start.
fn admin(layout: &Layout) -> Command {
    let mut kubectl = layout.kubectl();
    kubectl.env("KUBECONFIG", layout.state().join("pki/admin.kubeconfig")).stdin(Stdio::null());
    kubectl
}

/// Asks the cluster's name server for an address, through its service.
fn resolves(name: &str) -> bool {
    let asked = || -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send_to(&question(name), (DNS, 53))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok(answer[..length].to_vec())
    };
    asked().is_ok_and(|answer| has_answers(&answer))
}

/// A question for the IPv4 addresses of a name (RFC 1035, section 4).
fn question(name: &str) -> Vec<u8> {
    const HEADER: [u8; 12] = [0x05, 0x11, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const ADDRESS_IN_INTERNET: [u8; 4] = [0, 1, 0, 1];
    let mut question = HEADER.to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(ADDRESS_IN_INTERNET);
    question
}

fn has_answers(answer: &[u8]) -> bool {
    // The code is in the low half of the fourth byte, the number of answers in the seventh and eighth.
    answer.len() >= 12 && answer[3] & 0x0f == 0 && (answer[6], answer[7]) != (0, 0)
}

/// Loads an archive by a command that the user gave, such as `kind load image-archive`.
pub(super) fn load_by(command: &str, archive: &Path) -> Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().context("$OSM_LOAD_IMAGE has no command")?;
    succeed(Command::new(program).args(words).arg(archive).stdin(Stdio::null()).stdout(std::io::stderr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_header_labels_and_a_kind() {
        let question = question("a.bc");
        assert_eq!(question[12..], *b"\x01a\x02bc\x00\x00\x01\x00\x01");
    }

    #[test]
    fn an_answer_without_addresses_is_none() {
        let mut answer = [0; 12];
        assert!(!has_answers(&answer) && !has_answers(&[]));
        answer[7] = 1;
        assert!(has_answers(&answer));
        answer[3] = 3;
        assert!(!has_answers(&answer), "the name does not exist");
    }
}
