//! A control plane in this process, with facts that the test changes.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use osm_certs::certificate::{Certified, TrustBundle};
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
use osm_e2e::control_plane::ControlPlane;
use serde_json::json;
use tokio::task::JoinSet;

use crate::peer::Files;

/// The port that clients dial.
const PORT: u16 = 9000;
/// A running control plane; it ends when this is dropped.
pub(crate) struct Mesh {
    facts: MemoryWriter,
    plane: ControlPlane,
    _feeding: JoinSet<()>,
}

impl Mesh {
    /// Starts with a pod of each service at each address. The buyer may call the stock.
    pub(crate) async fn start(target_port: u16, pods: &[(&str, &str)]) -> Self {
        let options = MeshOptions::default();
        let target = NonZeroU16::new(target_port).expect("not 0");
        let (source, facts) = MemorySource::new(objects(&options, target, pods));
        let (catalog, feeding) = Catalog::new(options);
        let plane = ControlPlane::start(Arc::new(catalog), |publisher| Arc::new(publisher)).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(feeding.run(Box::new(source)));
        let mesh = Self { facts, plane: plane.expect("a control plane"), _feeding: tasks };
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
        let principal = identity(account).principal(&MeshOptions::default().trust_domain);
        let certified = self.plane.certified(&Subject::Workload(principal)).await;
        self.write(account, certified.expect("a certificate"))
    }

    /// The bootstrap of a sidecar beside a pod of a service at this address.
    pub(crate) async fn sidecar(&self, service: &str, address: &str) -> PathBuf {
        let proxy = proxy(&pod_name(service, address), service);
        self.plane.bootstrap(&proxy).await.expect("a bootstrap")
    }

    /// The bootstrap of a gRPC client of this account.
    pub(crate) async fn client(&self, account: &str) -> PathBuf {
        let workload = self.workload(account).await;
        let certified = self.plane.proxy(&proxy(account, account)).await.expect("a certificate");
        let proxy = self.write(&format!("{account}-proxy"), certified);
        let files = |files: &Files| {
            json!({
                "certificate_file": files.chain, "private_key_file": files.key, "ca_certificate_file": files.roots,
            })
        };
        let bootstrap = json!({
            "node": {"id": account, "cluster": "shop"},
            "xds_servers": [{
                "server_uri": self.plane.address.to_string(),
                "channel_creds": [{"type": "tls", "config": files(&proxy)}],
                "server_features": ["xds_v3"],
            }],
            "certificate_providers": {
                "default": {"plugin_name": "file_watcher", "config": files(&workload)},
            },
        });
        let path = self.plane.folder().join(format!("{account}.json"));
        std::fs::write(&path, bootstrap.to_string()).expect("it can be written");
        path
    }

    fn write(&self, name: &str, (certified, trust): (Arc<Certified>, Arc<TrustBundle>)) -> Files {
        let write = |ending: &str, text: &str| {
            let path = self.plane.folder().join(format!("{name}.{ending}.pem"));
            std::fs::write(&path, text).expect("it can be written");
            path
        };
        Files {
            chain: write("chain", certified.chain().pem()),
            key: write("key", certified.key().pem()),
            roots: write("roots", trust.pem()),
        }
    }
}

fn proxy(uuid: &str, account: &str) -> ProxyId {
    ProxyId::new(uuid.parse().expect("a UUID"), identity(account))
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
