//! An issuer of one's own: here a certificate authority made of `rcgen`, in its
//! place what your company signs with. The conformance kit checks it, the manager
//! uses it.

use std::{sync::Arc, time::SystemTime};

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::{
    provider::CertificateProvider, request::SigningRequest, subject::Subject, testing::conformance,
};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, KeyPair};

struct Workshop(rcgen::Issuer<'static, KeyPair>, TrustBundle);

#[async_trait]
impl Issuer for Workshop {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let refused = |error| IssuerError::refused("the workshop does not sign this").because(error);
        let mut asked = CertificateSigningRequestParams::from_der(request.csr_der()).map_err(refused)?;
        let now = SystemTime::now();
        (asked.params.not_before, asked.params.not_after) = (now.into(), (now + request.validity()).into());
        let leaf = asked.signed_by(&self.0).map_err(refused)?;
        CertificateChain::from_der([leaf.into()])
            .map_err(|error| IssuerError::refused("unreadable").because(error))
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        Ok(self.1.clone())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (key, mut root) = (KeyPair::generate()?, CertificateParams::default());
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = TrustBundle::from_der([root.self_signed(&key)?.into()])?;
    let issuer = Arc::new(Workshop(rcgen::Issuer::new(root, key), bundle));
    conformance::assert_conforms(&*issuer).await;
    println!("the issuer conforms");

    let (manager, driver) = CertificateManager::new(issuer, ManagerOptions::default());
    let driving = tokio::spawn(driver.run());
    let mut watch = manager.watch(&Subject::Workload("spiffe://cluster.local/till/shop".parse()?));
    let certified = watch.ready().await?;
    println!("{} has certificate {}", certified.subject(), certified.serial());
    driving.abort();
    Ok(())
}
