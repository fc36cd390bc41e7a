//! Certificates: what proxies and workloads prove themselves with.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use osm_certs::certificate::Certified;
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::subject::Subject;
use osm_core::identity::{ProxyId, ServiceIdentity, TrustDomain};

use super::{Control, Serving};
use crate::local::envoy::EnvoyFiles;
use crate::own_domain::OwnDomain;

impl Control {
    /// The certificate of a proxy itself, if there is one at present.
    #[must_use]
    pub fn proxy_certificate(&self, proxy: &ProxyId) -> Option<Arc<Certified>> {
        self.serving()?.certificates.watch(&self.proxy_subject(proxy)).current()
    }

    /// The certificate of a workload, if there is one at present.
    #[must_use]
    pub fn workload_certificate(&self, identity: &ServiceIdentity) -> Option<Arc<Certified>> {
        self.serving()?.certificates.watch(&self.workload_subject(identity)).current()
    }

    /// Has a certificate issued for a workload, whether it exists or not.
    ///
    /// # Errors
    /// When there is no control plane, or it issues none in time.
    pub async fn issue(&self, identity: &ServiceIdentity) -> Result<Arc<Certified>> {
        const BOUND: Duration = Duration::from_secs(5);
        let serving =
            self.serving().ok_or_else(|| anyhow!("the control plane is being restarted; try again"))?;
        let mut watch = serving.certificates.watch(&self.workload_subject(identity));
        let issued = tokio::time::timeout(BOUND, watch.ready()).await;
        issued.context("no certificate is issued in time")?.context("no certificate is issued")
    }

    fn proxy_subject(&self, proxy: &ProxyId) -> Subject {
        Subject::Proxy { trust_domain: self.trust_domain(), proxy: proxy.clone() }
    }

    fn workload_subject(&self, identity: &ServiceIdentity) -> Subject {
        Subject::Workload(identity.principal(&self.trust_domain()))
    }

    /// Writes a proxy's credentials once, as soon as there are any.
    ///
    /// # Errors
    /// When they can't be written.
    pub async fn write_credentials(&self, proxy: &ProxyId, files: &EnvoyFiles) -> Result<()> {
        let mut serving = self.watch();
        loop {
            let now = serving.borrow_and_update().clone();
            if let Some(now) = now {
                let mut certificate = now.certificates.watch(&self.proxy_subject(proxy));
                let mut trust = now.certificates.trust();
                // A control plane that ends before it issued any is followed by another.
                if let (Ok(certified), Ok(bundle)) = (certificate.ready().await, trust.ready().await) {
                    files.write_trust(bundle.pem())?;
                    return files.write_certificate(certified.chain().pem(), certified.key().pem());
                }
            }
            serving.changed().await.context("the control plane ended")?;
        }
    }

    /// Writes a proxy's credentials each time they change. Returns why it can't.
    pub async fn keep_credentials(&self, proxy: &ProxyId, files: &EnvoyFiles) -> anyhow::Error {
        let mut serving = self.watch();
        loop {
            let now = serving.borrow_and_update().clone();
            let kept = async {
                match now {
                    Some(now) => follow_credentials(&now, proxy, files).await,
                    None => Ok(()),
                }
            };
            tokio::select! {
                biased;
                changed = serving.changed() => if changed.is_err() {
                    return anyhow!("the control plane ended");
                },
                kept = kept => match kept {
                    Err(error) => return error,
                    // That control plane issues no more; another will follow.
                    Ok(()) => if serving.changed().await.is_err() {
                        return anyhow!("the control plane ended");
                    },
                },
            }
        }
    }
}

async fn follow_credentials(serving: &Serving, proxy: &ProxyId, files: &EnvoyFiles) -> Result<()> {
    let mut own = OwnDomain::follow(Arc::new(serving.catalog.clone()));
    let watch = |trust_domain: &TrustDomain| {
        let (trust_domain, proxy) = (trust_domain.clone(), proxy.clone());
        serving.certificates.watch(&Subject::Proxy { trust_domain, proxy })
    };
    let mut certificate = watch(own.known());
    let mut trust = serving.certificates.trust();
    // That of another name. The file keeps, and has renewed, the one that it has until this is there.
    let mut next: Option<CertificateWatch> = None;
    loop {
        if let Some(there) = next.take_if(|next| next.current().is_some()) {
            certificate = there;
        }
        if let (Some(certified), Some(bundle)) = (certificate.current(), trust.current()) {
            files.write_trust(bundle.pem())?;
            files.write_certificate(certified.chain().pem(), certified.key().pem())?;
        }
        let ended = tokio::select! {
            changed = certificate.changed() => changed.is_err(),
            changed = trust.changed() => changed.is_err(),
            changed = changed(&mut next) => changed.is_err(),
            () = own.changed() => {
                next = Some(watch(own.known()));
                false
            }
        };
        if ended {
            return Ok(());
        }
    }
}

/// Waits until a watch has something else, where there is one.
async fn changed(watch: &mut Option<CertificateWatch>) -> Result<()> {
    match watch {
        Some(watch) => watch.changed().await.context("no more certificates are issued"),
        None => std::future::pending().await,
    }
}
