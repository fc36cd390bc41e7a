//! The door at which proxies ask for their certificates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use hyper_util::rt::TokioIo;
use osm_xds::generate::names::CERTIFICATE_SECRET;
use osm_xds::resource::ResourceKind;
use prost::Message;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

type Client = discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient<Channel>;

/// The way to a control plane.
#[derive(Clone)]
pub(crate) struct Door {
    tls: Arc<rustls::ClientConfig>,
    name: String,
    address: SocketAddr,
}

impl Door {
    pub(crate) fn new(address: SocketAddr, name: String, roots: &[CertificateDer<'static>]) -> Self {
        let mut believed = rustls::RootCertStore::empty();
        roots.iter().for_each(|root| believed.add(root.clone()).expect("a root"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(believed)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: Arc::new(tls), name, address }
    }

    /// The same for somebody with this certificate and key, PEM.
    pub(crate) fn of(&self, chain: &str, key: &str) -> Self {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).map(|one| one.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        let certified = CertifiedKey::from_der(chain, key, tls.crypto_provider()).expect("a pair");
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        Self { tls: Arc::new(tls), ..self.clone() }
    }

    /// Asks for the certificate of a workload, as the proxy of this name with this token.
    /// Returns the key that comes with it.
    pub(crate) async fn ask(&self, token: Option<&str>, node: &str) -> Result<String, Code> {
        let asked = tokio::time::timeout(ANSWER, self.try_ask(token, node)).await;
        asked.expect("an answer in time").map_err(|status| status.code())
    }

    async fn try_ask(&self, token: Option<&str>, node: &str) -> Result<String, tonic::Status> {
        let (requests, queue) = mpsc::channel(1);
        let mut call = tonic::Request::new(ReceiverStream::new(queue));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header's value");
            call.metadata_mut().insert("authorization", value);
        }
        let request = discovery::DeltaDiscoveryRequest {
            node: Some(Node { id: node.to_owned(), ..Node::default() }),
            type_url: ResourceKind::Secret.type_url().to_owned(),
            resource_names_subscribe: vec![CERTIFICATE_SECRET.to_owned()],
            ..Default::default()
        };
        requests.send(request).await.expect("room for a request");
        let mut answers =
            Client::new(self.channel().await).delta_aggregated_resources(call).await?.into_inner();
        let answer = answers.message().await?.ok_or_else(|| tonic::Status::aborted("no answer"))?;
        let text: Vec<String> = answer
            .resources
            .into_iter()
            .filter_map(|resource| resource.resource)
            .map(|body| Secret::decode(body.value.as_slice()).expect("a secret"))
            .map(|secret| format!("{:?}", inline(&secret)))
            .collect();
        Ok(text.join("\n").replace("\\n", "\n"))
    }

    async fn channel(&self) -> Channel {
        let (tls, name, address) = (self.tls.clone(), self.name.clone(), self.address);
        let connect = tower::service_fn(move |_| {
            let (tls, name) = (tls.clone(), name.clone());
            async move { Ok::<_, std::io::Error>(TokioIo::new(connect(tls, &name, address).await?)) }
        });
        let endpoint = Endpoint::from_static("http://osm-controller");
        endpoint.connect_with_connector(connect).await.expect("a connection")
    }

    /// A bare connection to another port of the same control plane.
    pub(crate) async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        tls.alpn_protocols.clear();
        connect(Arc::new(tls), &self.name, address).await.expect("a connection")
    }
}

async fn connect(
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(tls).connect(name, TcpStream::connect(address).await?).await
}

/// The key in a secret, as it was sent.
fn inline(secret: &Secret) -> String {
    use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
    let Some(Type::TlsCertificate(certificate)) = &secret.r#type else { return String::new() };
    match certificate.private_key.as_ref().and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Specifier::InlineString(text)) => text.clone(),
        _ => String::new(),
    }
}
