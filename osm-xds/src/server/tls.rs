//! The server's side of TLS: its certificate and whom it trusts, exchangeable live.
//!
//! A [`TlsHandle`] is shared between whoever renews certificates and the accept
//! loop. What is set holds for every handshake that begins afterwards; open
//! connections keep what they were made with, and are told when a root is trusted
//! no longer ([`Trust`]). While the server is to change to another root, it is tried
//! out who believes that one ([`TlsHandle::offer`]). Sessions are never resumed, so that every connection
//! proves its client's certificate against the trust of that moment.
//!
//! It is not the place to decide who a client is ([`super::authenticate`]).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::sync::watch;

use super::trials::Trials;

/// What the server proves and whom it believes.
pub struct TlsMaterial {
    /// The server's certificate, leaf first, then what leads to a root that
    /// clients have.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
    /// The roots that clients' certificates must lead to. At least one.
    pub client_roots: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("chain", &self.chain.len())
            .field("client_roots", &self.client_roots.len())
            .finish_non_exhaustive()
    }
}

/// Why material can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no root to believe clients by, or one is not a certificate.
    #[error("the roots for clients' certificates cannot be used: {0}")]
    ClientRoots(String),
    /// The server's own certificate and key do not serve.
    #[error("the server's certificate and key cannot be used: {0}")]
    Certificate(#[source] rustls::Error),
    /// The build of the cryptography lacks the protocol versions.
    #[error("TLS 1.2 and 1.3 are not available: {0}")]
    Protocol(#[source] rustls::Error),
}

/// The TLS settings that the next handshake uses. Clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct TlsHandle(Arc<Inner>);

type Current = Option<Arc<Generation>>;

#[derive(Debug, Default)]
struct Inner {
    current: watch::Sender<Current>,
    /// What is tried out.
    offered: watch::Sender<Option<Offered>>,
    trials: Trials,
}

/// What clients are to be shown of which it is not known whether they believe it.
#[derive(Debug)]
pub struct Offer {
    /// The name of its root: two offers with one name are one offer whose certificate was renewed.
    pub root: Arc<str>,
    /// The certificate, and whom the server believes.
    pub material: TlsMaterial,
}

#[derive(Debug, Clone)]
struct Offered {
    root: Arc<str>,
    generation: Arc<Generation>,
}

/// The settings made from one set of material.
#[derive(Debug)]
struct Generation {
    config: Arc<ServerConfig>,
    server: Arc<[CertificateDer<'static>]>,
    roots: Box<[CertificateDer<'static>]>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Nobody renews the server's certificate or its trust any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider of the server's certificate ended")]
pub struct ProviderEnded;

impl TlsHandle {
    /// A handle with nothing set yet: connections are closed until it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Exchanges the material for all handshakes from now on. Called when a
    /// certificate is renewed or trust changes.
    ///
    /// # Errors
    /// When the material does not serve; then what was set before still holds.
    pub fn set(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let generation = generation(material)?;
        self.0.current.send_replace(Some(Arc::new(generation)));
        Ok(())
    }

    /// Shows another certificate to clients, in order to learn who believes it: [`Registry::credentials`](super::Registry) tells by
    /// what this server proved itself to each. Those that are connected already are asked to connect anew, spread over
    /// [`ServerOptions::distrust_spread`](super::ServerOptions). An address from which a client did not take it is shown
    /// what was [set](Self::set) for [`ServerOptions::trial_pause`](super::ServerOptions), and then asked again. With
    /// `None` nothing is tried out.
    ///
    /// # Errors
    /// When the material does not serve; then what was offered before still is.
    pub fn offer(&self, offer: Option<Offer>) -> Result<(), TlsError> {
        let offered = match offer {
            None => None,
            Some(Offer { root, material }) => {
                Some(Offered { root, generation: Arc::new(generation(material)?) })
            }
        };
        let name = |offered: &Option<Offered>| offered.as_ref().map(|offered| Arc::clone(&offered.root));
        if name(&self.0.offered.borrow()) != name(&offered) {
            self.0.trials.clear();
        }
        self.0.offered.send_replace(offered);
        Ok(())
    }

    /// Whether just these are the roots that clients are believed by, whichever certificate they are shown.
    #[must_use]
    pub fn believes(&self, roots: &[CertificateDer<'static>]) -> bool {
        let is_set = self.0.current.borrow().as_ref().is_some_and(|generation| *generation.roots == *roots);
        is_set && self.0.offered.borrow().as_ref().is_none_or(|offered| *offered.generation.roots == *roots)
    }

    /// Exchanges the material whenever a provider has a new certificate of
    /// `subject` or new roots, from now on. What does not serve is logged, and
    /// what was set before still holds. Cancel safe.
    ///
    /// # Errors
    /// When the provider ends.
    pub async fn keep_current(
        self,
        provider: Arc<dyn CertificateProvider>,
        subject: Subject,
    ) -> Result<(), ProviderEnded> {
        let mut certificate = provider.watch(&subject);
        let mut trust = provider.trust();
        loop {
            if let (Some(certified), Some(bundle)) = (certificate.current(), trust.current()) {
                let (chain, key) = certified.to_rustls();
                let material = TlsMaterial { chain, key, client_roots: bundle.der().to_vec() };
                if let Err(error) = self.set(material) {
                    tracing::error!(%subject, %error, "certificate of the control plane cannot be used");
                }
            }
            tokio::select! {
                changed = certificate.changed() => changed.map_err(|_| ProviderEnded)?,
                changed = trust.changed() => changed.map_err(|_| ProviderEnded)?,
            }
        }
    }

    /// Waits until material was set for the first time. Cancel safe.
    pub async fn ready(&self) {
        // The sender lives as long as the handle.
        drop(self.0.current.subscribe().wait_for(Option::is_some).await);
    }

    /// Whether anything was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.current.borrow().is_some()
    }

    /// The settings for one handshake with a client at this address, and what becomes of the trust in it.
    pub(super) fn current(&self, address: IpAddr, now: Instant) -> Option<Trust> {
        let mut newest = self.0.current.subscribe();
        let current = newest.borrow_and_update().clone()?;
        let offers = self.0.offered.subscribe();
        let offered = offers.borrow().clone().filter(|_| self.0.trials.next(address, now).is_none());
        let root = offered.as_ref().map(|offered| Arc::clone(&offered.root));
        let made_with = offered.map_or(current, |offered| offered.generation);
        let handle = self.clone();
        Some(Trust { made_with, root, newest, offers, handle, since: UnixTime::now() })
    }
}

/// One connection's trust in its client's certificate.
pub(super) struct Trust {
    made_with: Arc<Generation>,
    /// The name of the root that is tried out with it, if one is.
    root: Option<Arc<str>>,
    newest: watch::Receiver<Current>,
    offers: watch::Receiver<Option<Offered>>,
    handle: TlsHandle,
    since: UnixTime,
}

impl Trust {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.made_with.config)
    }

    /// By what the server proves itself, leaf first.
    pub(super) fn server(&self) -> Arc<[CertificateDer<'static>]> {
        Arc::clone(&self.made_with.server)
    }

    /// The handshake failed: the client may not believe what it was shown, and is not shown it again for a while.
    pub(super) fn failed(&self, address: IpAddr, now: Instant, pause: Duration) {
        // What it was shown may be offered no longer.
        if self.root.is_some()
            && !self.is_to_be_tried()
            && let Some(until) = now.checked_add(pause)
        {
            self.handle.0.trials.failed(address, now, until);
        }
    }

    /// Waits until other material was set or offered. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let (newest, offers) = (&mut self.newest, &mut self.offers);
        let changed = tokio::select! {
            changed = newest.changed() => changed,
            changed = offers.changed() => changed,
        };
        if changed.is_err() {
            // Nobody can set any.
            std::future::pending::<()>().await;
        }
    }

    /// Whether something else is tried out than what this client was shown.
    pub(super) fn is_to_be_tried(&self) -> bool {
        self.offers.borrow().as_ref().is_some_and(|offered| Some(&offered.root) != self.root.as_ref())
    }

    /// When a client at this address may be shown what is tried out; `None` is at once.
    pub(super) fn trial(&self, address: IpAddr, now: Instant) -> Option<Instant> {
        self.handle.0.trials.next(address, now)
    }

    /// Whether a chain that was believed at the handshake leads to a root that is
    /// trusted still. It is looked at as it was then: that it expires is watched
    /// elsewhere. Nothing shown is nothing to lose trust in.
    pub(super) fn vouches_for(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Some((leaf, rest)) = chain.split_first() else { return true };
        let newest = self.newest.borrow().clone();
        let Some(newest) = newest.filter(|newest| !Arc::ptr_eq(newest, &self.made_with)) else { return true };
        // As long as no root is withdrawn, no chain has to be looked at.
        self.made_with.roots.iter().all(|root| newest.roots.contains(root))
            || newest.verifier.verify_client_cert(leaf, rest, self.since).is_ok()
    }
}

/// The settings of one generation: TLS 1.2 (Envoy's default towards a server)
/// and 1.3, HTTP/2 only, a client certificate asked for but not insisted on, so
/// that a proxy without one is told so by gRPC and others may prove themselves
/// by a token.
fn generation(material: TlsMaterial) -> Result<Generation, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let server = material.chain.clone().into();
    let mut roots = RootCertStore::empty();
    for root in &material.client_roots {
        roots.add(root.clone()).map_err(|error| TlsError::ClientRoots(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::ClientRoots(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Protocol)?
        .with_client_cert_verifier(Arc::clone(&verifier))
        .with_single_cert(material.chain, material.key)
        .map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Generation { config: Arc::new(config), server, roots: material.client_roots.into(), verifier })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> TlsMaterial {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        TlsMaterial { chain: vec![made.cert.der().clone()], key, client_roots: vec![made.cert.der().clone()] }
    }

    fn current(handle: &TlsHandle) -> Option<Trust> {
        handle.current(IpAddr::from([10, 0, 0, 1]), Instant::now())
    }

    #[test]
    fn material_that_does_not_serve_leaves_what_was_set() {
        let handle = TlsHandle::new();
        assert!(!handle.is_set());
        handle.set(material()).expect("good material");
        let before = current(&handle).expect("it was set").config();
        let no_roots = TlsMaterial { client_roots: vec![], ..material() };
        let refused = handle.set(no_roots).expect_err("no roots");
        assert!(matches!(refused, TlsError::ClientRoots(_)), "{refused}");
        let foreign_key = TlsMaterial { key: material().key, ..material() };
        let refused = handle.set(foreign_key).expect_err("another certificate's key");
        assert!(matches!(refused, TlsError::Certificate(_)), "{refused}");
        assert!(Arc::ptr_eq(&before, &current(&handle).expect("it is still set").config()));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let text = format!("{:?}", material());
        assert_eq!(text, "TlsMaterial { chain: 1, client_roots: 1, .. }");
    }
}
