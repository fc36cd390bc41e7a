//! A connection to a pod's proxy as any identity, past every proxy on the
//! client's side.
//!
//! It begins on the node, as a workload's would that has got around its sidecar,
//! and shows what such a one could do: what it is served, and what it is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osm_certs::certificate::CertificateChain;
use osm_core::identity::ServiceIdentity;
use osm_core::name::ServiceName;
use osm_xds::generate::names::MESH_ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::api::{DialRequest, DialResponse, HttpRequest};
use super::context::Context;
use super::http;

/// How long to wait for an answer unless the request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long to listen on after something was received.
const QUIET: Duration = Duration::from_millis(200);
/// How many bytes are listened to at most.
const MAX_RECEIVED: usize = 64 * 1024;

/// Connects, and tells what came of it.
///
/// # Errors
/// When the request makes no sense.
pub(super) async fn dial(context: &Context, request: &DialRequest) -> Result<DialResponse> {
    let service: ServiceName = request.service.parse()?;
    let address = address(context, &service, request)?;
    let timeout = request.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
    let connector = match &request.identity {
        Some(identity) => Some(connector(context, &identity.parse()?, request).await?),
        None => None,
    };
    let name = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    let server_name = request.server_name.clone().unwrap_or(name);
    let mut response = DialResponse { address: address.to_string(), ..DialResponse::default() };
    let host = format!("{}.{}:{}", service.name, service.namespace, request.port);
    let done = async {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        response.connected = true;
        match connector {
            None => talk(stream, request, &host, &mut response).await,
            Some(connector) => {
                let name = ServerName::try_from(server_name).context("the server name is none")?;
                let stream = connector.connect(name, stream).await.context("handshake")?;
                response.handshake = true;
                note_server(&stream, &mut response)?;
                talk(stream, request, &host, &mut response).await
            }
        }
    };
    response.error = match tokio::time::timeout(timeout, done).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some("no answer in time".to_owned()),
    };
    Ok(response)
}

/// The address of the pod that is meant: of the port behind the service's port.
fn address(context: &Context, name: &ServiceName, request: &DialRequest) -> Result<SocketAddr> {
    let plan = context.plan.load();
    let service = plan.services.get(name).with_context(|| format!("there is no service {name}"))?;
    let port = service.fact.ports.iter().find(|port| port.port.get() == request.port);
    let port = port.with_context(|| format!("service {name} has no port {}", request.port))?;
    let wanted = |pod: &str| request.pod.as_deref().is_none_or(|wanted| wanted == pod);
    let mut pods: Vec<_> = plan.pods_behind(service).filter(|pod| wanted(&pod.name.to_string())).collect();
    pods.sort_by_key(|pod| !context.board.pod(&pod.name).is_some_and(|state| state.is_ready()));
    ensure!(!pods.is_empty(), "no such pod is behind service {name}");
    let number = pods[0].port(&port.target).context("the pod does not have the service's target port")?;
    Ok((pods[0].address, number.get()).into())
}

async fn connector(
    context: &Context,
    identity: &ServiceIdentity,
    request: &DialRequest,
) -> Result<TlsConnector> {
    let (chain, key) = context.control.issue(identity).await?.to_rustls();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain, key)
        .context("using the certificate")?;
    let alpn = request.alpn.as_deref().unwrap_or(MESH_ALPN);
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    // Every handshake is a whole one: it is the certificate that is looked at.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn note_server(
    stream: &tokio_rustls::client::TlsStream<TcpStream>,
    response: &mut DialResponse,
) -> Result<()> {
    let served = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = CertificateChain::from_der(served.iter().map(|der| der.clone().into_owned()))?;
    let leaf = chain.leaf();
    response.serial = Some(leaf.serial);
    response.uris = leaf.uris;
    Ok(())
}

/// Sends what is to be sent and listens to what comes.
async fn talk<S>(mut stream: S, request: &DialRequest, host: &str, response: &mut DialResponse) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if let Some(HttpRequest { method, path, headers }) = &request.http {
        let answer = http::exchange(stream, http::request(method, path, host, headers)?).await?;
        response.http = Some(http::told(&answer));
        return Ok(());
    }
    if let Some(bytes) = &request.send {
        stream.write_all(bytes.as_bytes()).await.context("sending")?;
        stream.flush().await.context("sending")?;
    }
    let mut received = Vec::new();
    let result = listen(&mut stream, &mut received).await;
    response.received = received.len();
    response.text = String::from_utf8_lossy(&received).into_owned();
    result
}

/// Listens until the other side ends, or has been quiet after it said something.
async fn listen(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Result<()> {
    while received.len() < MAX_RECEIVED {
        // Before the first byte it is the caller who gives up.
        let patience = if received.is_empty() { Duration::MAX } else { QUIET };
        let Ok(count) = tokio::time::timeout(patience, stream.read_buf(received)).await else {
            return Ok(());
        };
        if count.context("listening")? == 0 {
            ensure!(!received.is_empty(), "closed by the other side");
            return Ok(());
        }
    }
    Ok(())
}

/// Believes everybody who can prove to have the key of what they serve: here it is
/// looked at what is served, and nothing is told to the other side.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
