//! What proxies prove themselves with: certificates of the controller's own
//! authority.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::certificate::{CertificateChain, PrivateKey, TrustBundle};
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::subject::Subject;
use osm_core::identity::{ProxyId, TrustDomain};
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// How long they are valid: longer than any measurement.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// The authority of a folder, and what its clients need.
pub(super) struct Credentials {
    authority: InProcessCa,
    roots: Arc<RootCertStore>,
    trust_domain: TrustDomain,
}

impl Credentials {
    /// Makes or loads the authority in a folder, which the controller will load.
    pub(super) fn new(folder: &Path, trust_domain: TrustDomain) -> Result<Self> {
        Self::of(InProcessCa::create_or_load(folder).context("making an authority")?, trust_domain)
    }

    /// Makes an authority in memory.
    pub(super) fn ephemeral(trust_domain: TrustDomain) -> Result<Self> {
        Self::of(InProcessCa::ephemeral().context("making an authority")?, trust_domain)
    }

    fn of(authority: InProcessCa, trust_domain: TrustDomain) -> Result<Self> {
        let roots = Arc::new(store(authority.root())?);
        Ok(Self { authority, roots, trust_domain })
    }

    /// The root of the authority.
    pub(super) fn root(&self) -> &TrustBundle {
        self.authority.root()
    }

    /// The key of the root.
    pub(super) fn root_key(&self) -> Result<PrivateKey> {
        self.authority.root_key().context("the key of a root")
    }

    /// The roots that are believed by who believes the authority.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// TLS as a proxy speaks it.
    pub(super) async fn of_proxy(&self, proxy: &ProxyId) -> Result<ClientConfig> {
        self.prove(proxy).await?.tls(self.roots())
    }

    /// What proves a proxy.
    pub(super) async fn prove(&self, proxy: &ProxyId) -> Result<Proof> {
        let subject = Subject::Proxy { trust_domain: self.trust_domain.clone(), proxy: proxy.clone() };
        let Enrolment { key, request } = Enrolment::new(subject, VALIDITY).context("a key")?;
        let chain = self.authority.sign(&request).await.context("a certificate")?;
        Ok(Proof { key, chain })
    }

    /// TLS of somebody who believes the authority and has no certificate.
    pub(super) fn of_a_stranger(&self) -> Result<ClientConfig> {
        Ok(builder(self.roots())?.with_no_client_auth())
    }
}

/// What proves a proxy.
pub(super) struct Proof {
    key: PrivateKey,
    chain: CertificateChain,
}

impl Proof {
    /// TLS as the proxy speaks it when it believes these roots.
    pub(super) fn tls(&self, roots: Arc<RootCertStore>) -> Result<ClientConfig> {
        let mut config = builder(roots)?
            .with_client_auth_cert(self.chain.der().to_vec(), self.key.der().clone_key())
            .context("TLS")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Roots as rustls believes them.
pub(super) fn store(bundle: &TrustBundle) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in bundle.der() {
        roots.add(root.clone()).context("a root")?;
    }
    Ok(roots)
}

fn builder(roots: Arc<RootCertStore>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_root_certificates(roots))
}
