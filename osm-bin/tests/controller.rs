//! The daemon from outside: its flags, its pages, its signals.
#![allow(clippy::disallowed_methods, reason = "a test of a program starts one and waits for it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../../osm-certs/tests/support/openbao.rs"]
mod openbao;
#[path = "../../osm-k8s/tests/support/within.rs"]
mod within;

use openbao::OpenBao;
use within::within;

const PATIENCE: Duration = Duration::from_secs(20);
/// How long the daemon is left alone between looks.
const PAUSE: Duration = Duration::from_millis(5);
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bookstore/manifests/base");

/// A running daemon, ended when dropped.
struct Daemon {
    child: Child,
    addresses: Value,
}

impl Daemon {
    async fn start(manifests: &str, folder: &Path) -> Self {
        let mut command = command(manifests);
        command.arg("--ca-folder").arg(folder.join("ca"));
        Self::start_by(command, folder).await
    }

    async fn start_by(mut command: Command, folder: &Path) -> Self {
        let ready = folder.join("ready.json");
        let child = command.arg("--ready-file").arg(&ready).spawn().expect("it starts");
        let mut daemon = Self { child, addresses: Value::Null };
        let text = within(PATIENCE, PAUSE, "the ready file", async || std::fs::read_to_string(&ready)).await;
        daemon.addresses = serde_json::from_str(&text).expect("JSON");
        daemon
    }

    fn get(&self, path: &str) -> (u16, String) {
        let address = self.addresses["admin"].as_str().expect("an address");
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("a response");
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a body");
        (status, body)
    }

    async fn end(mut self) -> (std::process::ExitStatus, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
        let ended = || {
            let ended = self.child.try_wait().expect("it can be waited for");
            std::future::ready(ended.ok_or("it runs"))
        };
        let status = within(PATIENCE, PAUSE, "the end", ended).await;
        let mut log = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
        (status, log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(manifests: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osm-controller"));
    command
        .args(["--source", &format!("files:{manifests}")])
        .args(["--xds-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_osm-controller")).args(arguments).output().expect("it runs")
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_daemon_tells_its_readiness_metrics_and_version_and_drains_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(MANIFESTS, folder.path()).await;
    assert_eq!(daemon.get("/health/ready"), (200, "ready\n".to_owned()));
    assert_eq!(daemon.get("/health/alive").0, 200);
    let (status, version) = daemon.get("/version");
    let version: Value = serde_json::from_str(&version).expect("JSON");
    assert_eq!((status, version["version"].as_str()), (200, Some(env!("CARGO_PKG_VERSION"))));
    let (status, kinds) = daemon.get("/smi/version");
    let kinds: Value = serde_json::from_str(&kinds).expect("JSON");
    assert_eq!((status, kinds["TrafficTarget"].as_str()), (200, Some("access.smi-spec.io/v1alpha3")));
    let (status, metrics) = daemon.get("/metrics");
    assert_eq!(status, 200);
    for name in ["osm_snapshot_version", "osm_xds_connections", "process_resident_memory_bytes"] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is missing:\n{metrics}");
    }
    assert_eq!(daemon.get("/nowhere").0, 404);
    let (status, log) = daemon.end().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("ready") && log.contains("control plane ends"), "{log}");
}

#[tokio::test]
async fn a_broken_file_and_its_end_are_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = folder.path().join("mesh");
    std::fs::create_dir(&manifests).expect("a folder");
    std::fs::write(manifests.join("a.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
        .expect("a file");
    let daemon = Daemon::start(&manifests.display().to_string(), folder.path()).await;
    let findings = async |wanted: &str| {
        within(PATIENCE, PAUSE, wanted, async || {
            let (_, metrics) = daemon.get("/metrics");
            metrics.lines().any(|line| line == wanted).then_some(()).ok_or(metrics)
        })
        .await;
    };
    findings("osm_findings 0").await;
    std::fs::write(manifests.join("broken.yaml"), "kind: [").expect("a file");
    findings("osm_findings 1").await;
    std::fs::remove_file(manifests.join("broken.yaml")).expect("it was written");
    findings("osm_findings 0").await;
    let (status, log) = daemon.end().await;
    assert!(status.success(), "{log}");
    let about: Vec<_> = log.lines().filter(|line| line.contains("broken.yaml")).collect();
    assert_eq!(about.len(), 2, "{log}");
    assert!(about[0].contains("ERROR") && about[1].contains("no longer"), "{log}");
}

#[tokio::test]
async fn a_second_start_has_the_same_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = || std::fs::read(folder.path().join("ca/ca.crt")).expect("a root");
    Daemon::start(MANIFESTS, folder.path()).await.end().await;
    let first = root();
    std::fs::remove_file(folder.path().join("ready.json")).expect("it was written");
    Daemon::start(MANIFESTS, folder.path()).await.end().await;
    assert_eq!(root(), first);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_control_plane_without_a_key_of_its_own_has_certificates_from_vault() {
    let folder = tempfile::tempdir().expect("a folder");
    let bao = OpenBao::start().await;
    let token = folder.path().join("token");
    std::fs::write(&token, bao.make_token(&serde_json::json!({"period": "1h"}))).expect("written");
    let mut command = command(MANIFESTS);
    command.arg(format!("--vault-address=https://127.0.0.1:{}", bao.tls.port())).arg("--vault-role=mesh");
    command.arg("--vault-ca-file").arg(bao.authority()).arg("--vault-token-file").arg(&token);
    let daemon = Daemon::start_by(command, folder.path()).await;
    assert_eq!(daemon.get("/health/ready").0, 200);
    let (_, metrics) = daemon.get("/metrics");
    assert!(metrics.contains("osm_certs_issued_total 1\n"), "{metrics}");
    let (status, log) = daemon.end().await;
    assert!(status.success() && !log.contains(" WARN "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_control_plane_that_ends_gives_back_the_token_that_its_login_got() {
    let folder = tempfile::tempdir().expect("a folder");
    let bao = OpenBao::start().await;
    let (role_id, secret_id) = bao.make_app_role(&serde_json::json!({"token_ttl": "1h"}));
    let file = folder.path().join("secret-id");
    std::fs::write(&file, secret_id).expect("written");
    let tokens = || {
        let known = bao.ask("LIST", "auth/token/accessors", &Value::Null);
        known["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let before = tokens();
    let mut command = command(MANIFESTS);
    command.arg(format!("--vault-address=http://{}", bao.plain)).arg("--vault-role=mesh");
    command.arg(format!("--vault-app-role-id={role_id}")).arg("--vault-secret-id-file").arg(&file);
    let daemon = Daemon::start_by(command, folder.path()).await;
    assert_eq!(tokens(), before + 1);
    daemon.end().await;
    assert_eq!(tokens(), before);
}

#[test]
fn an_error_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = error_of(&run(&["--source", "files:/does/not/exist"]));
    assert!(nowhere.contains("there is no file or folder /does/not/exist"), "{nowhere}");
    let wrong = error_of(&run(&["--source", "etcd:x"]));
    assert!(wrong.contains("`files:PATH`"), "{wrong}");
    let missing = error_of(&run(&[]));
    assert!(missing.contains("--source"), "{missing}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ca = folder.path().join("ca").display().to_string();
    let source = format!("files:{MANIFESTS}");
    let busy = error_of(&run(&["--source", &source, "--ca-folder", &ca, "--xds-listen", &address]));
    assert!(busy.contains(&address) && busy.contains("is another control plane running"), "{busy}");
}

#[test]
fn a_half_written_root_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("ca")).expect("a folder");
    std::fs::write(folder.path().join("ca/ca.crt"), "-----BEGIN CERTIFICATE-----\n").expect("a file");
    let output =
        command(MANIFESTS).arg("--ca-folder").arg(folder.path().join("ca")).output().expect("it runs");
    let error = error_of(&output);
    assert!(error.contains("certificate authority") && error.contains("ca.key"), "{error}");
}
