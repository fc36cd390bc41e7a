//! The webhooks over TLS, with a certificate that is exchanged live; and other pages without.

mod guests;
mod places;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use osm_certs::certificate::Certified;
use osm_certs::provider::CertificateWatch;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use guests::Guests;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection stays open without a request. Longer than the 90 s of API servers, so
/// that it is they who close it, and never while one of theirs is on its way.
const IDLE: Duration = Duration::from_secs(120);
/// The same of pages without TLS, which probes and scrapers ask for, all on short connections.
const PLAIN_IDLE: Duration = Duration::from_secs(30);

/// Why nothing is served any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There will be no certificate.
    #[error("there is no certificate for the webhooks")]
    NoCertificate,
    /// The certificate can't be used.
    #[error("the certificate for the webhooks cannot be used")]
    Certificate(#[source] rustls::Error),
}

/// Serves pages until `shutdown`, then lets requests end. Connections wait until there is a
/// certificate; a renewed one holds for those that come later. Each address may have a
/// bounded number of them, so that no stranger takes the place of the API server.
///
/// # Errors
/// When there is no certificate that can be used.
pub async fn serve(
    listener: TcpListener,
    pages: Router,
    mut certificate: CertificateWatch,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let first = certificate.ready().await.map_err(|_| ServeError::NoCertificate)?;
    let (renewed, acceptor) = watch::channel(acceptor(&first)?);
    let serving = Guests::new("the webhooks").receive(listener, shutdown, |socket, closed| {
        let acceptor = acceptor.borrow().clone();
        talk(socket, acceptor, pages.clone(), closed)
    });
    let mut serving = pin!(serving);
    tokio::select! {
        () = serving.as_mut() => return Ok(()),
        () = renew(&mut certificate, &renewed) => {}
    }
    // There will be no other certificate.
    serving.await;
    Ok(())
}

/// Exchanges the certificate for those who come later, as long as there can be another one.
async fn renew(certificate: &mut CertificateWatch, acceptors: &watch::Sender<TlsAcceptor>) {
    while certificate.changed().await.is_ok() {
        match certificate.current().as_deref().map(acceptor) {
            Some(Ok(renewed)) => drop(acceptors.send_replace(renewed)),
            Some(Err(error)) => tracing::error!(%error, "renewed certificate is not used"),
            None => {}
        }
    }
}

/// Serves pages without TLS until `shutdown`, with the same bounds.
pub async fn serve_plain(listener: TcpListener, pages: Router, shutdown: impl Future<Output = ()>) {
    let serving = Guests::new("the pages").receive(listener, shutdown, |socket, closed| {
        let pages = pages.clone();
        async move {
            socket.set_nodelay(true)?;
            answer(socket, pages, PLAIN_IDLE, closed).await
        }
    });
    serving.await;
}

/// Serves one connection; when `closed` ends, only the request that is being answered.
async fn talk(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    pages: Router,
    closed: watch::Receiver<()>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let tls = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await.map_err(io::Error::other)??;
    answer(tls, pages, IDLE, closed).await
}

/// Answers the requests of a connection, none of which may take longer than `idle` to come.
async fn answer(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: Router,
    idle: Duration,
    mut closed: watch::Receiver<()>,
) -> io::Result<()> {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(64 * 1024);
    let mut served = pin!(http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(pages)));
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(io::Error::other),
        _ = closed.changed() => {}
    }
    served.as_mut().graceful_shutdown();
    served.await.map_err(io::Error::other)
}

/// TLS 1.2 and 1.3, as the API server speaks, without a client certificate: it shows none
/// unless told to.
fn acceptor(certified: &Certified) -> Result<TlsAcceptor, ServeError> {
    let (chain, key) = certified.to_rustls();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(ServeError::Certificate)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(ServeError::Certificate)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
