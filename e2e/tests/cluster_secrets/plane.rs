//! A control plane for one mesh, as a process that logs everything, and the mesh's pods.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use osm_certs::in_process::{CERTIFICATE_FILE, InProcessCa, KEY_FILE};
use osm_e2e::kubectl::{apply, kubectl, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::door::Door;

/// Whom tokens of proxies are for.
pub(crate) const AUDIENCE: &str = "openservicemesh.io";

/// A control plane; it and its namespaces are gone when this is.
pub(crate) struct Plane {
    process: Child,
    folder: tempfile::TempDir,
    mesh: String,
    addresses: Value,
    webhook: SocketAddr,
}

impl Plane {
    /// Makes two pods with proxies that nothing runs, and starts a control plane of theirs.
    pub(crate) fn start() -> Self {
        let mesh = format!("secrets-{}", std::process::id());
        let folder = tempfile::tempdir().expect("a folder");
        for definition in osm_k8s::crds::definitions() {
            apply(&definition.object.to_string()).expect("a kind");
        }
        let labels = json!({ "openservicemesh.io/monitored-by": mesh });
        for (name, labels) in [(&mesh, labels), (&format!("{mesh}-system"), json!({}))] {
            let metadata = json!({ "name": name, "labels": labels });
            apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }).to_string())
                .expect("a namespace");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let webhook = listener.local_addr().expect("a port");
        drop(listener);
        let log = File::create(folder.path().join("log")).expect("a log");
        let process = Command::new(program())
            .args(["--source=kubernetes", "--xds-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
            .args(["--log=trace", "--init-image=osm-init:test"])
            .arg(format!("--mesh-name={mesh}"))
            .arg(format!("--osm-namespace={mesh}-system"))
            .arg(format!("--webhook-listen={webhook}"))
            .arg("--ca-folder")
            .arg(folder.path().join("ca"))
            .arg("--ready-file")
            .arg(folder.path().join("ready"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the control plane starts");
        let addresses = Value::Null;
        let mut plane = Self { process, folder, mesh, addresses, webhook };
        for account in ["till", "bank"] {
            plane.make_pod(account);
        }
        let ready = plane.folder.path().join("ready");
        let ready = until("control plane", || Ok(serde_json::from_str(&std::fs::read_to_string(&ready)?)?));
        plane.addresses = ready.unwrap_or_else(|error| panic!("{error:#}: {}", plane.log()));
        plane
    }

    fn make_pod(&self, account: &str) {
        let metadata = |labels: Value| json!({ "name": account, "namespace": self.mesh, "labels": labels });
        let owner = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(json!({})) });
        apply(&owner.to_string()).expect("an account");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": metadata(json!({ "osm-proxy-uuid": self.node(account) })),
            // It is never placed: it needs no image.
            "spec": {
                "serviceAccountName": account, "nodeSelector": { "no-such-node": "yes" },
                "containers": [{ "name": "app", "image": "none" }],
            },
        });
        apply(&pod.to_string()).expect("a pod");
    }

    /// What the proxy of a pod calls itself.
    pub(crate) fn node(&self, pod: &str) -> String {
        format!("{}-{pod}", self.mesh)
    }

    /// A token of the account of a pod, bound to the pod.
    pub(crate) fn token(&self, pod: &str, audience: &str) -> String {
        self.make_token(pod, audience, &["--bound-object-kind=Pod", &format!("--bound-object-name={pod}")])
    }

    /// A token of the account of `till` that is bound to nothing.
    pub(crate) fn unbound_token(&self, audience: &str) -> String {
        self.make_token("till", audience, &[])
    }

    fn make_token(&self, account: &str, audience: &str, bound: &[&str]) -> String {
        let audience = format!("--audience={audience}");
        let words = ["create", "token", account, "--namespace", &self.mesh, &audience, "--duration=10m"];
        kubectl(&[&words[..], bound].concat()).expect("a token").trim().to_owned()
    }

    pub(crate) fn delete_pod(&self, pod: &str) {
        kubectl(&["delete", "pod", pod, "--namespace", &self.mesh, "--grace-period=0", "--force"])
            .expect("gone");
    }

    /// The way to it for proxies.
    pub(crate) fn door(&self) -> Door {
        let ca = InProcessCa::create_or_load(self.folder.path().join("ca")).expect("its root");
        Door::new(self.address("xds"), format!("osm-controller.{}-system.svc", self.mesh), ca.root().der())
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// Has a pod admitted that has a password in its environment, and sends what is no review.
    pub(crate) async fn admit(&self, password: &str) {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5", "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "operation": "CREATE", "namespace": self.mesh,
                "object": {
                    "metadata": { "name": "safe", "annotations": { "openservicemesh.io/sidecar-injection": "enabled" } },
                    "spec": { "containers": [{
                        "name": "app", "image": "app", "env": [{ "name": "PASSWORD", "value": password }],
                    }] },
                },
            },
        })
        .to_string();
        for (body, wanted) in [(review.as_str(), "patch"), (&format!("{{\"kind\": \"{password}\"")[..], "")] {
            let mut stream = self.door().connect(self.webhook).await;
            let head = format!(
                "POST /mutate-pod-creation HTTP/1.1\r\nhost: osm\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.expect("it is taken");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.contains(wanted), "{answer}");
        }
    }

    /// Everything that its pages say.
    pub(crate) fn pages(&self) -> String {
        let mut all = String::new();
        for page in
            ["/metrics", "/health/ready", "/health/alive", "/healthz", "/version", "/config_dump", "/"]
        {
            let mut socket = TcpStream::connect(self.address("admin")).expect("the admin pages");
            write!(socket, "GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .expect("asked");
            socket.read_to_string(&mut all).expect("an answer");
        }
        all
    }

    /// The key of its root.
    pub(crate) fn root_key(&self) -> String {
        let folder = self.folder.path().join("ca");
        assert!(folder.join(CERTIFICATE_FILE).is_file());
        std::fs::read_to_string(folder.join(KEY_FILE)).expect("the root's key")
    }

    /// Ends it, and returns everything that it has logged.
    pub(crate) fn stop(&mut self) -> String {
        self.end();
        self.log()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("its log")
    }

    fn end(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.expect("it can be ended");
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.end();
        let system = format!("{}-system", self.mesh);
        let deleted = kubectl(&["delete", "namespace", &self.mesh, &system, "--wait=false"]);
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}

/// The controller: what was named, or what lies beside `osm` or this program.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("OSM_CONTROLLER") {
        return named.into();
    }
    let osm = std::env::var_os("OSM_CLI").map(PathBuf::from);
    let own = std::env::current_exe().context("where this program is").expect("Linux");
    let beside = osm.into_iter().chain([own]).flat_map(|program| {
        let folders: Vec<_> =
            program.ancestors().skip(1).take(2).map(|folder| folder.join("osm-controller")).collect();
        folders
    });
    beside.into_iter().find(|path| path.is_file()).expect("osm-controller, or its path in $OSM_CONTROLLER")
}
