//! The program as a person runs it, and a mesh that goes when its test does.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use osm_k8s::ApiClient;
use osm_k8s::objects::{ObjectKey, Objects};
use serde_json::{Value, json};

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    /// What it wrote to standard output, which must have been all.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.ok, "{}\n{}", self.out, self.error);
        self.out
    }

    /// What it wrote to standard error, for it must have failed.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert!(!self.ok, "{}", self.out);
        self.error
    }

    /// What it wrote, as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.success()).expect("JSON")
    }
}

/// A mesh of a test.
pub(crate) struct Mesh {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) objects: Objects,
    made: Vec<String>,
}

impl Mesh {
    /// Names that nobody else has. Nothing is installed yet.
    pub(crate) async fn named(what: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("install-{what}-{}-{number}", std::process::id());
        Self { namespace: format!("{name}-system"), name, objects: objects().await, made: Vec::new() }
    }

    /// Runs `osm` for this mesh.
    pub(crate) fn osm(&self, arguments: &[&str]) -> Said {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_osm"))
            .args(arguments)
            .env("OSM_NAMESPACE", &self.namespace)
            .env("OSM_MESH_NAME", &self.name)
            .output()
            .expect("osm starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
        Said { ok: output.status.success(), out: text(output.stdout), error: text(output.stderr) }
    }

    /// Installs it, beside others, without waiting for pods that may have no image.
    pub(crate) fn install(&self, more: &[&str]) -> Said {
        let arguments = ["install", "--enforce-single-mesh=false", "--wait=false"];
        self.osm(&[&arguments, more].concat())
    }

    /// Makes a namespace that goes with the mesh.
    pub(crate) async fn make_namespace(&mut self, what: &str) -> String {
        let name = format!("{}-{what}", self.name);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.objects.create_if_absent(&object).await.expect("a namespace");
        self.made.push(name.clone());
        name
    }

    /// The objects of the cluster that are this mesh's.
    pub(crate) async fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for kind in [
            ("v1", "ServiceAccount"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("apps/v1", "Deployment"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("policy/v1", "PodDisruptionBudget"),
            ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
            ("config.openservicemesh.io/v1alpha2", "MeshConfig"),
        ] {
            let labels = format!("app.kubernetes.io/instance={}", self.name);
            let found = self.objects.list(kind, None, &labels).await.expect("a list");
            left.extend(found.iter().map(|object| ObjectKey::of(object).expect("an object").to_string()));
        }
        left
    }

    /// Takes away the namespaces of the test.
    pub(crate) async fn clear(self) {
        self.clear_by(&self.objects).await;
    }

    async fn clear_by(&self, objects: &Objects) {
        for name in self.made.iter().chain([&self.namespace]) {
            objects.delete(&ObjectKey::of_namespace(name)).await.expect("it goes");
        }
    }
}

/// The objects of the cluster.
async fn objects() -> Objects {
    let files: Vec<std::path::PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|files| std::env::split_paths(&files).collect())
        .expect("KUBECONFIG names a cluster");
    let client = ApiClient::find(&files).await.expect("a cluster");
    Objects::new(&client, "osm-test")
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // A test that failed half way; one that did not has nothing to take away.
        if std::thread::panicking() {
            self.osm(&["uninstall", "--force"]);
            // The test's own runtime waits for this here.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let runtime = runtime.expect("a runtime");
                    runtime.block_on(async { self.clear_by(&objects().await).await });
                });
            });
        }
    }
}
