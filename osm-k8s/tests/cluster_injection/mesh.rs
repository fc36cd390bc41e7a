//! A mesh of one test: its namespace, its webhooks and their configurations.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_k8s::ApiClient;
use osm_k8s::injector::{Injector, Launch, Needs, ProxyIdentity, SettingsDriver, SidecarDefaults};
use osm_k8s::metrics::Metrics;
use osm_k8s::namespaces::MonitoredNamespaces;
use osm_k8s::reconcile::Reconciler;
use osm_k8s::trust_bundle::TrustBundles;
use osm_k8s::webhook::{self, RootObjects, WebhookNames, Webhooks};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::eventually::eventually;

/// A mesh with one namespace, `NAME-shop`.
pub(crate) struct Mesh {
    pub(crate) client: Client,
    pub(crate) name: String,
    /// What the ConfigMaps hold.
    pub(crate) files: watch::Sender<Option<BTreeMap<String, String>>>,
    /// What the webhook configurations hold.
    pub(crate) authorities: watch::Sender<Option<String>>,
    /// The authority that webhooks are verified by.
    pub(crate) pem: String,
    _tasks: JoinSet<()>,
}

impl Mesh {
    /// Starts one and runs a test in it; takes all of it away afterwards, also when the test fails.
    pub(crate) async fn with<F: Future<Output = ()> + Send + 'static>(
        what: &str,
        test: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) {
        let mesh = Arc::new(Self::start(what).await);
        let ended = tokio::spawn(test(Arc::clone(&mesh))).await;
        mesh.clean_up().await;
        ended.expect("the test passes");
    }

    async fn start(what: &str) -> Self {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
        let name = format!("inject-{what}-{}-{}", std::process::id(), seconds.subsec_micros());
        let (client, server_address) = connect().await;
        let server = ApiClient::from(client.clone());
        let local = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect(server_address)?;
            socket.local_addr()
        });
        let local: IpAddr = local.expect("a way to the API server").ip();

        let mut tasks = JoinSet::new();
        let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
        let (certificates, driver) = CertificateManager::new(authority, ManagerOptions::default());
        tasks.spawn(driver.run());
        let pem = certificates.trust().ready().await.expect("a root").pem().to_owned();
        let certificate = certificates.watch(&Subject::control_plane([local.into()]));

        let (namespaces, driver) = MonitoredNamespaces::new(server.clone(), &name);
        tasks.spawn(driver.run());
        let config = format!("{name}-shop/osm-mesh-config").parse().expect("a name");
        let (settings, driver) = SettingsDriver::new(server.clone(), config, defaults(&name));
        tasks.spawn(driver.run());
        let (files, files_watch) = watch::channel(None);
        tasks.spawn(TrustBundles::new(server.clone(), &name, namespaces.clone(), files_watch).run());
        let (authorities, authorities_watch) = watch::channel(None);
        let names = WebhookNames::of_mesh(&name);
        let reconciler = Reconciler::new(server.clone(), names, authorities_watch, Metrics::default());
        tasks.spawn(reconciler.run());

        let launch = Launch { config: "{}".to_owned(), arguments: vec![], ready_path: "/ready" };
        let pages = Webhooks {
            injector: Injector::new(Arc::new(move |_: &Needs| launch.clone())),
            settings,
            namespaces,
            roots: RootObjects::new(server.clone()),
            metrics: Metrics::default(),
        };
        let listener = TcpListener::bind((local, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn(async move {
            let served = webhook::serve(listener, pages.router(), certificate, std::future::pending()).await;
            served.expect("a certificate");
        });
        let mesh = Self { client, name, files, authorities, pem, _tasks: tasks };
        mesh.install(address).await;
        mesh
    }

    pub(crate) fn shop(&self) -> String {
        format!("{}-shop", self.name)
    }

    async fn install(&self, address: SocketAddr) {
        let labels = json!({ "openservicemesh.io/monitored-by": self.name });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": self.shop(), "labels": labels,
            "annotations": { "openservicemesh.io/sidecar-injection": "enabled" },
        } });
        let WebhookNames { mutating, validating } = WebhookNames::of_mesh(&self.name);
        let webhook = |name: &str, path: &str, rules: Value| {
            json!([{
                "name": name, "rules": rules, "failurePolicy": "Fail", "sideEffects": "None",
                "timeoutSeconds": 10, "admissionReviewVersions": ["v1"],
                "clientConfig": { "url": format!("https://{address}{path}") },
                "namespaceSelector": { "matchLabels": labels },
            }])
        };
        let pods = json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] });
        let configuration = |kind: &str, name: &str, webhooks: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": { "name": name }, "webhooks": webhooks,
            })
        };
        let roots = json!({
            "apiGroups": ["config.openservicemesh.io"], "apiVersions": ["v1alpha2"],
            "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["meshrootcertificates"],
        });
        // Pods stand for the kinds that a bare cluster does not know.
        let validated = json!([pods.clone(), roots]);
        let mutating = configuration(
            "MutatingWebhookConfiguration",
            &mutating,
            webhook("osm-inject.k8s.io", webhook::MUTATE_PATH, json!([pods])),
        );
        let validating = configuration(
            "ValidatingWebhookConfiguration",
            &validating,
            webhook("osm-validator.k8s.io", webhook::VALIDATE_PATH, validated),
        );
        let client = || self.client.clone();
        create(&Api::<Namespace>::all(client()), namespace).await;
        create(&Api::<MutatingWebhookConfiguration>::all(client()), mutating).await;
        create(&Api::<ValidatingWebhookConfiguration>::all(client()), validating).await;
        self.authorities.send_replace(Some(self.pem.clone()));
        eventually("the webhooks are verified", || async {
            let names = WebhookNames::of_mesh(&self.name);
            (self.bundle_of(&names.mutating).await? == self.pem).then_some(())
        })
        .await;
        let accounts: Api<ServiceAccount> = Api::namespaced(client(), &self.shop());
        eventually("the default account", || async { accounts.get_opt("default").await.ok().flatten() })
            .await;
    }

    /// The authorities in the pods' webhook configuration.
    pub(crate) async fn bundle_of(&self, name: &str) -> Option<String> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = configurations.get(name).await.ok()?;
        let bundle = found.webhooks?.first()?.client_config.ca_bundle.clone()?;
        String::from_utf8(bundle.0).ok()
    }

    /// Creates a pod; `dry_run` leaves nothing.
    pub(crate) async fn create_pod(&self, pod: Value, dry_run: bool) -> Result<Pod, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.shop());
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        // The API server takes a moment until it asks a webhook that was just configured.
        pods.create(&PostParams { dry_run, ..PostParams::default() }, &pod).await
    }

    async fn clean_up(&self) {
        let WebhookNames { mutating, validating } = WebhookNames::of_mesh(&self.name);
        let delete = DeleteParams::default();
        let client = || self.client.clone();
        // What is gone already needs no deletion.
        drop(Api::<MutatingWebhookConfiguration>::all(client()).delete(&mutating, &delete).await);
        drop(Api::<ValidatingWebhookConfiguration>::all(client()).delete(&validating, &delete).await);
        drop(Api::<Namespace>::all(client()).delete(&self.shop(), &delete).await);
    }
}

fn defaults(mesh_name: &str) -> SidecarDefaults {
    SidecarDefaults {
        mesh_name: mesh_name.to_owned(),
        osm_namespace: "osm-system".to_owned(),
        sidecar_image: "envoy:test".to_owned(),
        init_image: "init:test".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        kind: None,
        identity: ProxyIdentity::Token,
    }
}

pub(crate) async fn connect() -> (Client, SocketAddr) {
    let path = std::env::var_os("KUBECONFIG").map(PathBuf::from).expect("KUBECONFIG names a cluster");
    let kubeconfig = kube::config::Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a cluster");
    let host = config.cluster_url.host().expect("a host").trim_matches(['[', ']']).to_owned();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let mut found = tokio::net::lookup_host((host, port)).await.expect("an address");
    let address = found.next().expect("an address");
    (Client::try_from(config).expect("a client"), address)
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("it is created");
}

/// Edits an object by a merge patch.
pub(crate) async fn edit<K>(api: &Api<K>, name: &str, change: Value)
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.expect("it is edited");
}
