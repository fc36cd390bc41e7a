//! The ADS server: TLS, authentication, and a session for each stream.
//!
//! A [`Server`] takes views from a [`ViewSource`] and delivers them to proxies
//! that a [`ProxyAuthenticator`] believes, over both dialects of the aggregated
//! discovery service. Its [`Registry`] knows how far each has come.
//!
//! A stream outlives its client's certificate by at most
//! [`ServerOptions::certificate_grace`], and the trust in the root of it by at most
//! [`ServerOptions::distrust_spread`]: then it is ended, and a proxy that has a
//! renewed certificate connects anew at the cost of a handshake, since nothing
//! that it has is sent again. So an identity that is no longer renewed loses its
//! configuration stream without any list of revocations.
//!
//! Nobody takes the place of others: strangers have a bounded room of their own,
//! a proxy has a bounded number of streams, a stream that asks for too much is not
//! read for a while, and one that takes nothing is ended. Who finds no place is
//! told so by a gRPC status, and when to try again.
//!
//! It is not the place that decides what is sent and when ([`crate::session`]),
//! nor where certificates come from ([`TlsHandle`]).

mod acceptance;
mod account;
mod admission;
mod authenticate;
mod connection;
mod dialect;
mod farewell;
mod grpc;
mod pace;
mod peer;
mod refused;
mod registry;
mod shared;
mod strangers;
mod stream;
mod tls;
mod trials;
mod watch;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use admission::ProxyLimit;
pub use authenticate::{
    AuthenticationError, CertificateAuthenticator, Evidence, FirstThatKnows, ProxyAuthenticator,
    TokenAuthenticator, TokenOwner, TokenReviewer, async_trait,
};
pub use registry::{Convergence, Names, ProxyCredentials, ProxyStatus, Registry, Sent};
pub use tls::{Offer, ProviderEnded, TlsError, TlsHandle, TlsMaterial};

use crate::metrics::Metrics;
use crate::session::SessionOptions;
use crate::view::ViewSource;
use admission::Admission;
use farewell::Reason;
use pace::Rate;
use refused::RefusedResources;
use shared::Shared;
use strangers::Strangers;

/// Bounds and time-outs of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Those of each session.
    pub session: SessionOptions,
    /// How many proxies that have proved who they are may have streams. It can be
    /// lowered while the server runs: [`Server::proxy_limit`].
    pub max_proxies: usize,
    /// How many streams one proxy may have, on all its connections. Envoy needs one,
    /// and a second one while it connects anew; a client of gRPC's own kind has one for
    /// each service that it dials.
    pub max_streams_per_proxy: usize,
    /// How many proxies may be on their way to their first configuration at once.
    pub max_starting_streams: usize,
    /// How many connections may be open on which no proxy has proved itself.
    pub max_strangers: usize,
    /// How many of them may be past the handshake without having shown a certificate.
    pub max_anonymous: usize,
    /// How long a connection may be open until a proxy has proved itself on it.
    pub proof_timeout: Duration,
    /// How many streams a connection may have; one without a client certificate has
    /// one.
    pub max_streams_per_connection: u32,
    /// How large a request may be, in bytes.
    pub max_request_bytes: usize,
    /// How large one may be on a connection without a client certificate, where
    /// strangers may ask as well, until a proxy has proved itself on it. Enough for the names and versions of about 3,000
    /// resources that a proxy tells of when it connects anew.
    pub max_unproved_request_bytes: usize,
    /// How large the first one may be there if the token that was shown is that of some
    /// proxy's pod. Enough for about 12,000 resources.
    pub max_vouched_request_bytes: usize,
    /// How much a stream may ask for at once: requests that answer nothing, each
    /// with 32 names that are new or let go of.
    pub request_burst: u32,
    /// How much of that it earns again each second.
    pub requests_per_second: u32,
    /// After how many unsent bytes a stream writes nothing more.
    pub send_buffer: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a stream may be open without a request.
    pub first_request_timeout: Duration,
    /// How long the authenticator may take.
    pub authentication_timeout: Duration,
    /// After what time without a stream a connection is closed.
    pub idle_timeout: Duration,
    /// How long a stream may go on after its client's certificate has expired.
    pub certificate_grace: Duration,
    /// Over what time streams are ended whose root is trusted no longer: all are
    /// within it, and not all at once.
    pub distrust_spread: Duration,
    /// How long an address is left alone after a client there did not take the certificate that is tried out.
    pub trial_pause: Duration,
    /// How long a client may take for what was sent, before its connection is ended.
    pub stall_timeout: Duration,
    /// How often a silent peer is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long connections have to end after they were told to.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            max_proxies: 20_000,
            max_streams_per_proxy: 64,
            max_starting_streams: 8192,
            max_strangers: 8192,
            max_anonymous: 512,
            proof_timeout: Duration::from_secs(15),
            max_streams_per_connection: 64,
            max_request_bytes: 4 * 1024 * 1024,
            max_unproved_request_bytes: 256 * 1024,
            max_vouched_request_bytes: 1024 * 1024,
            request_burst: 4000,
            requests_per_second: 200,
            send_buffer: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(10),
            authentication_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            certificate_grace: Duration::from_secs(600),
            distrust_spread: Duration::from_secs(10),
            trial_pause: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl ServerOptions {
    fn rate(&self) -> Rate {
        Rate { burst: self.request_burst, per_second: self.requests_per_second }
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
            strangers: Strangers::new(options.max_strangers),
            anonymous: Strangers::new(options.max_anonymous),
            admission: Admission::new(&options),
            refused: RefusedResources::new(metrics.clone(), watch::now()),
            options,
            views,
            authenticator,
            registry: Registry::new(),
            metrics,
            closing: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared), tls }
    }

    /// Who is connected.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.shared.registry)
    }

    /// How many proxies may be connected, exchangeable while it serves.
    #[must_use]
    pub fn proxy_limit(&self) -> ProxyLimit {
        self.shared.admission.limit()
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
        let Some(trust) = self.tls.current(address.ip(), watch::now()) else {
            account::connection_failed(metrics, "no_certificate");
            tracing::debug!(%address, "connection closed: this server has no certificate yet");
            return;
        };
        let Some(stranger) = self.shared.strangers.enter(address.ip()) else {
            return account::rejected(metrics, Reason::TooManyStrangers);
        };
        let open = account::OpenConnection::new(metrics);
        let served = connection::serve(Arc::clone(&self.shared), trust, socket, address, stranger);
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
