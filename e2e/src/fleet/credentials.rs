//! What proxies prove themselves with: certificates of the controller's own
//! authority.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::subject::Subject;
use osm_core::identity::{ProxyId, TrustDomain};
use rustls::client::WantsClientCert;

/// How long they are valid: longer than any measurement.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// The authority of a folder, and what its clients need.
pub(super) struct Credentials {
    authority: InProcessCa,
    roots: Arc<rustls::RootCertStore>,
    trust_domain: TrustDomain,
}

impl Credentials {
    /// Makes or loads the authority in a folder, which the controller will load.
    pub(super) fn new(folder: &Path, trust_domain: TrustDomain) -> Result<Self> {
        let authority = InProcessCa::create_or_load(folder).context("making an authority")?;
        let mut roots = rustls::RootCertStore::empty();
        for root in authority.root().der() {
            roots.add(root.clone()).context("a root")?;
        }
        Ok(Self { authority, roots: Arc::new(roots), trust_domain })
    }

    /// TLS as a proxy speaks it.
    pub(super) async fn of_proxy(&self, proxy: &ProxyId) -> Result<rustls::ClientConfig> {
        let subject = Subject::Proxy { trust_domain: self.trust_domain.clone(), proxy: proxy.clone() };
        let Enrolment { key, request } = Enrolment::new(subject, VALIDITY).context("a key")?;
        let chain = self.authority.sign(&request).await.context("a certificate")?;
        let mut config = self
            .builder()?
            .with_client_auth_cert(chain.der().to_vec(), key.der().clone_key())
            .context("TLS")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// TLS of somebody who believes the authority and has no certificate.
    pub(super) fn of_a_stranger(&self) -> Result<rustls::ClientConfig> {
        Ok(self.builder()?.with_no_client_auth())
    }

    fn builder(&self) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, WantsClientCert>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(Arc::clone(&self.roots)))
    }
}
