//! A real API server with the real cert-manager beside it, and nothing else. All of it goes with the fixture.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::IssuerError;
use osm_e2e::api_server::ApiServer;
use osm_k8s::ApiClient;
use osm_k8s::cert_manager::{CertManagerDriver, CertManagerIssuer, CertManagerOptions, IssuerRef};
use osm_k8s::objects::{ObjectKey, Objects};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::eventually::eventually;

/// Where the mesh is.
pub(crate) const MESH: &str = "osm-system";
/// Where the Secrets of ClusterIssuers are.
const CERT_MANAGER: &str = "cert-manager";
/// How long a program may take to be ready.
const START: Duration = Duration::from_secs(60);
/// The controller of the mesh, as the API server knows it.
const CONTROLLER: &str = "osm-controller";
/// The kind of requests.
pub(crate) const REQUESTS: (&str, &str) = ("cert-manager.io/v1", "CertificateRequest");

/// How many tests may have an API server and a cert-manager at a time: more of them keep each other waiting.
static ROOM: Semaphore = Semaphore::const_new(2);

/// What runs for a test.
pub(crate) struct Fixture {
    cert_manager: Option<Child>,
    server: ApiServer,
    pub(crate) objects: Objects,
    folder: TempDir,
    _room: SemaphorePermit<'static>,
}

impl Fixture {
    /// An API server with namespaces and nothing else.
    pub(crate) async fn bare() -> Self {
        let room = ROOM.acquire().await.expect("nobody closes it");
        let folder = tempfile::tempdir().expect("a folder");
        let programs = PathBuf::from(given("OSM_API_SERVER_PROGRAMS"));
        let server = ApiServer::running(&programs, folder.path()).await.expect("an API server");
        let client = client(&server.kubeconfig()).await;
        let objects = Objects::new(&client, "test");
        let fixture = Self { cert_manager: None, objects, server, folder, _room: room };
        for name in [MESH, CERT_MANAGER] {
            fixture
                .make(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
                .await;
        }
        fixture
    }

    /// The same with cert-manager, which approves of all requests or of none.
    pub(crate) async fn start(approves: bool) -> Self {
        let mut fixture = Self::bare().await;
        fixture.define().await;
        let log = fixture.folder.path().join("cert-manager.log");
        let mut child = Command::new(PathBuf::from(given("OSM_CERT_MANAGER")).join("cert-manager"))
            .arg("-kubeconfig")
            .arg(fixture.server.kubeconfig())
            .arg(format!("-approve={approves}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("cert-manager can be started");
        let said = child.stdout.take().expect("its output is a pipe");
        fixture.cert_manager = Some(child);
        let reading = tokio::task::spawn_blocking(|| first_line(said));
        let line = tokio::time::timeout(START, reading).await.expect("in time").expect("a line");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        assert_eq!(line, "ready\n", "cert-manager did not come up:\n{log}");
        fixture
    }

    /// Makes the kinds of cert-manager known.
    pub(crate) async fn define(&self) {
        let folder = PathBuf::from(given("OSM_CERT_MANAGER")).join("crds");
        let mut keys = Vec::new();
        for file in std::fs::read_dir(&folder).expect("the definitions") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("a text");
            for object in osm_k8s::yaml::read(&text).expect("YAML") {
                keys.push(ObjectKey::of(&object).expect("an object"));
                self.make(object).await;
            }
        }
        self.objects.ready(&keys, START, |_| {}).await.expect("the kinds are served");
    }

    pub(crate) async fn make(&self, object: Value) {
        self.objects.apply(&object).await.unwrap_or_else(|error| panic!("{error}: {object}"));
    }

    /// A root that signs itself, and an issuer by it: in the mesh's namespace, or for the cluster.
    pub(crate) async fn make_issuer(&self, issuer: &IssuerRef) {
        let is_of_cluster = issuer.kind == "ClusterIssuer";
        let namespace = if is_of_cluster { CERT_MANAGER } else { MESH };
        let of = |kind: &str, namespace: Option<&str>, name: &str, spec: Value| {
            json!({
                "apiVersion": "cert-manager.io/v1", "kind": kind,
                "metadata": { "name": name, "namespace": namespace }, "spec": spec,
            })
        };
        let root = json!({
            "isCA": true, "commonName": format!("root of {issuer}"), "secretName": issuer.name,
            "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Always" },
            "issuerRef": { "name": "itself" },
        });
        self.make(of("Issuer", Some(namespace), "itself", json!({ "selfSigned": {} }))).await;
        self.make(of("Certificate", Some(namespace), &issuer.name, root)).await;
        let within = if is_of_cluster { None } else { Some(namespace) };
        let mut made = of(&issuer.kind, within, &issuer.name, json!({ "ca": { "secretName": issuer.name } }));
        if is_of_cluster {
            made["metadata"].as_object_mut().expect("an object").remove("namespace");
        }
        let key = ObjectKey::of(&made).expect("an object");
        self.make(made).await;
        let what = format!("{issuer} is ready");
        eventually(&what, async || {
            let found = self.objects.get(&key).await.expect("an answer")?;
            let conditions = found.pointer("/status/conditions")?.as_array()?.clone();
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True").then_some(())
        })
        .await;
    }

    /// Gives the mesh's controller the rights that are documented.
    pub(crate) async fn permit(&self) {
        let role = documented_role();
        let metadata = role["metadata"].clone();
        let api = role["apiVersion"].clone();
        self.make(role).await;
        self.make(json!({
            "apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"] },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": CONTROLLER }],
        }))
        .await;
    }

    /// An issuer that asks as the mesh's controller, and gives up after so long.
    pub(crate) async fn asking(
        &self,
        issuer: &IssuerRef,
        patience: Duration,
    ) -> (CertManagerIssuer, CertManagerDriver) {
        self.asking_with(issuer, patience, None).await
    }

    /// The same with roots that are given.
    pub(crate) async fn asking_with(
        &self,
        issuer: &IssuerRef,
        patience: Duration,
        roots: Option<TrustBundle>,
    ) -> (CertManagerIssuer, CertManagerDriver) {
        let text = std::fs::read_to_string(self.server.kubeconfig()).expect("a kubeconfig");
        let mut kubeconfig: Value = serde_json::from_str(&text).expect("JSON");
        kubeconfig["users"][0]["user"]["as"] = CONTROLLER.into();
        let path = self.folder.path().join("controller.kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).expect("a kubeconfig");
        let mut options = CertManagerOptions::new(MESH.parse().expect("a name"), "osm", issuer.clone());
        options.patience = patience;
        options.roots = roots;
        CertManagerIssuer::new(&client(&path).await, options)
    }

    /// Waits until no request of the mesh is left.
    pub(crate) async fn no_request_is_left(&self) {
        eventually("no request is left", async || {
            let labels = "app.kubernetes.io/instance=osm";
            let left = self.objects.list(REQUESTS, Some(MESH), labels).await.expect("an answer");
            left.is_empty().then_some(())
        })
        .await;
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(child) = &mut self.cert_manager {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Runs a test of an issuer, and its driver meanwhile.
pub(crate) async fn run<T>(
    (issuer, driver): (CertManagerIssuer, CertManagerDriver),
    test: impl AsyncFnOnce(CertManagerIssuer) -> T,
) -> T {
    tokio::select! {
        result = test(issuer) => result,
        () = driver.run() => unreachable!("it never returns"),
    }
}

/// Asserts that an answer is an outage that is told in these words.
pub(crate) fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, IssuerError>, words: &str) {
    let error = answer.expect_err("there is none");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

/// Asserts that an answer is a refusal that is told in these words.
pub(crate) fn assert_refused<T: std::fmt::Debug>(answer: Result<T, IssuerError>, words: &str) {
    let error = answer.expect_err("there is none");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

/// The rights that the documentation of the issuer shows.
fn documented_role() -> Value {
    let lines = include_str!("../../../osm-k8s/src/cert_manager.rs").lines();
    let shown = lines.skip_while(|line| *line != "//! ```yaml").skip(1).take_while(|line| *line != "//! ```");
    let text: String = shown.map(|line| format!("{}\n", line.trim_start_matches("//! "))).collect();
    osm_k8s::yaml::read(&text).expect("YAML").pop().expect("a Role")
}

async fn client(kubeconfig: &Path) -> ApiClient {
    ApiClient::find(&[kubeconfig.to_owned()]).await.expect("a client")
}

fn first_line(said: ChildStdout) -> String {
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line).expect("a text");
    line
}

fn given(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names a folder"))
}
