//! What certificates of the in-process authority say, and the root in its folder.

mod new_root;
mod under_root;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_certs::certificate::{CertificateChain, Certified};
use osm_certs::clock::Clock;
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::{BACKDATING, CaError, InProcessCa, ROOT_VALIDITY};
use osm_certs::issuer::{Issuer, IssuerError};
use osm_certs::subject::{Subject, Usage};
use osm_certs::verify::leads_to;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that stands still.
#[derive(Debug)]
struct Still(SystemTime);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        self.0
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn still(time: SystemTime) -> Arc<dyn Clock> {
    Arc::new(Still(time))
}

fn till() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"))
}

async fn issue(ca: &InProcessCa, subject: Subject, validity: Duration) -> Certified {
    let Enrolment { key, request } = Enrolment::new(subject.clone(), validity).expect("a request");
    let chain = ca.sign(&request).await.expect("it is signed");
    Certified::new(subject, chain, key).expect("it can be read")
}

fn parsed(chain: &CertificateChain) -> X509Certificate<'_> {
    X509Certificate::from_der(&chain.der()[0]).expect("a certificate").1
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn load(folder: &Path) -> Result<InProcessCa, CaError> {
    InProcessCa::create_or_load(folder)
}

fn refusal(folder: &Path) -> String {
    let error = load(folder).expect_err("it is refused");
    assert!(matches!(error, CaError::Refused { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn what_an_authority_signs_whose_clock_is_an_hour_off_is_believed_by_all_others() {
    for (own, others) in [(HOUR, Duration::ZERO), (Duration::ZERO, HOUR), (2 * HOUR, Duration::ZERO)] {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, others) = (at(0) + own, at(0) + others);
        let ca = InProcessCa::create_or_load_with(folder.path(), still(own)).expect("an authority");
        let leaf = issue(&ca, till(), 24 * HOUR).await;
        let usages = [Usage::Client, Usage::Server];
        leads_to(leaf.chain(), ca.root(), &usages, others).expect("it is believed");
        let replica = InProcessCa::create_or_load_with(folder.path(), still(others)).expect("the same root");
        assert_eq!(replica.root(), ca.root());
    }
}

#[tokio::test]
async fn a_leaf_begins_a_little_earlier_and_ends_as_asked() {
    let ca = InProcessCa::ephemeral_with(still(at(0) + Duration::from_millis(700))).expect("an authority");
    let leaf = issue(&ca, till(), HOUR).await;
    assert_eq!(leaf.not_before(), at(0) - BACKDATING);
    assert_eq!(leaf.not_after(), at(3600), "parts of seconds are dropped, never added");
    let long = issue(&ca, till(), ROOT_VALIDITY * 2).await;
    assert_eq!(long.not_after(), at(0) + ROOT_VALIDITY, "no leaf outlives its root");
}

#[tokio::test]
async fn a_leaf_says_what_it_is_for_and_who_signed_it() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let (workload, server) =
        (issue(&ca, till(), HOUR).await, Subject::control_plane(["ads".parse().expect("a name")]));
    let server = issue(&ca, server, HOUR).await;
    let (workload, server) = (parsed(workload.chain()), parsed(server.chain()));
    let usage = |leaf: &X509Certificate<'_>| {
        let usage = leaf.extended_key_usage().expect("readable").expect("present").value.clone();
        (usage.client_auth, usage.server_auth)
    };
    assert_eq!((usage(&workload), usage(&server)), ((true, true), (false, true)));
    assert!(
        !workload.is_ca() && workload.key_usage().expect("readable").expect("it").value.digital_signature()
    );
    let root = ca.root().der()[0].clone();
    let (_, root) = X509Certificate::from_der(&root).expect("a certificate");
    let key = |certificate: &X509Certificate<'_>| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        })
    };
    let own = root.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    assert!(own.is_some() && key(&workload) == own);
    let constraints = root.basic_constraints().expect("readable").expect("present").value;
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
    let usage = root.key_usage().expect("readable").expect("present").value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

#[tokio::test]
async fn serial_numbers_are_sixteen_bytes_and_never_the_same() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let serial = issue(&ca, till(), HOUR).await.serial().to_owned();
        assert_eq!(serial.split(':').count(), 16, "{serial}");
        assert!(serials.insert(serial));
    }
}

#[tokio::test]
async fn a_root_that_has_ended_signs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    InProcessCa::create_or_load_with(folder.path(), still(at(0))).expect("it is made");
    let almost = still(at(0) + ROOT_VALIDITY - Duration::from_secs(20));
    let ca = InProcessCa::create_or_load_with(folder.path(), almost).expect("it is loaded");
    assert_eq!(issue(&ca, till(), HOUR).await.not_after(), at(0) + ROOT_VALIDITY);
    let later = still(at(0) + ROOT_VALIDITY);
    let error = InProcessCa::create_or_load_with(folder.path(), later).expect_err("it has ended");
    assert!(error.to_string().contains("has ended"), "{error}");
    let early =
        InProcessCa::create_or_load_with(folder.path(), still(at(0) - 3 * HOUR)).expect_err("not yet");
    assert!(early.to_string().contains("not valid yet"), "{early}");
}

#[test]
fn a_root_is_made_once_and_found_again() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state/ca");
    let made = load(&folder).expect("it is made");
    assert_eq!((mode(&folder), mode(&folder.join("ca.key"))), (0o700, 0o600));
    assert_eq!(fs::read_to_string(folder.join("ca.crt")).expect("it is there"), made.root().pem());
    assert_eq!(load(&folder).expect("it is loaded").root(), made.root());
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    files.sort();
    assert_eq!(files, ["ca.crt", "ca.key", "ca.lock"], "nothing half-written is left");
}

#[test]
fn those_who_start_at_once_get_the_same_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let roots: Vec<String> = std::thread::scope(|scope| {
        let start = || load(folder.path()).expect("it is made or loaded").root().pem().to_owned();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends well")).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn one_file_without_the_other_is_refused_and_kept() {
    for (gone, kept) in [("ca.crt", "ca.key"), ("ca.key", "ca.crt")] {
        let folder = tempfile::tempdir().expect("a folder");
        load(folder.path()).expect("it is made");
        let before = fs::read(folder.path().join(kept)).expect("it is there");
        fs::remove_file(folder.path().join(gone)).expect("it is removed");
        let text = refusal(folder.path());
        assert!(text.contains(&format!("{kept} is there but {gone} is missing")), "{text}");
        assert_eq!(fs::read(folder.path().join(kept)).expect("it is there"), before);
        assert!(!folder.path().join(gone).exists());
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    load(one.path()).expect("it is made");
    load(other.path()).expect("it is made");
    fs::copy(other.path().join("ca.key"), one.path().join("ca.key")).expect("it is copied");
    assert!(refusal(one.path()).contains("ca.key is not the key of ca.crt"));
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    load(folder.path()).expect("it is made");
    let key = folder.path().join("ca.key");
    for open in [0o640, 0o604, 0o660] {
        fs::set_permissions(&key, fs::Permissions::from_mode(open)).expect("it is changed");
        let text = refusal(folder.path());
        assert!(text.contains("chmod 600"), "{text}");
        assert_eq!(mode(&key), open, "it is not repaired: somebody may have read it");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("it is changed");
    load(folder.path()).expect("its owner alone may read it");
}

#[tokio::test]
async fn what_is_no_authority_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = load(folder.path()).expect("it is made");
    let (certificate, key) = (folder.path().join("ca.crt"), folder.path().join("ca.key"));
    let (root, root_key) = (ca.root().pem().to_owned(), fs::read(&key).expect("it is there"));

    let leaf = issue(&ca, till(), HOUR).await;
    fs::write(&certificate, leaf.chain().pem()).expect("it is written");
    fs::write(&key, leaf.key().pem()).expect("it is written");
    assert!(refusal(folder.path()).contains("not a certificate authority's"));

    fs::write(&key, &root_key).expect("it is written");
    for (text, expected) in [
        (String::new(), "no certificate"),
        ("half a certi".into(), "no certificate"),
        (root[..root.len() / 2].to_owned(), "no certificate"),
        (format!("{root}{root}"), "has 2 certificates"),
    ] {
        fs::write(&certificate, &text).expect("it is written");
        let refused = refusal(folder.path());
        assert!(refused.contains(expected), "{refused}");
    }
    fs::write(&certificate, &root).expect("it is written");
    for text in ["", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"] {
        fs::write(&key, text).expect("it is written");
        let refused = refusal(folder.path());
        assert!(refused.contains("ca.key is no private key") && !refused.contains("c2Vj"), "{refused}");
    }
    fs::write(&key, &root_key).expect("it is written");
    load(folder.path()).expect("it is whole again");
}

#[test]
fn what_a_crash_left_half_written_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".ca.key.partial"), "half a k").expect("it is written");
    load(folder.path()).expect("it is made");
    assert_eq!(mode(&folder.path().join("ca.key")), 0o600);
    assert!(!folder.path().join(".ca.key.partial").exists());
}

#[test]
fn a_folder_that_can_t_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("it is written");
    let error = load(&file.join("ca")).expect_err("it is no folder");
    assert!(matches!(&error, CaError::Storage { .. }) && error.to_string().contains("file/ca"), "{error}");
}

#[test]
fn what_is_no_file_or_far_too_large_is_refused_and_not_read() {
    for name in ["ca.key", "ca.crt"] {
        let folder = tempfile::tempdir().expect("a folder");
        load(folder.path()).expect("it is made");
        let path = folder.path().join(name);
        let file = fs::File::options().write(true).open(&path).expect("it is there");
        file.set_len(1 << 40).expect("a sparse file");
        assert!(refusal(folder.path()).contains(&format!("{name} has more than 262144 bytes")));
        fs::remove_file(&path).expect("it is removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(refusal(folder.path()).contains(&format!("{name} is no regular file")));
        fs::remove_file(&path).expect("it is removed");
        fs::create_dir(&path).expect("a folder");
        assert!(refusal(folder.path()).contains(&format!("{name} is no regular file")));
    }
}

#[tokio::test]
async fn a_key_of_an_unknown_kind_is_refused() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let Enrolment { request, .. } = Enrolment::new(till(), HOUR).expect("a request");
    // The curve's name in the request, P-256, made one that nobody knows.
    let mut der = request.csr_der().to_vec();
    let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let place = der.windows(8).position(|bytes| bytes == curve).expect("it is there");
    der[place + 7] = 0x7f;
    let request = osm_certs::request::SigningRequest::new(till(), der.into(), HOUR).expect("a request");
    let error = ca.sign(&request).await.expect_err("it is refused");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_root_that_is_kept_elsewhere_signs_as_the_one_that_was_made() {
    let made = InProcessCa::ephemeral().expect("a root");
    let key = made.root_key().expect("it can be written down");
    let kept = InProcessCa::from_pem(made.root().pem(), key.pem(), "Secret osm-system/osm-ca-bundle");
    let kept = kept.expect("it is whole");
    assert_eq!(kept.root().der(), made.root().der());
    let certified = issue(&kept, till(), HOUR).await;
    let leaf = parsed(certified.chain());
    let root = made.root().der();
    let (_, root) = X509Certificate::from_der(&root[0]).expect("a certificate");
    assert_eq!(leaf.issuer(), root.subject());
}

#[test]
fn what_is_kept_elsewhere_and_is_no_root_is_refused_with_its_place() {
    let one = InProcessCa::ephemeral().expect("a root");
    let other = InProcessCa::ephemeral().expect("a root").root_key().expect("it can be written down");
    let error = InProcessCa::from_pem(one.root().pem(), other.pem(), "Secret osm-system/osm-ca-bundle");
    let text = error.expect_err("the key is another's").to_string();
    assert!(text.starts_with("the authority in Secret osm-system/osm-ca-bundle is not used: "), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}
