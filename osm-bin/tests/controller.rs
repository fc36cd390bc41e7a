//! The daemon from outside: its flags, its pages, its signals.
#![allow(clippy::disallowed_methods, reason = "a test of a program starts one and waits for it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bookstore/manifests/base");

/// A running daemon, ended when dropped.
struct Daemon {
    child: Child,
    addresses: Value,
}

impl Daemon {
    fn start(manifests: &str, folder: &Path) -> Self {
        let ready = folder.join("ready.json");
        let child = command(manifests, folder).arg("--ready-file").arg(&ready).spawn().expect("it starts");
        let mut daemon = Self { child, addresses: Value::Null };
        let text = eventually("the ready file", || std::fs::read_to_string(&ready).ok());
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

    fn end(mut self) -> (std::process::ExitStatus, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
        let status = eventually("the end", || self.child.try_wait().expect("it can be waited for"));
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

fn command(manifests: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osm-controller"));
    command
        .args(["--source", &format!("files:{manifests}")])
        .args(["--xds-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .arg("--ca-folder")
        .arg(folder.join("ca"))
        .stderr(Stdio::piped());
    command
}

fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_osm-controller")).args(arguments).output().expect("it runs")
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_daemon_tells_its_readiness_metrics_and_version_and_drains_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(MANIFESTS, folder.path());
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
    let (status, log) = daemon.end();
    assert!(status.success(), "{log}");
    assert!(log.contains("ready") && log.contains("control plane ends"), "{log}");
}

#[test]
fn a_broken_file_and_its_end_are_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = folder.path().join("mesh");
    std::fs::create_dir(&manifests).expect("a folder");
    std::fs::write(manifests.join("a.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
        .expect("a file");
    let daemon = Daemon::start(&manifests.display().to_string(), folder.path());
    let findings = |wanted: &str| {
        eventually(wanted, || {
            let (_, metrics) = daemon.get("/metrics");
            metrics.lines().any(|line| line == wanted).then_some(())
        });
    };
    findings("osm_findings 0");
    std::fs::write(manifests.join("broken.yaml"), "kind: [").expect("a file");
    findings("osm_findings 1");
    std::fs::remove_file(manifests.join("broken.yaml")).expect("it was written");
    findings("osm_findings 0");
    let (status, log) = daemon.end();
    assert!(status.success(), "{log}");
    let about: Vec<_> = log.lines().filter(|line| line.contains("broken.yaml")).collect();
    assert_eq!(about.len(), 2, "{log}");
    assert!(about[0].contains("ERROR") && about[1].contains("no longer"), "{log}");
}

#[test]
fn a_second_start_has_the_same_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = || std::fs::read(folder.path().join("ca/ca.crt")).expect("a root");
    Daemon::start(MANIFESTS, folder.path()).end();
    let first = root();
    std::fs::remove_file(folder.path().join("ready.json")).expect("it was written");
    Daemon::start(MANIFESTS, folder.path()).end();
    assert_eq!(root(), first);
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
    let output = command(MANIFESTS, folder.path()).output().expect("it runs");
    let error = error_of(&output);
    assert!(error.contains("certificate authority") && error.contains("ca.key"), "{error}");
}
