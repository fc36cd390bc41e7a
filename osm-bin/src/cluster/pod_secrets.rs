//! What is in the Secrets by which proxies prove themselves: a certificate of the mesh for one
//! proxy and its key, as Envoy reads them.
//!
//! What is there is good as long as it is whole, leads to the roots that the mesh's authority
//! signs with now, and has a third of its life left. Which roots these are shows in the newest certificate that
//! was seen: a proxy's, or that of the control plane itself, which is kept fresh in any case.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::{BoxFuture, FutureExt, join};
use osm_certs::certificate::{CertificateChain, Certified, PrivateKey, TrustBundle};
use osm_certs::manager;
use osm_certs::provider::{CertificateProvider, CertificateWatch, TrustWatch};
use osm_certs::subject::{Subject, Usage};
use osm_certs::verify::leads_to;
use osm_core::catalog::MeshCatalog;
use osm_core::identity::ProxyId;
use osm_k8s::pod_secrets::{PodCredentials, Proved, SecretFiles};
use osm_xds::bootstrap::{CERTIFICATE_SECRET_FILE, certificate_file};
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::sync::watch;

use crate::own_domain::{OwnDomain, own_domain};

/// The certificate alone, for people and other programs: the name that Open Service Mesh gave it.
const CHAIN_FILE: &str = "sds_cert.pem";
/// How long is waited for a certificate. An issuer that is away longer is asked again later.
const PATIENCE: Duration = Duration::from_secs(30);

/// What certificates are measured by: the newest one that was seen, the control plane's own or a proxy's.
#[derive(Debug)]
struct Basis {
    trust: Arc<TrustBundle>,
    /// Which of its roots the authority signs with.
    signing: Vec<bool>,
    newest: (CertificateChain, Usage),
}

/// The measure of certificates, and how often it has become another one.
#[derive(Debug, Default)]
struct Measure {
    basis: Mutex<Option<Basis>>,
    epoch: watch::Sender<Option<u64>>,
}

impl Measure {
    /// Takes in roots of trust, or a certificate that was just issued; says whether it leads to one of the roots.
    fn take(&self, trust: Arc<TrustBundle>, newest: (CertificateChain, Usage)) -> bool {
        let signing = roots_of(&newest.0, &trust, newest.1);
        if !signing.contains(&true) {
            return false;
        }
        let mut basis = self.basis.lock();
        let is_other = basis.as_ref().is_none_or(|old| old.trust != trust || old.signing != signing);
        *basis = Some(Basis { trust, signing, newest });
        if is_other {
            self.epoch.send_modify(|number| *number = Some(number.unwrap_or_default() + 1));
        }
        true
    }

    /// The same by other roots.
    fn trust(&self, trust: Arc<TrustBundle>) -> bool {
        let newest = self.basis.lock().as_ref().map(|basis| basis.newest.clone());
        newest.is_some_and(|newest| self.take(trust, newest))
    }

    /// By other names: what was there is to be looked at again, if there is a measure at all.
    fn renamed(&self) {
        self.epoch.send_if_modified(|number| number.as_mut().map(|number| *number += 1).is_some());
    }

    /// By a certificate that was just issued.
    fn issued(&self, chain: &CertificateChain) -> bool {
        let trust = self.basis.lock().as_ref().map(|basis| Arc::clone(&basis.trust));
        trust.is_some_and(|trust| self.take(trust, (chain.clone(), Usage::Client)))
    }
}

/// Has a subject's certificate replaced by a new one.
pub(super) type Renew = Arc<dyn Fn(&Subject) + Send + Sync>;

/// The certificates of pods' proxies.
pub(super) struct Certificates {
    provider: Arc<dyn CertificateProvider>,
    renew: Renew,
    catalog: Arc<dyn MeshCatalog>,
    measure: Arc<Measure>,
}

/// The certificates of pods' proxies, and what keeps their measure true. `names` is whom the
/// control plane's own certificate is for.
pub(super) fn follow(
    provider: Arc<dyn CertificateProvider>,
    renew: Renew,
    names: &Subject,
    catalog: Arc<dyn MeshCatalog>,
) -> (Arc<dyn PodCredentials>, impl Future<Output = ()> + Send + use<>) {
    let measure = Arc::new(Measure::default());
    let kept = keep_measure(provider.trust(), provider.watch(names), Arc::clone(&measure));
    let renamed = follow_names(OwnDomain::follow(Arc::clone(&catalog)), Arc::clone(&measure));
    let followed = join(kept, renamed).map(drop);
    (Arc::new(Certificates { provider, renew, catalog, measure }), followed)
}

async fn keep_measure(mut trust: TrustWatch, mut own: CertificateWatch, measure: Arc<Measure>) {
    let mut is_new = true;
    loop {
        if let (Some(trust), Some(own)) = (trust.current(), own.current()) {
            // A certificate that is about to be replaced measures nothing.
            if is_new || !measure.trust(Arc::clone(&trust)) {
                measure.take(trust, (own.chain().clone(), Usage::Server));
            }
            is_new = false;
        }
        let changed = tokio::select! {
            changed = trust.changed() => changed,
            changed = own.changed() => {
                is_new = true;
                changed
            }
        };
        if changed.is_err() {
            // What was said last stays in force.
            std::future::pending::<()>().await;
        }
    }
}

/// Has everything looked at again when proxies are named in another trust domain.
async fn follow_names(mut own: OwnDomain, measure: Arc<Measure>) {
    loop {
        own.changed().await;
        measure.renamed();
    }
}

/// To which of the roots a chain leads.
fn roots_of(chain: &CertificateChain, trust: &TrustBundle, usage: Usage) -> Vec<bool> {
    let leads = |root: &rustls::pki_types::CertificateDer<'static>| {
        TrustBundle::from_der([root.clone()])
            .is_ok_and(|one| leads_to(chain, &one, &[usage], SystemTime::now()).is_ok())
    };
    trust.der().iter().map(leads).collect()
}

impl PodCredentials for Certificates {
    fn read(&self, files: &SecretFiles, written: Option<SystemTime>) -> Option<Proved> {
        let (chain, key) = parts(files)?;
        let uris = chain.leaf().uris;
        let [uri] = uris.as_slice() else { return None };
        let (trust_domain, proxy) = ProxyId::from_uri(uri).ok()?;
        if trust_domain != own_domain(&*self.catalog) || !is_pair(&chain, &key) {
            return None;
        }
        let basis = self.measure.basis.lock();
        let Basis { trust, signing, .. } = basis.as_ref()?;
        if roots_of(&chain, trust, Usage::Client) != *signing {
            return None;
        }
        let subject = Subject::Proxy { trust_domain, proxy: proxy.clone() };
        let certified = Certified::new(subject, chain, key).ok()?;
        // What somebody has added or changed is not what would be written.
        (self::files(&certified) == *files).then(|| Proved { proxy, until: renewal(&certified, written) })
    }

    fn issue(&self, proxy: ProxyId) -> BoxFuture<'static, Option<SecretFiles>> {
        let trust_domain = own_domain(&*self.catalog);
        let subject = Subject::Proxy { trust_domain, proxy };
        let mut watch = self.provider.watch(&subject);
        // One that was given out a moment ago may have been copied: a Secret that somebody deletes gets another key.
        let before = watch.current();
        if before.is_some() {
            (self.renew)(&subject);
        }
        let measure = Arc::clone(&self.measure);
        let mut epoch = self.epoch();
        let issued = async move {
            epoch.wait_for(Option::is_some).await.ok()?;
            loop {
                let certified = watch.ready().await.ok()?;
                let is_new = before.as_ref().is_none_or(|before| before.serial() != certified.serial());
                // It shows which root signs now, also where the control plane's own certificate is of another one.
                if is_new && measure.issued(certified.chain()) {
                    return Some(files(&certified));
                }
                watch.changed().await.ok()?;
            }
        };
        async move { tokio::time::timeout(PATIENCE, issued).await.ok().flatten() }.boxed()
    }

    fn epoch(&self) -> watch::Receiver<Option<u64>> {
        self.measure.epoch.subscribe()
    }
}

/// What is written for a certificate.
fn files(certified: &Certified) -> SecretFiles {
    let chain = certified.chain().pem();
    let secret = certificate_file(chain, certified.key().pem()).to_string();
    let files = [(CERTIFICATE_SECRET_FILE, secret), (CHAIN_FILE, chain.to_owned())];
    SecretFiles(files.map(|(name, text)| (name.to_owned(), text.into_bytes())).into())
}

/// Chain and key out of what was written.
fn parts(files: &SecretFiles) -> Option<(CertificateChain, PrivateKey)> {
    let secret: Value = serde_json::from_slice(files.0.get(CERTIFICATE_SECRET_FILE)?).ok()?;
    let certificate = &secret["resources"][0]["tls_certificate"];
    let text = |member: &str| certificate[member]["inline_string"].as_str();
    let chain = CertificateChain::from_pem(text("certificate_chain")?).ok()?;
    Some((chain, PrivateKey::from_pem(text("private_key")?).ok()?))
}

/// Whether a key is that of a chain's first certificate.
fn is_pair(chain: &CertificateChain, key: &PrivateKey) -> bool {
    any_supported_type(key.der())
        .is_ok_and(|key| CertifiedKey::new(chain.der().to_vec(), key).keys_match().is_ok())
}

/// When a certificate is to be replaced that was written at this time, which is when it was made. It may begin before that, by as
/// much as its issuer likes.
fn renewal(certified: &Certified, written: Option<SystemTime>) -> SystemTime {
    let began = certified.not_before();
    let issued = written.map_or(began, |written| written.max(began).min(certified.not_after()));
    manager::renewal(certified, issued)
}

#[cfg(test)]
mod tests;
