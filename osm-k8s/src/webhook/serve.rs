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
/// How long to wait where no connection can be accepted, for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    let mut acceptor = acceptor(&first)?;
    let mut can_change = true;
    let mut guests = Guests::new("the webhooks");
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            () = guests.one_leaves() => {}
            changed = certificate.changed(), if can_change => match (changed, certificate.current()) {
                (Ok(()), Some(renewed)) => match self::acceptor(&renewed) {
                    Ok(renewed) => acceptor = renewed,
                    Err(error) => tracing::error!(%error, "renewed certificate is not used"),
                },
                (Ok(()), None) => {}
                (Err(_), _) => can_change = false,
            },
            (socket, address) = accept(&listener) => {
                let (acceptor, pages) = (acceptor.clone(), pages.clone());
                guests.admit(address, |closed| talk(socket, acceptor, pages, closed));
            }
        }
    }
    drop(listener);
    guests.see_off().await;
    Ok(())
}

/// Serves pages without TLS until `shutdown`, with the same bounds.
pub async fn serve_plain(listener: TcpListener, pages: Router, shutdown: impl Future<Output = ()>) {
    let mut guests = Guests::new("the pages");
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            () = guests.one_leaves() => {}
            (socket, address) = accept(&listener) => {
                let pages = pages.clone();
                guests.admit(address, |closed| async move {
                    socket.set_nodelay(true)?;
                    answer(socket, pages, PLAIN_IDLE, closed).await
                });
            }
        }
    }
    drop(listener);
    guests.see_off().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "new connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
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
