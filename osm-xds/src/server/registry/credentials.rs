//! What is told of certificates and trust of the proxies that are connected.

use std::collections::BTreeSet;
use std::sync::Arc;

use osm_core::identity::{ProxyId, TrustDomain};
use rustls_pki_types::CertificateDer;

use crate::session::Secrets;

/// The trust domains in which a proxy knows the names of others, in each state in which it may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those in which it demands and accepts names in all of them.
    pub certain: BTreeSet<TrustDomain>,
    /// Those in which it demands names in any of them, and so may have connections by such a name.
    pub possible: BTreeSet<TrustDomain>,
}

/// What is known of one stream's proxy about certificates and trust.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProxyCredentials {
    /// The number of the stream, as in [`ProxyStatus`](super::ProxyStatus).
    pub stream: u64,
    /// Who it is.
    pub proxy: ProxyId,
    /// The certificates by which this server proved itself to it, leaf first: the proxy believes their root.
    pub server: Arc<[CertificateDer<'static>]>,
    /// What it may have of what it is given for talking to others.
    pub secrets: Secrets,
    /// The names by which it knows others; `None` when it was never seen to have taken a whole view.
    pub names: Option<Arc<Names>>,
}

impl ProxyCredentials {
    /// What is known of the proxy of this stream.
    #[must_use]
    pub fn new(
        stream: u64,
        proxy: ProxyId,
        server: impl Into<Arc<[CertificateDer<'static>]>>,
        secrets: Secrets,
    ) -> Self {
        Self { stream, proxy, server: server.into(), secrets, names: None }
    }

    /// The same, of a proxy that knows others by these names.
    #[must_use]
    pub fn knowing(self, names: Option<Arc<Names>>) -> Self {
        Self { names, ..self }
    }
}
