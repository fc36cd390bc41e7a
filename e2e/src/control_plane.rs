//! A control plane in the process of a test, to which real proxies connect over
//! mutual TLS on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::certificate::{Certified, TrustBundle};
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_core::catalog::MeshCatalog;
use osm_core::identity::ProxyId;
use osm_core::snapshot::MeshOptions;
use osm_xds::bootstrap::{
    Admin, Bootstrap, ControlPlane as Place, Credentials, Node, Pages, certificate_file, trust_file,
};
use osm_xds::metrics::Metrics;
use osm_xds::push::Publisher;
use osm_xds::server::{CertificateAuthenticator, Registry, Server, ServerOptions, TlsHandle};
use osm_xds::view::ViewSource;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The name by which Envoys know it.
pub const SERVER_NAME: &str = "osm-controller.osm-system.svc";
/// How long a certificate may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running control plane with an authority of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Where proxies connect.
    pub address: SocketAddr,
    /// The proxies that are connected.
    pub registry: Arc<Registry>,
    /// What it counts.
    pub metrics: prometheus_client::registry::Registry,
    certificates: CertificateManager,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Serves what the catalog says, as `views` shows it.
    ///
    /// # Errors
    /// When there is no authority, port or folder to be had.
    pub async fn start(
        catalog: Arc<dyn MeshCatalog>,
        views: impl FnOnce(Publisher) -> Arc<dyn ViewSource>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("taking a free port")?;
        Self::start_on(listener, catalog, views).await
    }

    /// The same for connections to this listener.
    ///
    /// # Errors
    /// When there is no authority or folder to be had.
    pub async fn start_on(
        listener: TcpListener,
        catalog: Arc<dyn MeshCatalog>,
        views: impl FnOnce(Publisher) -> Arc<dyn ViewSource>,
    ) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let authority = Arc::new(InProcessCa::ephemeral().context("making an authority")?);
        let (certificates, renewing) = CertificateManager::new(authority, ManagerOptions::default());
        tasks.spawn(renewing.run());
        let (publisher, pushing) = Publisher::new(catalog, Arc::new(certificates.clone()));
        tasks.spawn(pushing.run());
        let tls = TlsHandle::new();
        let names = [SERVER_NAME.parse()?, "127.0.0.1".parse()?];
        let current = tls.clone().keep_current(Arc::new(certificates.clone()), Subject::control_plane(names));
        tasks.spawn(async move {
            current.await.expect("certificates are provided as long as they are asked for");
        });
        tls.ready().await;

        let counters = Metrics::new();
        let mut metrics = prometheus_client::registry::Registry::default();
        counters.register(&mut metrics);
        let authenticator = Arc::new(CertificateAuthenticator::new(MeshOptions::default().trust_domain));
        let server = Server::new(ServerOptions::default(), views(publisher), authenticator, tls, counters);
        let registry = server.registry();
        let address = listener.local_addr().context("the number of the port")?;
        tasks.spawn(async move { drop(server.serve(listener, std::future::pending()).await) });
        let folder = tempfile::tempdir().context("making a folder")?;
        Ok(Self { address, registry, metrics, certificates, folder, _tasks: tasks })
    }

    /// A folder that goes with it, for what proxies read.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate of a subject, and whom it is to trust.
    ///
    /// # Errors
    /// When they are not made in time.
    pub async fn certified(&self, subject: &Subject) -> Result<(Arc<Certified>, Arc<TrustBundle>)> {
        let certified = timeout(PATIENCE, self.certificates.watch(subject).ready()).await;
        let trust = timeout(PATIENCE, self.certificates.trust().ready()).await;
        Ok((certified.context("a certificate")??, trust.context("a root")??))
    }

    /// The certificate of a proxy for its stream.
    ///
    /// # Errors
    /// When it is not made in time.
    pub async fn proxy(&self, proxy: &ProxyId) -> Result<(Arc<Certified>, Arc<TrustBundle>)> {
        let trust_domain = MeshOptions::default().trust_domain;
        self.certified(&Subject::Proxy { trust_domain, proxy: proxy.clone() }).await
    }

    /// Writes what an Envoy is started with as this proxy. It answers questions at [`admin`](Self::admin).
    ///
    /// # Errors
    /// When there is no certificate in time, or files can't be written.
    pub async fn bootstrap(&self, proxy: &ProxyId) -> Result<PathBuf> {
        let (certified, trust) = self.proxy(proxy).await?;
        let write = |name: &str, value: Value| {
            let path = self.folder().join(format!("{}.{name}.json", proxy.uuid));
            std::fs::write(&path, value.to_string())
                .with_context(|| format!("writing {}", path.display()))?;
            anyhow::Ok(path)
        };
        let credentials = Credentials::Certificate {
            certificate: write(
                "certificate",
                certificate_file(certified.chain().pem(), certified.key().pem()),
            )?,
            trust: write("trust", trust_file(trust.pem()))?,
        };
        let bootstrap = Bootstrap {
            node: Some(Node {
                proxy: proxy.uuid.clone(),
                cluster: format!("{}.{}", proxy.identity.service_account, proxy.identity.namespace),
            }),
            control_plane: Place {
                host: self.address.ip().to_string(),
                port: self.address.port(),
                server_name: SERVER_NAME.to_owned(),
            },
            credentials,
            admin: Admin::Socket(self.admin(proxy)),
            pages: Pages::default(),
        };
        write("bootstrap", bootstrap.to_json())
    }

    /// The socket at which an Envoy that was started as this proxy answers questions.
    #[must_use]
    pub fn admin(&self, proxy: &ProxyId) -> PathBuf {
        self.folder().join(format!("{}.sock", proxy.uuid))
    }
}
