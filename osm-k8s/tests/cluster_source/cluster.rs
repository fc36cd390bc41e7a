//! A cluster that a test may use: a mesh and namespaces of its own in it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use osm_core::source::{ConfigSource, SourceEvent};
use osm_core::testing::SourceCheck;
use osm_k8s::{ApiClient, KubernetesSource, ManifestKind};
use serde_json::{Value, json};

use crate::eventually::{DEADLINE, eventually};

/// Who makes the objects of the tests.
const MANAGER: &str = "osm-tests";

/// The configuration of the cluster that `KUBECONFIG` names.
pub(crate) async fn config() -> Config {
    let path = std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster for tests");
    let kubeconfig = Kubeconfig::read_from(PathBuf::from(path)).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a cluster")
}

/// A mesh that one test has for itself.
pub(crate) struct Mesh {
    pub(crate) client: Client,
    /// Its name, and the beginning of those of its namespaces.
    pub(crate) name: String,
    namespaces: Vec<String>,
}

impl Mesh {
    /// A mesh with a namespace `a`, and all kinds defined.
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let client = Client::try_from(config().await).expect("a client");
        let name = format!("source-{}-{number}", std::process::id());
        let mut mesh = Self { client, name, namespaces: Vec::new() };
        mesh.define_kinds().await;
        mesh.add_namespace("a", true).await;
        mesh
    }

    async fn define_kinds(&self) {
        for definition in osm_k8s::crds::definitions() {
            self.apply(&definition.object).await;
        }
        for kind in ManifestKind::ALL.iter().filter(|kind| kind.group().contains('.')) {
            let api = self.api(kind.api_version(), kind.name(), None);
            eventually(&format!("{kind} is served"), || async { api.list(&Default::default()).await.ok() })
                .await;
        }
    }

    /// The whole name of a namespace.
    pub(crate) fn namespace(&self, short: &str) -> String {
        format!("{}-{short}", self.name)
    }

    /// Makes a namespace, of the mesh or not.
    pub(crate) async fn add_namespace(&mut self, short: &str, is_monitored: bool) {
        let name = self.namespace(short);
        let labels =
            if is_monitored { json!({ "openservicemesh.io/monitored-by": self.name }) } else { json!({}) };
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels },
        }))
        .await;
        self.namespaces.push(name);
    }

    /// Makes an object as it is written, or changes it.
    pub(crate) async fn apply(&self, object: &Value) {
        self.try_apply(object).await.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Makes an object that is not there yet: at half the cost.
    pub(crate) async fn create(&self, object: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let version = text(&object["apiVersion"]).expect("a version");
        let kind = text(&object["kind"]).expect("a kind");
        let api = self.api(&version, &kind, text(&object["metadata"]["namespace"]).as_deref());
        let object = serde_json::from_value(object.clone()).expect("an object");
        api.create(&Default::default(), &object).await.unwrap_or_else(|error| panic!("{object:?}: {error}"));
    }

    /// Tries to.
    pub(crate) async fn try_apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let version = text(&object["apiVersion"]).expect("a version");
        let kind = text(&object["kind"]).expect("a kind");
        let namespace = text(&object["metadata"]["namespace"]);
        let name = text(&object["metadata"]["name"]).expect("a name");
        let api = self.api(&version, &kind, namespace.as_deref());
        let mut params = PatchParams::apply(MANAGER).force();
        params.field_validation = Some(kube::api::ValidationDirective::Strict);
        api.patch(&name, &params, &Patch::Apply(object)).await
    }

    /// Deletes an object, and waits until it is gone.
    pub(crate) async fn delete(&self, kind: ManifestKind, namespace: &str, name: &str) {
        let api = self.api(kind.api_version(), kind.name(), Some(namespace));
        api.delete(name, &DeleteParams::default().grace_period(0)).await.expect("it is deleted");
        eventually("it is gone", || async {
            api.get_opt(name).await.expect("an answer").is_none().then_some(())
        })
        .await;
    }

    /// The objects of a kind.
    pub(crate) fn api(&self, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// A source of this mesh, whose control plane would be in the namespace `a`.
    pub(crate) fn source(&self, client: Client) -> KubernetesSource {
        let namespace = self.namespace("a").parse().expect("a name");
        KubernetesSource::new(ApiClient::from(client), &self.name, namespace)
    }
}

impl Drop for Mesh {
    /// Takes everything away again, also when the test has failed. Its runtime may be
    /// on its way out, so this has one of its own.
    fn drop(&mut self) {
        let namespaces = std::mem::take(&mut self.namespaces);
        let cleaning = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let api: Api<Namespace> = Api::all(Client::try_from(config().await).expect("a client"));
                for namespace in &namespaces {
                    api.delete(namespace, &DeleteParams::background()).await.expect("it is deleted");
                }
            });
        });
        assert!(cleaning.join().is_ok() || std::thread::panicking(), "namespaces of the test are left");
    }
}

/// A service account of a mesh.
pub(crate) fn account(namespace: &str, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } })
}

/// A service with one port.
pub(crate) fn service(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "web", "port": port }] },
    })
}

/// A target that lets `buyer` reach `store`, in the namespace that it names for it.
pub(crate) fn target(namespace: &str, name: &str, destination: &str) -> Value {
    json!({
        "apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "destination": { "kind": "ServiceAccount", "name": "store", "namespace": destination },
            "sources": [{ "kind": "ServiceAccount", "name": "buyer", "namespace": namespace }],
            "rules": [{ "kind": "TCPRoute", "name": "all" }],
        },
    })
}

/// A source that is listened to, with everything that it said.
pub(crate) struct Listener {
    events: BoxStream<'static, SourceEvent>,
    pub(crate) told: SourceCheck,
    pub(crate) said: Vec<SourceEvent>,
}

impl Listener {
    pub(crate) fn new(source: KubernetesSource) -> Self {
        Self { events: Box::new(source).into_events(), told: SourceCheck::default(), said: Vec::new() }
    }

    /// Listens until something is true.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&SourceCheck) -> bool) {
        let listening = async {
            while !is_so(&self.told) {
                let event = self.events.next().await.expect("it never ends");
                self.said.push(event.clone());
                self.told.take(event).expect("what a source may say");
            }
        };
        if tokio::time::timeout(DEADLINE, listening).await.is_err() {
            panic!("{what} was never told; known are {:?}", self.names());
        }
    }

    /// Listens until something is said.
    pub(crate) async fn until_said(&mut self, what: &str, is_it: impl Fn(&SourceEvent) -> bool) {
        let listening = async {
            loop {
                let event = self.events.next().await.expect("it never ends");
                self.said.push(event.clone());
                let is_it = is_it(&event);
                self.told.take(event).expect("what a source may say");
                if is_it {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, listening).await.unwrap_or_else(|_| panic!("{what} was never said"));
    }

    /// Listens for a while, and no more.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let listening = async {
            loop {
                let event = self.events.next().await.expect("it never ends");
                self.said.push(event.clone());
                self.told.take(event).expect("what a source may say");
            }
        };
        tokio::select! {
            done = work => done,
            () = listening => unreachable!("it never ends"),
        }
    }

    /// The names of what is known, without namespaces.
    pub(crate) fn names(&self) -> Vec<String> {
        self.told.objects().keys().map(|object| format!("{} {}", object.kind, object.name)).collect()
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        knows(&self.told, name)
    }
}

/// Whether an object of that kind and name is known.
pub(crate) fn knows(told: &SourceCheck, name: &str) -> bool {
    told.objects().keys().any(|object| format!("{} {}", object.kind, object.name) == name)
}
