//! A control plane in this process, with facts that the test changes.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::Certified;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_core::catalog::Catalog;
use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::model::{
    HttpMatch, HttpRouteGroup, MeshConfig, MeshObject, Methods, Namespace, RouteRule, Service, ServicePort,
    SplitBackend, TargetPort, TrafficSplit, TrafficTarget, Workload,
};
use osm_core::name::{QualifiedName, ServiceName};
use osm_core::snapshot::MeshOptions;
use osm_core::source::{MemorySource, MemoryWriter};
use osm_xds::bootstrap::{Admin, Bootstrap, ControlPlane, Credentials, certificate_file, trust_file};
use osm_xds::metrics::Metrics;
use osm_xds::push::Publisher;
use osm_xds::server::{CertificateAuthenticator, Server, ServerOptions, TlsHandle};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::peer::Files;

/// The port that clients dial.
const PORT: u16 = 9000;
/// The name of the control plane.
const CONTROL_PLANE: &str = "osm-controller.shop";
/// How long a certificate may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running control plane; it ends when this is dropped.
pub(crate) struct Mesh {
    options: MeshOptions,
    facts: MemoryWriter,
    certificates: CertificateManager,
    address: SocketAddr,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Mesh {
    /// Starts with a pod of each service at each address. The buyer may call the stock.
    pub(crate) async fn start(target_port: u16, pods: &[(&str, &str)]) -> Self {
        let options = MeshOptions::default();
        let target = NonZeroU16::new(target_port).expect("not 0");
        let (source, facts) = MemorySource::new(objects(&options, target, pods));
        let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
        let (certificates, renewing) = CertificateManager::new(authority, ManagerOptions::default());
        let (catalog, feeding) = Catalog::new(options.clone());
        let (publisher, pushing) = Publisher::new(Arc::new(catalog), Arc::new(certificates.clone()));
        let tls = TlsHandle::new();
        let names = ["127.0.0.1", CONTROL_PLANE].map(|name| name.parse().expect("a name"));
        let me = Subject::control_plane(names);
        let certified = tls.clone().keep_current(Arc::new(certificates.clone()), me);
        let authenticator = Arc::new(CertificateAuthenticator::new(options.trust_domain.clone()));
        let server =
            Server::new(ServerOptions::default(), Arc::new(publisher), authenticator, tls, Metrics::new());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let mut tasks = JoinSet::new();
        tasks.spawn(feeding.run(Box::new(source)));
        tasks.spawn(renewing.run());
        tasks.spawn(pushing.run());
        tasks.spawn(async {
            certified.await.expect("certificates are provided as long as they are asked for")
        });
        tasks.spawn(async { drop(server.serve(listener, std::future::pending()).await) });
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = Self { options, facts, certificates, address, folder, _tasks: tasks };
        mesh.let_in("stock", &["buyer"]);
        mesh
    }

    /// Lets these accounts call a service, and nobody else.
    pub(crate) fn let_in(&self, service: &str, clients: &[&str]) {
        let mut target = TrafficTarget::new(name(service), identity(service));
        target.sources = clients.iter().map(|client| identity(client)).collect();
        target.rules = vec![RouteRule::Http { group: "all".parse().expect("a name"), matches: None }];
        self.facts.apply(target);
    }

    /// Leads calls of a service to others.
    pub(crate) fn split(&self, root: &str, backends: &[(&str, u32)]) {
        let mut split = TrafficSplit::new(name(root), service(root));
        let backend = |(name, weight): &(&str, u32)| SplitBackend { service: service(name), weight: *weight };
        split.backends = backends.iter().map(backend).collect();
        self.let_in(backends[0].0, &["buyer"]);
        self.facts.apply(split);
    }

    /// Takes the split of a service away.
    pub(crate) fn no_split(&self, root: &str) {
        let split = TrafficSplit::new(name(root), service(root));
        self.facts.delete(MeshObject::from(split).object_ref());
    }

    /// Adds a pod of a service.
    pub(crate) fn add_pod(&self, service: &str, address: &str) {
        self.facts.apply(pod(service, address));
    }

    /// Takes a pod away.
    pub(crate) fn remove_pod(&self, service: &str, address: &str) {
        self.facts.delete(MeshObject::from(pod(service, address)).object_ref());
    }

    /// The certificate of a workload, and whom it is to trust.
    pub(crate) async fn workload(&self, account: &str) -> Files {
        let principal = identity(account).principal(&self.options.trust_domain);
        self.files(account, &Subject::Workload(principal)).await
    }

    /// The bootstrap of a sidecar beside a pod of a service at this address.
    pub(crate) async fn sidecar(&self, service: &str, address: &str) -> PathBuf {
        let uuid = pod_name(service, address);
        let pem = self.proxy(&uuid, service).await;
        let text = |path: &Path| std::fs::read_to_string(path).expect("it was written");
        let write = |name: &str, value: serde_json::Value| {
            let path = self.folder.path().join(format!("{uuid}.{name}.json"));
            std::fs::write(&path, value.to_string()).expect("it can be written");
            path
        };
        let bootstrap = Bootstrap {
            proxy: uuid.parse().expect("a UUID"),
            cluster: "stock.shop".to_owned(),
            control_plane: ControlPlane {
                host: self.address.ip().to_string(),
                port: self.address.port(),
                server_name: CONTROL_PLANE.to_owned(),
            },
            credentials: Credentials {
                certificate: write("certificate", certificate_file(&text(&pem.chain), &text(&pem.key))),
                trust: write("trust", trust_file(&text(&pem.roots))),
            },
            admin: Admin::Socket(self.folder.path().join(format!("{uuid}.sock"))),
        };
        write("bootstrap", bootstrap.to_json())
    }

    async fn proxy(&self, uuid: &str, account: &str) -> Files {
        let proxy = ProxyId::new(uuid.parse().expect("a UUID"), identity(account));
        let subject = Subject::Proxy { trust_domain: self.options.trust_domain.clone(), proxy };
        self.files(&format!("{uuid}-proxy"), &subject).await
    }

    /// The bootstrap of a gRPC client of this account.
    pub(crate) async fn client(&self, account: &str) -> PathBuf {
        let workload = self.workload(account).await;
        let proxy = self.proxy(account, account).await;
        let files = |files: &Files| {
            json!({
                "certificate_file": files.chain, "private_key_file": files.key, "ca_certificate_file": files.roots,
            })
        };
        let bootstrap = json!({
            "node": {"id": account, "cluster": "shop"},
            "xds_servers": [{
                "server_uri": self.address.to_string(),
                "channel_creds": [{"type": "tls", "config": files(&proxy)}],
                "server_features": ["xds_v3"],
            }],
            "certificate_providers": {
                "default": {"plugin_name": "file_watcher", "config": files(&workload)},
            },
        });
        let path = self.folder.path().join(format!("{account}.json"));
        std::fs::write(&path, bootstrap.to_string()).expect("it can be written");
        path
    }

    async fn files(&self, name: &str, subject: &Subject) -> Files {
        let certified = tokio::time::timeout(PATIENCE, self.certificates.watch(subject).ready()).await;
        let certified: Arc<Certified> = certified.expect("in time").expect("a certificate");
        let roots = tokio::time::timeout(PATIENCE, self.certificates.trust().ready()).await;
        let write = |ending: &str, text: &str| {
            let path = self.folder.path().join(format!("{name}.{ending}.pem"));
            std::fs::write(&path, text).expect("it can be written");
            path
        };
        Files {
            chain: write("chain", certified.chain().pem()),
            key: write("key", certified.key().pem()),
            roots: write("roots", roots.expect("in time").expect("trust").pem()),
        }
    }
}

fn objects(options: &MeshOptions, target: NonZeroU16, pods: &[(&str, &str)]) -> Vec<MeshObject> {
    let config = MeshConfig::new(options.mesh_config.clone());
    let namespace = Namespace::monitored("shop".parse().expect("a name"), &options.mesh_name);
    let mut all = HttpRouteGroup::new(name("all"));
    all.matches.push(HttpMatch {
        name: "all".to_owned(),
        path_regex: None,
        methods: Methods::Any,
        headers: Vec::new(),
    });
    let services = [("stock", "10.96.0.1"), ("next", "10.96.0.2")];
    let services = services.map(|(service, address)| {
        let mut made = Service::new(self::service(service));
        made.addresses.push(address.parse().expect("an address"));
        made.selector.insert("app".into(), service.into());
        let mut port = ServicePort::new("grpc", NonZeroU16::new(PORT).expect("not 0"));
        port.target = TargetPort::Number(target);
        made.ports.push(port);
        MeshObject::from(made)
    });
    let clients = [("buyer", "10.244.0.1"), ("thief", "10.244.0.2")].map(|(client, address)| {
        let mut pod = pod(client, address);
        pod.proxy = Some(client.parse().expect("a UUID"));
        MeshObject::from(pod)
    });
    let pods = pods.iter().map(|(service, address)| MeshObject::from(pod(service, address)));
    let policy = [namespace.into(), config.into(), all.into()];
    policy.into_iter().chain(services).chain(clients).chain(pods).collect()
}

fn pod(app: &str, address: &str) -> Workload {
    let pod_name = pod_name(app, address);
    let mut pod = Workload::new(name(&pod_name), app.parse().expect("a name"));
    pod.labels.insert("app".into(), app.into());
    pod.addresses.push(address.parse().expect("an address"));
    pod.proxy = Some(pod_name.parse().expect("a UUID"));
    pod.ready = true;
    pod
}

fn pod_name(app: &str, address: &str) -> String {
    format!("{app}-{}", address.replace('.', "-"))
}

fn name(object: &str) -> QualifiedName {
    format!("shop/{object}").parse().expect("a name")
}

fn service(name: &str) -> ServiceName {
    format!("shop/{name}").parse().expect("a name")
}

fn identity(account: &str) -> ServiceIdentity {
    ServiceIdentity::new("shop".parse().expect("a name"), account.parse().expect("a name"))
}
