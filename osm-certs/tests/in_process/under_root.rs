//! Signing by a certificate under a root whose key is kept away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use osm_certs::in_process::{CaError, InProcessCa};
use osm_certs::issuer::Issuer;
use osm_certs::subject::Usage;
use osm_certs::testing::conformance;
use osm_certs::verify::leads_to;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};

use crate::{HOUR, issue, till};

/// An authority as somebody else keeps it.
struct Above {
    certificate: String,
    issuer: rcgen::Issuer<'static, KeyPair>,
}

/// The certificate of an authority and its key, in PEM.
struct Below {
    certificate: String,
    key: String,
}

fn authority(name: &str, length: u8, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let now = std::time::SystemTime::UNIX_EPOCH + life_began();
    (params.not_before, params.not_after) = ((now - HOUR).into(), (now + life).into());
    params
}

/// The time since the epoch.
#[allow(clippy::disallowed_methods, reason = "certificates of a test are valid now")]
fn life_began() -> Duration {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is past")
}

fn root(length: u8, kind: &'static SignatureAlgorithm) -> Above {
    let key = KeyPair::generate_for(kind).expect("a key");
    let params = authority("offline root", length, 100 * HOUR);
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    Above { certificate, issuer: rcgen::Issuer::new(params, key) }
}

impl Above {
    /// Signs an authority under this one.
    fn sign(&self, params: CertificateParams) -> (Below, Above) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let below = Below { certificate: certificate.clone(), key: key.serialize_pem() };
        (below, Above { certificate, issuer: rcgen::Issuer::new(params, key) })
    }
}

fn refused(made: Result<InProcessCa, CaError>) -> String {
    let error = made.expect_err("it is refused");
    assert!(matches!(error, CaError::Refused { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn an_authority_under_an_offline_root_conforms() {
    for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let root = root(1, kind);
        let (below, _) = root.sign(authority("mesh", 0, 50 * HOUR));
        let ca = InProcessCa::under_root(&below.certificate, &below.key, &root.certificate, "a Secret");
        let ca = ca.expect("it is of use");
        conformance::assert_conforms(&ca).await;
        let leaf = issue(&ca, till(), 1000 * HOUR).await;
        assert_eq!((leaf.chain().der().len(), ca.root().der().len()), (2, 1));
        assert!(leaf.not_after() <= std::time::SystemTime::UNIX_EPOCH + life_began() + 50 * HOUR);
    }
}

#[test]
fn a_root_without_the_pair_that_it_has_signed_is_not_taken_for_an_empty_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("root.crt");
    fs::write(&path, root(1, &PKCS_ED25519).certificate).expect("written");
    let text = refused(InProcessCa::create_or_load(folder.path()));
    assert!(text.contains("root.crt is there but ca.crt and ca.key are missing"), "{text}");
    assert!(!folder.path().join("ca.crt").exists() && !folder.path().join("ca.key").exists());
}

#[tokio::test]
async fn a_folder_with_a_root_beside_it_signs_under_that_root() {
    let root = root(2, &PKCS_ECDSA_P384_SHA384);
    let (_, between) = root.sign(authority("company", 1, 80 * HOUR));
    let (below, _) = between.sign(authority("mesh", 0, 90 * HOUR));
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        private(&path);
    };
    write("ca.crt", &format!("{}{}", below.certificate, between.certificate));
    write("ca.key", &below.key);
    let text = refused(InProcessCa::create_or_load(folder.path()));
    assert!(text.contains("unless that is in root.crt"), "{text}");
    write("root.crt", &root.certificate);
    let ca = InProcessCa::create_or_load(folder.path()).expect("it is of use");
    let leaf = issue(&ca, till(), 1000 * HOUR).await;
    assert_eq!(leaf.chain().der().len(), 3);
    assert_eq!(ca.trust_bundle().await.expect("a bundle").pem(), root.certificate);
    let now = std::time::SystemTime::UNIX_EPOCH + life_began();
    leads_to(leaf.chain(), ca.root(), &[Usage::Client, Usage::Server], now).expect("it is believed");
    assert!(leaf.not_after() <= now + 80 * HOUR, "no leaf outlives what it leads through");
    write("root.crt", "garbage");
    assert!(refused(InProcessCa::create_or_load(folder.path())).contains("root.crt is no certificate"));
}

#[test]
fn what_would_sign_in_vain_is_refused_with_what_to_do() {
    let root = root(1, &PKCS_ECDSA_P384_SHA384);
    let under = |below: &Below, root: &Above| {
        refused(InProcessCa::under_root(&below.certificate, &below.key, &root.certificate, "a Secret"))
    };
    let (good, _) = root.sign(authority("mesh", 0, 50 * HOUR));
    let stranger = self::root(1, &PKCS_ECDSA_P384_SHA384);
    assert!(under(&good, &stranger).contains("what ca.crt signs would not lead to root.crt"));
    let short = self::root(0, &PKCS_ECDSA_P384_SHA384);
    let (below, _) = short.sign(authority("mesh", 0, 50 * HOUR));
    assert!(under(&below, &short).contains("what ca.crt signs would not lead to root.crt"));
    let mut for_servers = authority("mesh", 0, 50 * HOUR);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(under(&root.sign(for_servers).0, &root).contains("what ca.crt signs would not lead to root.crt"));
    let mut leaf = authority("mesh", 0, 50 * HOUR);
    leaf.is_ca = IsCa::ExplicitNoCa;
    assert!(under(&root.sign(leaf).0, &root).contains("may not sign certificates"));
    let (ended, _) = root.sign(authority("mesh", 0, Duration::ZERO));
    assert!(under(&ended, &root).contains("have the root sign another"));
    let (other, _) = root.sign(authority("mesh", 0, 50 * HOUR));
    let mixed = Below { certificate: good.certificate, key: other.key };
    assert!(under(&mixed, &root).contains("ca.key is not the key of ca.crt"));
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("they are set");
}
