//! A trust domain whose agent gives its identities to this process.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::clock::{Clock, SystemClock};
use osm_certs::manager::{Failure, FailureKind};
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::spiffe::{WorkloadApi, WorkloadApiOptions};
use osm_certs::subject::{AlternativeName, Subject};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::agent::{Agent, X509Svid};
use crate::eventually::eventually;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn subject(account: &str) -> Subject {
    Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
}

/// The authority of a trust domain, as SPIRE's server is one.
pub(crate) struct Authority {
    root: Vec<u8>,
    /// What leads from its documents to the root.
    between: Vec<u8>,
    issuer: rcgen::Issuer<'static, KeyPair>,
    clock: Arc<dyn Clock>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let (params, key) = (of_authority(&*clock), KeyPair::generate().expect("a key"));
        let root = params.self_signed(&key).expect("a certificate").der().to_vec();
        Self { root, between: Vec::new(), issuer: rcgen::Issuer::new(params, key), clock }
    }

    /// One whose own certificate is signed by this one.
    pub(crate) fn below(&self) -> Self {
        let (params, key) = (of_authority(&*self.clock), KeyPair::generate().expect("a key"));
        let between = params.signed_by(&key, &self.issuer).expect("a certificate").der().to_vec();
        let (root, clock) = (self.root.clone(), Arc::clone(&self.clock));
        Self { root, between, issuer: rcgen::Issuer::new(params, key), clock }
    }

    /// What is believed of it, in DER.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.root.clone()
    }

    /// A new document for an ID, with these names besides.
    pub(crate) fn issue(&self, id: &str, names: &[&str], life: Duration) -> X509Svid {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("DNS names");
        params.subject_alt_names.push(SanType::URI(id.try_into().expect("a URI")));
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (self.clock.now() - Duration::from_secs(10)).into();
        params.not_after = (self.clock.now() + life).into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        X509Svid {
            spiffe_id: id.to_owned(),
            x509_svid: [certificate.der().as_ref(), &self.between].concat(),
            x509_svid_key: key.serialize_der(),
            bundle: self.bundle(),
            hint: String::new(),
        }
    }

    /// A new document for a workload, with all the names that a mesh gives it.
    pub(crate) fn svid(&self, subject: &Subject, life: Duration) -> X509Svid {
        let (mut id, mut names) = (String::new(), Vec::new());
        for name in subject.names() {
            match name {
                AlternativeName::Uri(uri) => id = uri,
                AlternativeName::Dns(name) => names.push(name),
                AlternativeName::Ip(_) => {}
            }
        }
        self.issue(&id, &names.iter().map(String::as_str).collect::<Vec<_>>(), life)
    }

    pub(crate) fn till(&self) -> X509Svid {
        self.svid(&subject("till"), HOUR)
    }
}

fn of_authority(clock: &dyn Clock) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (clock.now() - HOUR).into();
    params.not_after = (clock.now() + 1000 * HOUR).into();
    // Names tell one authority from another, as its key does.
    let number = KeyPair::generate().expect("a key").public_key_raw()[1..9].to_vec();
    params.distinguished_name.push(DnType::CommonName, format!("{number:?}"));
    params
}

pub(crate) fn options(agent: &Agent) -> WorkloadApiOptions {
    WorkloadApiOptions::new(agent.endpoint(), "cluster.local".parse().expect("a trust domain"))
}

/// Certificates one after the other, as they are on the wire.
pub(crate) fn bytes(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    certificates.iter().flat_map(|certificate| certificate.as_ref()).copied().collect()
}

/// A client that listens.
pub(crate) struct Running {
    pub(crate) api: WorkloadApi,
    pub(crate) watch: CertificateWatch,
    pub(crate) driving: JoinSet<()>,
}

impl Running {
    pub(crate) fn start(options: WorkloadApiOptions) -> Self {
        let (api, driver) = WorkloadApi::new(options);
        let mut driving = JoinSet::new();
        driving.spawn(driver.run());
        let watch = api.watch(&subject("till"));
        Self { api, watch, driving }
    }

    /// Waits until a document is shown as the till's.
    pub(crate) async fn shows(&self, svid: &X509Svid) {
        eventually("the agent's document", async || {
            self.watch.current().filter(|shown| bytes(shown.chain().der()) == svid.x509_svid)
        })
        .await;
        let shown = self.watch.current().expect("it is shown");
        assert_eq!(shown.key().der().secret_der(), svid.x509_svid_key);
    }

    /// Waits until something is wrong with the agent, for which nothing else is shown than before.
    pub(crate) async fn tells(&self, kind: FailureKind, said: &[&str]) -> Failure {
        self.waits_for(kind, said, || self.api.failure()).await
    }

    /// Waits until something is wrong with the till's document, for which nothing else is shown than before.
    pub(crate) async fn tells_of_till(&self, kind: FailureKind, said: &[&str]) -> Failure {
        self.waits_for(kind, said, || self.api.failure_of(&subject("till"))).await
    }

    async fn waits_for(
        &self,
        kind: FailureKind,
        said: &[&str],
        failure: impl Fn() -> Option<Failure>,
    ) -> Failure {
        let shown = self.watch.current().map(|shown| shown.serial().to_owned());
        let trusted = self.api.trust().current();
        let found = eventually(&format!("a failure with {said:?}"), async || {
            failure().filter(|failure| said.iter().all(|said| failure.message.contains(said)))
        })
        .await;
        assert_eq!(found.kind, kind, "{found}");
        assert_eq!(self.watch.current().map(|shown| shown.serial().to_owned()), shown);
        assert_eq!(self.api.trust().current(), trusted);
        found
    }

    /// Waits until nothing is wrong.
    pub(crate) async fn is_well(&self) {
        eventually("an agent without a fault", async || self.api.failure().is_none().then_some(())).await;
    }

    /// Waits until these are the roots, and no others.
    pub(crate) async fn trusts(&self, bundle: &[u8]) {
        eventually("other roots", async || {
            self.api.trust().current().filter(|trust| bytes(trust.der()) == bundle).map(drop)
        })
        .await;
    }
}
