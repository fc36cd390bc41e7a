//! A server on loopback with certificates made for the test, and plain clients
//! of both dialects.

mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use osm_core::identity::ProxyId;
use osm_xds::metrics::Metrics;
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use osm_xds::server::{
    CertificateAuthenticator, ProxyAuthenticator, ProxyLimit, Registry, Server, ServerOptions, TlsHandle,
    TlsMaterial,
};
use osm_xds::view::{Layer, LayerId, Refusal, View, ViewSender, ViewSource, ViewWatch};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

pub(crate) use client::{Delta, Sotw, node};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Waits until an attempt gives something, but not for ever.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, trying).await
}

/// Waits until a condition holds, but not for ever.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    until(what, async || condition().then_some(())).await;
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A certificate with these names that ends at this moment, or in a year.
    fn issue(&self, names: Vec<SanType>, not_after: Option<time::OffsetDateTime>) -> Credentials {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        if let Some(not_after) = not_after {
            params.not_after = not_after;
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        (vec![leaf], PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS#8 key"))
    }

    pub(crate) fn proxy(&self, uuid: &str) -> Credentials {
        self.issue(vec![uri(uuid)], None)
    }

    /// A proxy's certificate that is valid for so long still.
    pub(crate) fn proxy_until(&self, uuid: &str, left: time::Duration) -> Credentials {
        self.issue(vec![uri(uuid)], Some(time::OffsetDateTime::now_utc() + left))
    }

    /// The material of a server of this authority that trusts clients of `clients`.
    pub(crate) fn server(&self, clients: &Self) -> TlsMaterial {
        let name = SanType::DnsName("osm-controller".try_into().expect("a DNS name"));
        let (chain, key) = self.issue(vec![name], None);
        TlsMaterial { chain, key, client_roots: vec![clients.root.clone()] }
    }

    /// As [`Authority::server`], trusting clients of all of these.
    pub(crate) fn server_trusting(&self, clients: &[&Self]) -> TlsMaterial {
        let client_roots = clients.iter().map(|authority| authority.root.clone()).collect();
        TlsMaterial { client_roots, ..self.server(self) }
    }
}

fn uri(uuid: &str) -> SanType {
    let uri = format!("spiffe://cluster.local/{uuid}/sidecar/till/shop");
    SanType::URI(uri.as_str().try_into().expect("an ASCII URI"))
}

/// One view for all proxies, except those called `unwanted`.
pub(crate) struct Everyone(pub(crate) ViewSender);

impl ViewSource for Everyone {
    fn subscribe(&self, proxy: &ProxyId) -> Result<ViewWatch, Refusal> {
        match proxy.uuid.as_str() {
            "unwanted" => Err(Refusal::denied("this proxy's pod is unknown")),
            "too-early" => Err(Refusal::unavailable("the cache is not filled yet")),
            _ => Ok(self.0.watch()),
        }
    }
}

pub(crate) fn resource(kind: ResourceKind, name: &str, body: impl Into<Vec<u8>>) -> Arc<Resource> {
    let key = ResourceKey::new(kind, ResourceName::new(name));
    Arc::new(Resource::new(key, body.into().into(), vec![], vec![]))
}

/// A view of one layer.
pub(crate) fn view(version: u64, resources: impl IntoIterator<Item = Arc<Resource>>) -> Arc<View> {
    Arc::new(View::new(version, [Arc::new(Layer::new(LayerId::unique(), resources))]))
}

/// A cluster and a listener.
pub(crate) fn small_view(version: u64, cluster: &str) -> Arc<View> {
    let listener = resource(ResourceKind::Listener, "inbound", "l");
    view(version, [resource(ResourceKind::Cluster, "till", cluster), listener])
}

/// A running server.
pub(crate) struct Running {
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) views: Arc<Everyone>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: prometheus_client::registry::Registry,
    pub(crate) tls: TlsHandle,
    pub(crate) limit: ProxyLimit,
    pub(crate) shutdown: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// A server with default options that delivers a small view of version 1.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut ServerOptions)) -> Self {
        let trust_domain = "cluster.local".parse().expect("a trust domain");
        Self::start_believing(Arc::new(CertificateAuthenticator::new(trust_domain)), adjust).await
    }

    pub(crate) async fn start_believing(
        authenticator: Arc<dyn ProxyAuthenticator>,
        adjust: impl FnOnce(&mut ServerOptions),
    ) -> Self {
        let authority = Authority::new();
        let tls = TlsHandle::new();
        tls.set(authority.server(&authority)).expect("good material");
        let views = Arc::new(Everyone(ViewSender::new(Some(small_view(1, "c")))));
        let counters = Metrics::new();
        let mut metrics = prometheus_client::registry::Registry::default();
        counters.register(&mut metrics);
        let mut options = ServerOptions::default();
        adjust(&mut options);
        let source = Arc::clone(&views);
        let server = Server::new(options, source, authenticator, tls.clone(), counters);
        let (registry, limit) = (server.registry(), server.proxy_limit());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (shutdown, stop) = oneshot::channel::<()>();
        let served = tokio::spawn(server.serve(listener, async {
            // The sender is dropped at the end of the test: that is an end, too.
            let _ = stop.await;
        }));
        Self { authority, address, views, registry, metrics, tls, limit, shutdown: Some(shutdown), served }
    }

    /// A connection that shows these credentials and believes the server's root.
    pub(crate) async fn channel(
        &self,
        shown: Option<Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        self.channel_believing(&self.authority, shown).await
    }

    pub(crate) async fn channel_believing(
        &self,
        believed: &Authority,
        shown: Option<Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        self.channel_believing_all(&[believed], shown).await
    }

    /// A connection that believes servers of all of these.
    pub(crate) async fn channel_believing_all(
        &self,
        believed: &[&Authority],
        shown: Option<Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        let (connector, address) = (connector(believed, shown), self.address);
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let socket = TcpStream::connect(address).await?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(server_name(), socket).await?))
            }
        });
        open(connect).await
    }

    /// A connection of this proxy from this address of the loopback network.
    pub(crate) async fn channel_from(
        &self,
        from: [u8; 4],
        uuid: &str,
    ) -> Result<Channel, tonic::transport::Error> {
        let tls = self.tls_from(from, Some(self.authority.proxy(uuid))).await;
        let mut tls = Some(tls);
        open(tower::service_fn(move |_| {
            let tls = tls.take().unwrap_or_else(|| Err(std::io::Error::other("only one connection")));
            std::future::ready(tls.map(TokioIo::new))
        }))
        .await
    }

    /// A TLS connection on which nothing is said yet, from this address of the
    /// loopback network.
    pub(crate) async fn tls_from(
        &self,
        from: [u8; 4],
        shown: Option<Credentials>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = self.socket_from(from).await?;
        connector(&[&self.authority], shown).connect(server_name(), socket).await
    }

    /// A connection on which nothing is said yet.
    pub(crate) async fn socket_from(&self, from: [u8; 4]) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(self.address).await
    }

    pub(crate) async fn delta(&self, uuid: &str) -> Delta {
        let channel = self.channel(Some(self.authority.proxy(uuid))).await.expect("a connection");
        Delta::open(channel, uuid).await
    }

    /// What a metric with these labels is at; `None` if there is no such line.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).expect("it can be written");
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Ends the server and waits for it.
    pub(crate) async fn stop(mut self) {
        drop(self.shutdown.take());
        let served = soon("the end of the server", &mut self.served).await;
        served.expect("no panic").expect("no failure");
    }
}

fn connector(believed: &[&Authority], shown: Option<Credentials>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for authority in believed {
        roots.add(authority.root.clone()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots);
    let mut config = match shown {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("good credentials"),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from("osm-controller").expect("a DNS name")
}

async fn open<C, F>(connect: C) -> Result<Channel, tonic::transport::Error>
where
    C: tower::Service<
            http::Uri,
            Response = TokioIo<TlsStream<TcpStream>>,
            Error = std::io::Error,
            Future = F,
        > + Send
        + 'static,
    F: Future<Output = Result<TokioIo<TlsStream<TcpStream>>, std::io::Error>> + Send,
{
    Endpoint::from_static("http://osm-controller")
        .initial_stream_window_size(64 * 1024)
        .connect_with_connector(connect)
        .await
}
