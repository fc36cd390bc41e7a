//! A control plane in this process, and a real Envoy that is connected to it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_core::catalog::{Catalog, CatalogDriver};
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_xds::bootstrap::{Admin, Bootstrap, ControlPlane, Credentials, certificate_file, trust_file};
use osm_xds::metrics::Metrics;
use osm_xds::push::Publisher;
use osm_xds::server::{CertificateAuthenticator, Registry, Server, ServerOptions, TlsHandle};
use osm_xds::session::{Nack, Rejected};
use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::planted::{Planted, Planting};

const SERVER_NAME: &str = "osm-controller.osm-system.svc";

/// What was logged by all tests of this program.
static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let log: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Log(Arc::clone(&writer)));
    subscriber.init();
    log
});

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was logged so far.
pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock()).into_owned()
}

pub(crate) struct Mesh {
    catalog: Mutex<CatalogDriver>,
    fault: watch::Sender<Option<Planted>>,
    registry: Arc<Registry>,
    metrics: prometheus_client::registry::Registry,
    envoy: Child,
    folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

fn fleet(services: usize) -> Fleet {
    Fleet { services, endpoints: 1, clients: 1, reach: 1, permissive: true }
}

impl Mesh {
    /// A mesh with one service, and an Envoy that has it.
    pub(crate) async fn start(planted: Planted) -> Self {
        LazyLock::force(&LOG);
        let mut tasks = JoinSet::new();
        let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
        let (certificates, manager) = CertificateManager::new(authority, ManagerOptions::default());
        tasks.spawn(manager.run());
        let (reader, mut catalog) = Catalog::new(MeshOptions::default());
        catalog.take_in([SourceEvent::Reset]);
        catalog.take_in(fleet(1).objects().into_iter().map(SourceEvent::apply).chain([SourceEvent::Ready]));
        let (publisher, driver) = Publisher::new(Arc::new(reader), Arc::new(certificates.clone()));
        tasks.spawn(driver.run());
        let tls = TlsHandle::new();
        let own = Subject::control_plane([SERVER_NAME.parse().expect("a DNS name")]);
        let current = tls.clone().keep_current(Arc::new(certificates.clone()), own);
        tasks.spawn(async move {
            current.await.expect("certificates are provided as long as they are asked for")
        });
        tls.ready().await;

        let counters = Metrics::new();
        let mut metrics = prometheus_client::registry::Registry::default();
        counters.register(&mut metrics);
        let (fault, planting) = watch::channel(Some(planted));
        let trust_domain = MeshOptions::default().trust_domain;
        let authenticator = Arc::new(CertificateAuthenticator::new(trust_domain));
        let views = Arc::new(Planting { publisher, fault: planting });
        let server = Server::new(ServerOptions::default(), views, authenticator, tls, counters);
        let registry = server.registry();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        tasks.spawn(async move { drop(server.serve(listener, std::future::pending()).await) });

        let folder = tempfile::tempdir().expect("a folder");
        let envoy = start_envoy(&folder, port, &certificates).await;
        let catalog = Mutex::new(catalog);
        let mesh = Self { catalog, fault, registry, metrics, envoy, folder, _tasks: tasks };
        mesh.until("the first configuration", || !mesh.registry.statuses().is_empty()).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while mesh.in_force().await.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "Envoy has no configuration:\n{}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mesh
    }

    /// Lets there be so many services.
    pub(crate) fn publish(&self, services: usize) {
        self.catalog.lock().take_in(fleet(services).objects().into_iter().map(SourceEvent::apply));
    }

    /// Takes the fault away.
    pub(crate) fn mend(&self) {
        self.fault.send_replace(None);
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).expect("it can be written");
        text
    }

    /// What is refused, as soon as anything is.
    pub(crate) async fn until_refused(&self) -> Vec<(Rejected, Arc<Nack>)> {
        self.until("a refusal", || self.is_refused()).await;
        // The metric follows the status by the time of one look.
        self.until("a series", || self.metrics().contains("osm_xds_refused_resources{")).await;
        self.registry.statuses().into_iter().flat_map(|status| status.session.refused).collect()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.registry.statuses().iter().any(|status| !status.session.refused.is_empty())
    }

    /// The services of which Envoy has everything: cluster, endpoints, listener, routes.
    pub(crate) async fn in_force(&self) -> BTreeSet<usize> {
        // A line for each host of each active cluster; for each active listener.
        let clusters = self.ask("/clusters").await;
        let listeners = self.ask("/listeners").await;
        let routes = self.ask("/config_dump?resource=dynamic_route_configs").await;
        let has = |service: &usize| {
            let host = format!("fleet/s{service}|80::10.");
            let listener = format!("outbound_fleet/s{service}_80_http::");
            let route = format!("\"rds-outbound.fleet/s{service}_80\"");
            clusters.lines().any(|line| line.starts_with(&host))
                && listeners.lines().any(|line| line.starts_with(&listener))
                && routes.contains(&route)
        };
        (0..200).filter(has).collect()
    }

    async fn ask(&self, path: &str) -> String {
        self.try_ask(path).await.unwrap_or_default()
    }

    async fn try_ask(&self, path: &str) -> Option<String> {
        let stream = UnixStream::connect(socket(&self.folder)).await.ok()?;
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", "envoy").body(Empty::<bytes::Bytes>::new());
        let response = client.send_request(request.expect("a request")).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(String::from_utf8_lossy(&body).into_owned())
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition() {
            assert!(tokio::time::Instant::now() < deadline, "{what} did not happen:\n{}", log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn end(mut self) {
        self.envoy.kill().await.expect("it runs");
    }
}

fn socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("admin.sock")
}

async fn start_envoy(folder: &tempfile::TempDir, port: u16, certificates: &CertificateManager) -> Child {
    let proxy = fleet(1).client_proxy(0);
    let trust_domain = MeshOptions::default().trust_domain;
    let subject = Subject::Proxy { trust_domain, proxy: proxy.clone() };
    let certified = certificates.watch(&subject).ready().await.expect("a certificate");
    let trust = certificates.trust().ready().await.expect("a root");
    let write = |name: &str, value: serde_json::Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).expect("it is written");
        path
    };
    let credentials = Credentials {
        certificate: write("cert.json", certificate_file(certified.chain().pem(), certified.key().pem())),
        trust: write("trust.json", trust_file(trust.pem())),
    };
    let bootstrap = Bootstrap {
        proxy: proxy.uuid.clone(),
        cluster: "client.fleet".to_owned(),
        control_plane: ControlPlane {
            host: "127.0.0.1".to_owned(),
            port,
            server_name: SERVER_NAME.to_owned(),
        },
        credentials,
        admin: Admin::Socket(socket(folder)),
    };
    let file = write("bootstrap.json", bootstrap.to_json());
    Command::new(osm_e2e::envoy::find().expect("an Envoy"))
        .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "--config-path"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}
