//! A control plane for one mesh, as a process that logs everything, and the mesh's pods.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use osm_certs::in_process::{CERTIFICATE_FILE, InProcessCa, KEY_FILE};
use osm_e2e::cluster::server::namespace;
use osm_e2e::kubectl::{apply, kubectl, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::door::Door;

/// Whom tokens of proxies are for.
pub(crate) const AUDIENCE: &str = "openservicemesh.io";

/// A control plane; it is gone when this is.
pub(crate) struct Plane {
    process: Child,
    folder: tempfile::TempDir,
    place: Place,
    addresses: Value,
    webhook: SocketAddr,
}

/// What a control plane needs of a cluster: kinds, and two namespaces. What was made for it is gone when this is.
struct Place {
    mesh: String,
    /// What the proxies of its pods prove themselves with.
    identity: &'static str,
    /// The kinds that were not there.
    kinds: Vec<String>,
}

impl Place {
    fn make(identity: &'static str) -> Self {
        let mesh = format!("by-{identity}-{}", std::process::id());
        let mut place = Self { mesh, identity, kinds: Vec::new() };
        for definition in osm_k8s::crds::definitions() {
            let name = definition.name();
            let kind = ["get", "customresourcedefinition", &name, "--ignore-not-found", "--output=name"];
            if kubectl(&kind).expect("an answer").trim().is_empty() {
                place.kinds.push(name);
            }
            apply(&definition.object.to_string()).expect("a kind");
        }
        apply(&namespace(&place.mesh, Some(&place.mesh))).expect("a namespace");
        apply(&namespace(&place.system(), None)).expect("a namespace");
        place
    }

    fn system(&self) -> String {
        format!("{}-system", self.mesh)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let kinds = self.kinds.iter().map(|kind| format!("customresourcedefinition/{kind}"));
        let namespaces = [&self.mesh, &self.system()].map(|name| format!("namespace/{name}"));
        let all: Vec<String> = namespaces.into_iter().chain(kinds).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let deleted = kubectl(&[&["delete", "--ignore-not-found", "--wait=false"], &all[..]].concat());
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}

impl Plane {
    /// Makes two pods with proxies that nothing runs, and starts a control plane of theirs. They
    /// prove themselves with a `token` or by a `secret`.
    pub(crate) fn start(identity: &'static str) -> Self {
        let program = program();
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::make(identity);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let webhook = listener.local_addr().expect("a port");
        drop(listener);
        let log = File::create(folder.path().join("log")).expect("a log");
        // It goes with the test, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--source=kubernetes", "--xds-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
            .args(["--log=trace", "--init-image=osm-init:test"])
            .arg(format!("--sidecar-identity={identity}"))
            .arg(format!("--mesh-name={}", place.mesh))
            .arg(format!("--osm-namespace={}", place.system()))
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
        let mut plane = Self { process, folder, place, addresses, webhook };
        for account in ["till", "bank"] {
            plane.make_pod(account);
        }
        let ready = plane.folder.path().join("ready");
        let ready = until("control plane", || Ok(serde_json::from_str(&std::fs::read_to_string(&ready)?)?));
        plane.addresses = ready.unwrap_or_else(|error| panic!("{error:#}: {}", plane.log()));
        plane
    }

    /// Makes a pod of an account of the same name.
    pub(crate) fn make_pod(&self, account: &str) {
        let metadata =
            |labels: Value| json!({ "name": account, "namespace": self.place.mesh, "labels": labels });
        let owner = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(json!({})) });
        apply(&owner.to_string()).expect("an account");
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": metadata(json!({ "osm-proxy-uuid": self.node(account) })),
            // It is never placed: it needs no image.
            "spec": {
                "serviceAccountName": account, "nodeSelector": { "no-such-node": "yes" },
                "containers": [{ "name": "app", "image": "none" }],
            },
        });
        if self.place.identity == "secret" {
            let secret = json!({ "secret": { "name": self.secret(account) } });
            let volume = json!({ "name": "osm-identity", "projected": { "sources": [secret] } });
            pod["spec"]["volumes"] = json!([volume]);
        }
        apply(&pod.to_string()).expect("a pod");
    }

    /// The Secret of a pod's proxy.
    pub(crate) fn secret(&self, pod: &str) -> String {
        format!("envoy-bootstrap-config-{}", self.node(pod))
    }

    /// The namespace of the pods.
    pub(crate) fn namespace(&self) -> &str {
        &self.place.mesh
    }

    /// What the proxy of a pod calls itself.
    pub(crate) fn node(&self, pod: &str) -> String {
        format!("{}-{pod}", self.place.mesh)
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
        let words =
            ["create", "token", account, "--namespace", &self.place.mesh, &audience, "--duration=10m"];
        kubectl(&[&words[..], bound].concat()).expect("a token").trim().to_owned()
    }

    pub(crate) fn delete_pod(&self, pod: &str) {
        kubectl(&["delete", "pod", pod, "--namespace", &self.place.mesh, "--grace-period=0", "--force"])
            .expect("gone");
    }

    /// The way to it for proxies.
    pub(crate) fn door(&self) -> Door {
        let ca = InProcessCa::create_or_load(self.folder.path().join("ca")).expect("its root");
        Door::new(self.address("xds"), format!("osm-controller.{}.svc", self.place.system()), ca.root().der())
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
                "operation": "CREATE", "namespace": self.place.mesh,
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
