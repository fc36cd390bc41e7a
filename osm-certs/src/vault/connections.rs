//! Connections to a server: kept, and made anew when the authority of its certificate is another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::options::VaultOptions;
use crate::certificate::TrustBundle;
use crate::given_file::{self, Stamp};
use crate::issuer::IssuerError;

/// How long a connection that nobody uses is kept. Servers keep them for longer.
const IDLE: Duration = Duration::from_secs(60);

/// Connections under one authority.
pub(super) type Http = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The connections to one server.
pub(super) struct Connections {
    ca_file: Option<PathBuf>,
    patience: Duration,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the stamp of the authority's file, if there is to be one.
    pool: Option<(Option<Stamp>, Http)>,
    /// How the file was when it was of no use; the inner one is none if it was not there.
    rejected: Option<Option<Stamp>>,
}

impl Connections {
    /// None yet.
    pub(super) fn new(options: &VaultOptions) -> Self {
        Self {
            ca_file: options.ca_file.clone(),
            patience: options.patience,
            most: options.connections.max(1),
            state: Mutex::default(),
        }
    }

    /// The connections, which are others when the authority's file has changed. One that can't be
    /// read or used changes nothing, if there was one before.
    pub(super) async fn http(&self) -> Result<Http, IssuerError> {
        let Some(path) = &self.ca_file else {
            let mut state = self.state.lock();
            return match &state.pool {
                Some((_, http)) => Ok(http.clone()),
                None => {
                    let made = self.connect(RootCertStore::empty());
                    made.inspect(|http| state.pool = Some((None, http.clone())))
                }
            };
        };
        let found = given_file::stamp_later(path.clone()).await.ok();
        if let State { pool: Some((known, http)), rejected } = &*self.state.lock()
            && (*known == found || *rejected == Some(found.clone()))
        {
            return Ok(http.clone());
        }
        match self.read(path).await {
            Ok((stamp, http)) => {
                *self.state.lock() = State { pool: Some((Some(stamp), http.clone())), rejected: None };
                Ok(http)
            }
            Err(error) => self.reject(path, found, error),
        }
    }

    async fn read(&self, path: &Path) -> Result<(Stamp, Http), IssuerError> {
        let read = given_file::read_later(path.to_owned()).await;
        let (stamp, text) = read.map_err(|error| IssuerError::refused("it cannot be read").because(error))?;
        Ok((stamp, self.connect(roots(&text)?)?))
    }

    /// Stays with the last good authority, and says so once for each that is none.
    fn reject(&self, path: &Path, found: Option<Stamp>, error: IssuerError) -> Result<Http, IssuerError> {
        let mut state = self.state.lock();
        let Some((_, http)) = &state.pool else {
            let message = format!("the file {} has no authority of Vault's certificate", path.display());
            return Err(IssuerError::refused(message).because(error));
        };
        let http = http.clone();
        if state.rejected.as_ref() != Some(&found) {
            tracing::warn!(file = %path.display(), %error, "the authority of Vault's certificate stays the last that was good");
            state.rejected = Some(found);
        }
        Ok(http)
    }

    fn connect(&self, roots: RootCertStore) -> Result<Http, IssuerError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| IssuerError::refused("TLS is of no use").because(error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.patience));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(self.most)
            .build(connector))
    }
}

fn roots(text: &str) -> Result<RootCertStore, IssuerError> {
    let unusable = |error: io::Error| IssuerError::refused("it has no usable certificate").because(error);
    let bundle = TrustBundle::from_pem(text).map_err(io::Error::other).map_err(unusable)?;
    let mut roots = RootCertStore::empty();
    for root in bundle.der() {
        roots.add(root.clone()).map_err(io::Error::other).map_err(unusable)?;
    }
    Ok(roots)
}
