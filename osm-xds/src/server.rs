//! The ADS server: TLS, authentication, and a session for each stream.
//!
//! A [`Server`] takes views from a [`ViewSource`] and delivers them to proxies
//! that a [`ProxyAuthenticator`] believes, over both dialects of the aggregated
//! discovery service. Its [`Registry`] knows how far each has come.
//!
//! A stream outlives its client's certificate by at most
//! [`ServerOptions::certificate_grace`]: then it is ended, and a proxy that has a
//! renewed certificate connects anew at the cost of a handshake, since nothing
//! that it has is sent again. So an identity that is no longer renewed loses its
//! configuration stream without any list of revocations.
//!
//! It is not the place that decides what is sent and when ([`crate::session`]),
//! nor where certificates come from ([`TlsHandle`]).

mod account;
mod authenticate;
mod connection;
mod dialect;
mod registry;
mod stream;
mod tls;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use authenticate::{
    AuthenticationError, CertificateAuthenticator, Evidence, ProxyAuthenticator, async_trait,
};
pub use registry::{Convergence, ProxyStatus, Registry, Sent};
pub use tls::{ProviderEnded, TlsError, TlsHandle, TlsMaterial};

use crate::metrics::Metrics;
use crate::session::SessionOptions;
use crate::view::ViewSource;
use stream::{LastRefused, Shared};

/// Bounds and time-outs of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Those of each session.
    pub session: SessionOptions,
    /// How many connections may be open; more are closed at once.
    pub max_connections: usize,
    /// How many streams a connection may have. Envoy needs one.
    pub max_streams_per_connection: u32,
    /// How large a request may be, in bytes.
    pub max_request_bytes: usize,
    /// After how many unsent bytes a stream makes no further response.
    pub send_buffer: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a stream may be open without a request.
    pub first_request_timeout: Duration,
    /// How long the authenticator may take.
    pub authentication_timeout: Duration,
    /// After what time without a stream a connection is closed; up to twice that
    /// may pass.
    pub idle_timeout: Duration,
    /// How long a stream may go on after its client's certificate has expired.
    pub certificate_grace: Duration,
    /// How often a silent peer is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long connections have to end after shutdown begins.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            max_connections: 20_000,
            max_streams_per_connection: 16,
            max_request_bytes: 4 * 1024 * 1024,
            send_buffer: 64 * 1024,
            handshake_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(10),
            authentication_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            certificate_grace: Duration::from_secs(600),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// After so many failed accepts in a row the listener is given up, unless they
/// are no fault of its own.
const MAX_ACCEPT_FAILURES: u32 = 100;
/// The pause after a failed accept: most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The system lacks something that it may have again: ENOMEM, ENFILE, EMFILE and
/// ENOBUFS of Linux.
const LACKS: [i32; 4] = [12, 23, 24, 105];

/// An ADS server that has not begun yet.
pub struct Server {
    shared: Arc<Shared>,
    tls: TlsHandle,
}

impl Server {
    /// A server of these views to whom this authenticator believes. `metrics` is
    /// registered by the caller.
    #[must_use]
    pub fn new(
        options: ServerOptions,
        views: Arc<dyn ViewSource>,
        authenticator: Arc<dyn ProxyAuthenticator>,
        tls: TlsHandle,
        metrics: Metrics,
    ) -> Self {
        let shared = Shared {
            session_options: Arc::new(options.session.clone()),
            options,
            views,
            authenticator,
            registry: Registry::new(),
            metrics,
            closing: CancellationToken::new(),
            refused: Mutex::new(LastRefused::default()),
        };
        Self { shared: Arc::new(shared), tls }
    }

    /// Who is connected.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.shared.registry)
    }

    /// Serves connections on this listener until `shutdown`, then tells all
    /// proxies to connect elsewhere and waits for them, up to
    /// [`ServerOptions::drain_timeout`]. Dropping the future ends everything at once.
    ///
    /// # Errors
    /// When the listener keeps failing.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let _closing = self.shared.closing.clone().drop_guard();
        let mut connections = JoinSet::new();
        let served = self.accept_until(&listener, shutdown, &mut connections).await;
        drop(listener);
        self.shared.closing.cancel();
        let open = connections.len();
        let drain = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.drain_timeout, drain).await.is_err() {
            tracing::warn!(open = connections.len(), "connections are cut off after shutdown");
            connections.shutdown().await;
        }
        tracing::info!(drained = open, "discovery server ends");
        served
    }

    async fn accept_until(
        &self,
        listener: &TcpListener,
        shutdown: impl Future<Output = ()>,
        connections: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let mut shutdown = pin!(shutdown);
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                () = shutdown.as_mut() => return Ok(()),
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a connection fails");
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((socket, address)) => {
                        failures = 0;
                        self.begin(connections, socket, address);
                    }
                    Err(error) => {
                        account::connection_failed(&self.shared.metrics, "accept");
                        if failures == 0 {
                            tracing::warn!(%error, "new connections cannot be accepted");
                        }
                        failures = u32::saturating_add(failures, 1);
                        if failures >= MAX_ACCEPT_FAILURES && !passes(&error) {
                            return Err(error);
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Gives a connection a task, or closes it by dropping it.
    fn begin(&self, connections: &mut JoinSet<()>, socket: TcpStream, address: SocketAddr) {
        let metrics = &self.shared.metrics;
        if connections.len() >= self.shared.options.max_connections {
            account::connection_failed(metrics, "too_many");
            return;
        }
        let Some(config) = self.tls.current() else {
            account::connection_failed(metrics, "no_certificate");
            tracing::debug!(%address, "connection closed: this server has no certificate yet");
            return;
        };
        let open = account::OpenConnection::new(metrics);
        let served = connection::serve(Arc::clone(&self.shared), config, socket, address);
        connections.spawn(async move {
            served.await;
            drop(open);
        });
    }
}

/// Whether an accept that failed like this says nothing about the listener.
fn passes(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted
        || error.raw_os_error().is_some_and(|number| LACKS.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_given_up_for_its_own_faults_only() {
        // ECONNABORTED, and what the system may lack.
        for number in [103, 12, 23, 24, 105] {
            assert!(passes(&io::Error::from_raw_os_error(number)), "{number}");
        }
        // EBADF, EINVAL
        for number in [9, 22] {
            assert!(!passes(&io::Error::from_raw_os_error(number)), "{number}");
        }
    }
}
