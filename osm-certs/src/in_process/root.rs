//! The root: a self-signed certificate and its key.

use std::fmt;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, Error, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroize;

use super::{BACKDATING, CaError, ROOT_VALIDITY, random_serial, whole_seconds};
use crate::certificate::{Leaf, PrivateKey, TrustBundle};
use crate::profile;

/// The common name of a new root, the one that Open Service Mesh's has.
const COMMON_NAME: &str = "osm-ca.openservicemesh.io";

/// A self-signed certificate that may sign others, and its key.
pub(super) struct Root {
    signer: Issuer<'static, RootKey>,
    bundle: TrustBundle,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Root {
    /// Makes one.
    pub(super) fn new(now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Cryptography)?;
        let key = RootKey(key);
        let mut params = CertificateParams::default();
        params.distinguished_name = profile::distinguished_name(Some(COMMON_NAME.into()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = whole_seconds(now - BACKDATING);
        params.not_after = whole_seconds(now + ROOT_VALIDITY);
        params.serial_number =
            Some(random_serial().map_err(|_| CaError::Cryptography(Error::RingUnspecified))?);
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&key).map_err(CaError::Cryptography)?;
        let bundle = TrustBundle::from_der([certificate.der().clone()]).map_err(CaError::Certificate)?;
        Self::join(bundle, key).map_err(|reason| CaError::Refused { folder: "memory".into(), reason })
    }

    /// Joins what was read; the error is why it must not be used.
    pub(super) fn read(certificate: &str, key: &str, now: SystemTime) -> Result<Self, String> {
        let bundle = TrustBundle::from_pem(certificate)
            .map_err(|error| format!("ca.crt is no certificate ({error}); restore it from a copy"))?;
        // The error of a key could quote it.
        let key = KeyPair::from_pem(key).map_err(|_| "ca.key is no private key; restore it from a copy")?;
        let root = Self::join(bundle, RootKey(key))?;
        if now >= root.not_after {
            return Err("ca.crt has ended; move both files away to have a new root made".into());
        }
        if now < root.not_before {
            return Err("ca.crt is not valid yet; is the clock right?".into());
        }
        Ok(root)
    }

    fn join(bundle: TrustBundle, key: RootKey) -> Result<Self, String> {
        let [certificate] = bundle.der() else {
            return Err(format!(
                "ca.crt has {} certificates; it must have exactly one, the root",
                bundle.der().len()
            ));
        };
        let read = Leaf::read(certificate).map_err(|error| error.to_string())?;
        if read.public_key != key.subject_public_key_info() {
            return Err("ca.key is not the key of ca.crt; restore the pair that belongs together".into());
        }
        if !read.is_authority {
            return Err("ca.crt may not sign certificates: it is not a certificate authority's".into());
        }
        if !read.is_self_issued {
            return Err("ca.crt is not self-signed; it must be the root itself".into());
        }
        let (not_before, not_after) = (read.not_before, read.not_after);
        let signer = Issuer::from_ca_cert_der(certificate, key)
            .map_err(|error| format!("ca.crt cannot be used for signing: {error}"))?;
        Ok(Self { signer, bundle, not_before, not_after })
    }

    pub(super) fn signer(&self) -> &Issuer<'static, RootKey> {
        &self.signer
    }

    pub(super) fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    pub(super) fn not_before(&self) -> SystemTime {
        self.not_before
    }

    pub(super) fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The key, to be written down.
    pub(super) fn key(&self) -> Result<PrivateKey, CaError> {
        let der = PrivatePkcs8KeyDer::from(self.signer.key().0.serialize_der());
        PrivateKey::from_der(der.into()).map_err(CaError::Certificate)
    }
}

/// The key of a root, wiped when it is dropped.
pub(super) struct RootKey(KeyPair);

impl Drop for RootKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(elided)")
    }
}

impl PublicKeyData for RootKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for RootKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn authority() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn read(params: &CertificateParams, key: &KeyPair) -> Result<Root, String> {
        let certificate = params.self_signed(key).expect("a certificate");
        Root::read(&certificate.pem(), &key.serialize_pem(), SystemClock.now())
    }

    #[test]
    fn a_root_of_another_making_is_taken() {
        for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
            let key = KeyPair::generate_for(kind).expect("a key");
            let root = read(&authority(), &key).expect("it is an authority");
            let params = CertificateParams::default();
            params.signed_by(&KeyPair::generate().expect("a key"), root.signer()).expect("it signs");
        }
    }

    #[test]
    fn an_authority_that_must_not_sign_certificates_is_refused() {
        let mut params = authority();
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let error = read(&params, &KeyPair::generate().expect("a key")).err();
        assert!(error.expect("it is refused").contains("may not sign certificates"));
    }

    #[test]
    fn an_authority_under_another_is_refused() {
        let above = Issuer::new(CertificateParams::default(), KeyPair::generate().expect("a key"));
        let mut params = authority();
        params.distinguished_name = profile::distinguished_name(Some("below".into()));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &above).expect("a certificate");
        let error = Root::read(&certificate.pem(), &key.serialize_pem(), SystemClock.now()).err();
        assert!(error.expect("it is refused").contains("not self-signed"));
    }

    /// I11: nothing of a root's key shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_root_key() {
        let root = Root::new(SystemClock.now()).expect("a root");
        assert!(format!("{:?}", root.signer()).contains("elided"));
        assert_eq!(format!("{:?}", root.signer().key()), "RootKey(elided)");
    }
}
