//! Certificates of pods' proxies by authorities in the process.

use std::collections::BTreeMap;

use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::provider::WatchSender;
use osm_core::catalog::Catalog;
use osm_core::identity::TrustDomain;
use osm_core::model::MeshObject;
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A provider whose authority can be exchanged.
struct Authorities {
    signs: Mutex<Arc<InProcessCa>>,
    trust: WatchSender<TrustBundle>,
    own: WatchSender<Certified>,
    /// As those are kept that were given out.
    given: Mutex<BTreeMap<Subject, WatchSender<Certified>>>,
}

fn certified(authority: &InProcessCa, subject: Subject, validity: Duration) -> Arc<Certified> {
    let Enrolment { key, request } = Enrolment::new(subject.clone(), validity).unwrap();
    let chain = authority.sign(&request).now_or_never().unwrap().unwrap();
    Arc::new(Certified::new(subject, chain, key).unwrap())
}

fn control_plane() -> Subject {
    Subject::control_plane(["osm.example".parse().unwrap()])
}

fn proxy(uri: &str) -> Subject {
    let (trust_domain, proxy) = ProxyId::from_uri(uri).unwrap();
    Subject::Proxy { trust_domain, proxy }
}

fn till() -> ProxyId {
    ProxyId::from_uri(TILL).unwrap().1
}

const TILL: &str = "spiffe://cluster.local/6f1a/sidecar/cashier/shop";

impl Authorities {
    fn new() -> (Arc<Self>, Arc<InProcessCa>) {
        let first = Arc::new(InProcessCa::ephemeral().unwrap());
        let (trust, own) = (WatchSender::new(), WatchSender::new());
        let all = Self { signs: Mutex::new(Arc::clone(&first)), trust, own, given: Mutex::default() };
        all.trusts(&[&first]);
        all.sign_with(&first);
        (Arc::new(all), first)
    }

    fn trusts(&self, authorities: &[&InProcessCa]) {
        let roots = authorities.iter().flat_map(|one| one.root().der().to_vec());
        self.trust.publish(Arc::new(TrustBundle::from_der(roots).unwrap()));
    }

    /// Signs anew for a proxy.
    fn renew(&self, subject: &Subject) {
        let certified = certified(&self.signs.lock(), subject.clone(), DAY);
        self.given.lock().entry(subject.clone()).or_default().publish(certified);
    }

    fn sign_with(&self, authority: &Arc<InProcessCa>) {
        *self.signs.lock() = Arc::clone(authority);
        self.own.publish(certified(authority, control_plane(), DAY));
    }
}

impl CertificateProvider for Authorities {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        match subject {
            Subject::ControlPlane { .. } => self.own.watch(),
            subject => {
                if !self.given.lock().contains_key(subject) {
                    self.renew(subject);
                }
                self.given.lock()[subject].watch()
            }
        }
    }

    fn trust(&self) -> TrustWatch {
        self.trust.watch()
    }
}

/// The certificates of a mesh, which follow its authorities in a task.
fn follow_all(authorities: &Arc<Authorities>) -> Arc<dyn PodCredentials> {
    let (credentials, followed) = start(authorities);
    tokio::spawn(followed);
    credentials
}

fn start(
    authorities: &Arc<Authorities>,
) -> (Arc<dyn PodCredentials>, impl Future<Output = ()> + Send + use<>) {
    start_in(authorities, Catalog::new(MeshOptions::default()).0)
}

fn start_in(
    authorities: &Arc<Authorities>,
    catalog: Catalog,
) -> (Arc<dyn PodCredentials>, impl Future<Output = ()> + Send + use<>) {
    let provider = Arc::clone(authorities) as Arc<dyn CertificateProvider>;
    let renewing = Arc::clone(authorities);
    let renew: Renew = Arc::new(move |subject| renewing.renew(subject));
    follow(provider, renew, &control_plane(), Arc::new(catalog))
}

/// What files prove that were just written.
fn read(credentials: &Arc<dyn PodCredentials>, files: &SecretFiles) -> Option<Proved> {
    credentials.read(files, Some(SystemTime::now()))
}

async fn epoch(credentials: &Arc<dyn PodCredentials>, number: u64) {
    let mut epoch = credentials.epoch();
    let reached = epoch.wait_for(|now| now.is_some_and(|now| now >= number));
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("in time").expect("it is followed");
}

#[tokio::test]
async fn what_is_issued_proves_its_proxy_until_a_third_of_its_life_is_left() {
    let (authorities, _) = Authorities::new();
    let credentials = follow_all(&authorities);
    let files = credentials.issue(till()).await.expect("a certificate");
    let proved = read(&credentials, &files).expect("it is good");
    assert_eq!(proved.proxy, till());
    let left = proved.until.duration_since(SystemTime::now()).expect("in the future");
    assert!((DAY.mul_f64(0.55)..DAY.mul_f64(0.67)).contains(&left), "{left:?}");
    let short = certified(&authorities.signs.lock(), proxy(TILL), Duration::from_secs(60));
    assert!(read(&credentials, &super::files(&short)).expect("it is good").until > SystemTime::now());
    let names: Vec<&str> = files.0.keys().map(String::as_str).collect();
    assert_eq!(names, ["sds_cert.pem", "tls_certificate_sds_secret.yaml"]);
    assert!(!String::from_utf8_lossy(&files.0["sds_cert.pem"]).contains("PRIVATE"));
}

#[tokio::test]
async fn how_long_a_certificate_has_lived_is_told_by_when_it_was_written_whatever_its_issuer() {
    let (authorities, _) = Authorities::new();
    let credentials = follow_all(&authorities);
    let files = credentials.issue(till()).await.expect("a certificate");
    let now = SystemTime::now();
    let until = |written| credentials.read(&files, written).expect("it is good").until;
    let left = |until: SystemTime| until.duration_since(now).expect("in the future");
    let just = left(until(Some(now)));
    assert!(left(until(Some(now - DAY / 24))) < just, "it was written an hour ago");
    // It began two hours ago, which is all that it says itself; a clock may say what it likes.
    let began = left(until(None));
    assert!(began < just && began > DAY.mul_f64(0.5), "{began:?}");
    assert_eq!(left(until(Some(SystemTime::UNIX_EPOCH))), began);
    assert!(until(Some(now + DAY * 1_000)) <= now + DAY + Duration::from_secs(1));
}

#[tokio::test]
async fn each_time_another_key_is_issued() {
    let (authorities, _) = Authorities::new();
    let credentials = follow_all(&authorities);
    let one = credentials.issue(till()).await.expect("a certificate");
    let other = credentials.issue(till()).await.expect("a certificate");
    assert_ne!(one, other);
    assert!(read(&credentials, &one).is_some() && read(&credentials, &other).is_some());
}

#[tokio::test]
async fn what_is_of_others_edited_or_no_proxys_proves_nothing() {
    let (authorities, first) = Authorities::new();
    let credentials = follow_all(&authorities);
    let good = credentials.issue(till()).await.expect("a certificate");
    let other = credentials.issue(till()).await.expect("another one");
    let stranger = InProcessCa::ephemeral().unwrap();
    let workload = Subject::Workload("spiffe://cluster.local/cashier/shop".parse().unwrap());
    let of = |authority, subject| super::files(&certified(authority, subject, DAY));
    let foreign = "spiffe://elsewhere/6f1a/sidecar/cashier/shop";
    let mut mixed = good.clone();
    mixed.0.insert("sds_cert.pem".into(), other.0["sds_cert.pem"].clone());
    let mut more = good.clone();
    more.0.insert("more".into(), vec![]);
    let mut cut = good.clone();
    cut.0.remove("sds_cert.pem");
    let swap = |text: &[u8]| -> Value { serde_json::from_slice(text).unwrap() };
    let mut swapped = swap(&good.0["tls_certificate_sds_secret.yaml"]);
    let key = "/resources/0/tls_certificate/private_key";
    *swapped.pointer_mut(key).unwrap() =
        swap(&other.0["tls_certificate_sds_secret.yaml"]).pointer(key).unwrap().clone();
    let mut other_key = good.clone();
    other_key.0.insert("tls_certificate_sds_secret.yaml".into(), swapped.to_string().into_bytes());
    for (what, files) in [
        ("nothing", SecretFiles::default()),
        ("no JSON", SecretFiles([("tls_certificate_sds_secret.yaml".to_owned(), b"a: b".to_vec())].into())),
        ("of another authority", of(&stranger, proxy(TILL))),
        ("of another trust domain", of(&first, proxy(foreign))),
        ("of a workload", of(&first, workload)),
        ("of the control plane", of(&first, control_plane())),
        ("two of one proxy, mixed", mixed),
        ("with another key", other_key),
        ("with more", more),
        ("with less", cut),
    ] {
        assert_eq!(read(&credentials, &files), None, "{what}");
    }
    assert!(read(&credentials, &good).is_some());
}

/// What was issued by the first of two roots, before the second one was trusted besides.
async fn with_two_roots() -> (Arc<Authorities>, Arc<dyn PodCredentials>, SecretFiles, Arc<InProcessCa>) {
    let (authorities, first) = Authorities::new();
    let credentials = follow_all(&authorities);
    epoch(&credentials, 1).await;
    let before = credentials.issue(till()).await.expect("a certificate");
    let second = Arc::new(InProcessCa::ephemeral().unwrap());
    authorities.trusts(&[&first, &second]);
    epoch(&credentials, 2).await;
    (authorities, credentials, before, second)
}

#[tokio::test]
async fn a_root_that_is_trusted_besides_changes_nothing_and_one_that_signs_changes_all() {
    let (authorities, credentials, before, second) = with_two_roots().await;
    assert!(read(&credentials, &before).is_some(), "it is signed as others are now");

    authorities.sign_with(&second);
    epoch(&credentials, 3).await;
    assert_eq!(read(&credentials, &before), None);
    let after = credentials.issue(till()).await.expect("a certificate");
    assert!(read(&credentials, &after).is_some());

    authorities.trusts(&[&second]);
    epoch(&credentials, 4).await;
    assert!(read(&credentials, &after).is_some() && read(&credentials, &before).is_none());
}

#[tokio::test]
async fn what_has_a_name_in_another_trust_domain_than_proxies_have_is_replaced() {
    let (authorities, _) = Authorities::new();
    let (reader, mut catalog) = Catalog::new(MeshOptions::default());
    catalog.take_in(SourceEvent::round(Vec::<MeshObject>::new()));
    let (credentials, followed) = start_in(&authorities, reader.clone());
    tokio::spawn(followed);
    epoch(&credentials, 1).await;
    let before = credentials.issue(till()).await.expect("a certificate");
    assert!(read(&credentials, &before).is_some());
    let next: TrustDomain = "next.example".parse().unwrap();
    reader.set_trust_domains(next.into());
    catalog.take_in([]);
    epoch(&credentials, 2).await;
    assert_eq!(read(&credentials, &before), None);
    let after = credentials.issue(till()).await.expect("a certificate");
    assert!(read(&credentials, &after).is_some());
}

#[tokio::test]
async fn a_root_that_signs_for_proxies_before_it_does_for_the_control_plane_is_followed() {
    let (authorities, credentials, before, second) = with_two_roots().await;

    // The control plane's own certificate stays.
    *authorities.signs.lock() = Arc::clone(&second);
    let after = credentials.issue(till()).await.expect("a certificate");
    epoch(&credentials, 3).await;
    assert!(read(&credentials, &after).is_some() && read(&credentials, &before).is_none());

    authorities.trusts(&[&second]);
    epoch(&credentials, 4).await;
    assert!(read(&credentials, &after).is_some());
}

#[tokio::test]
async fn before_anything_is_known_nothing_is_told_and_nothing_issued() {
    let (authorities, _) = Authorities::new();
    // Nobody follows.
    let (credentials, _followed) = start(&authorities);
    assert_eq!(*credentials.epoch().borrow(), None);
    assert_eq!(credentials.issue(till()).now_or_never(), None, "it waits");
}
