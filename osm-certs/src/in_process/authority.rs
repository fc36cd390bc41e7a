//! What signs: a root, or a certificate under a root whose key is elsewhere; and its key.

use std::fmt;
use std::time::SystemTime;

use rcgen::{Error, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroize;

use super::{BACKDATING, CaError, NewRoot, ROOT_VALIDITY, random_serial, whole_seconds};
use crate::certificate::{CertificateChain, InvalidCertificate, Leaf, PrivateKey, TrustBundle};

/// A certificate that may sign others, its key, and the roots that it leads to.
pub(super) struct Authority {
    signer: Issuer<'static, AuthorityKey>,
    /// What leads from what it signs towards a root: nothing if it is the root.
    above: Vec<CertificateDer<'static>>,
    bundle: TrustBundle,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Authority {
    /// Makes a root.
    pub(super) fn new(new: &NewRoot, now: SystemTime) -> Result<Self, CaError> {
        let key = AuthorityKey(new.key().map_err(CaError::Cryptography)?);
        let mut params = new.parameters();
        params.not_before = whole_seconds(now - BACKDATING);
        params.not_after = whole_seconds(now + ROOT_VALIDITY);
        params.serial_number =
            Some(random_serial().map_err(|_| CaError::Cryptography(Error::RingUnspecified))?);
        let certificate = params.self_signed(&key).map_err(CaError::Cryptography)?;
        let bundle = TrustBundle::from_der([certificate.der().clone()]).map_err(CaError::Certificate)?;
        Self::join(bundle, key).map_err(|reason| CaError::Refused { folder: "memory".into(), reason })
    }

    /// Joins what was read: the root and its key; the error is why it must not be used.
    pub(super) fn read(certificate: &str, key: &str, now: SystemTime) -> Result<Self, String> {
        let bundle = TrustBundle::from_pem(certificate)
            .map_err(|error| format!("ca.crt is no certificate ({error}); restore it from a copy"))?;
        Self::join(bundle, read_key(key)?)?.valid(now)
    }

    /// Joins what was read: a certificate under roots, what leads from it to them, and its key.
    pub(super) fn read_under(
        certificates: &str,
        key: &str,
        roots: &str,
        now: SystemTime,
    ) -> Result<Self, String> {
        let above = CertificateChain::from_pem(certificates)
            .map_err(|error| format!("ca.crt is no certificate ({error}); restore it from a copy"))?;
        let bundle = TrustBundle::from_pem(roots)
            .map_err(|error| format!("root.crt is no certificate ({error}); restore it from a copy"))?;
        // Readers have the roots; in the chain they would only be carried about.
        let above: Vec<_> = above.der().iter().filter(|one| !bundle.der().contains(one)).cloned().collect();
        let Some(certificate) = above.first().cloned() else {
            return Err(
                "ca.crt is the root in root.crt; keep the root's key away, and sign by one under it".into()
            );
        };
        Self::of(&certificate, above, bundle, read_key(key)?)?.valid(now)
    }

    fn join(bundle: TrustBundle, key: AuthorityKey) -> Result<Self, String> {
        let [certificate] = bundle.der() else {
            return Err(format!(
                "ca.crt has {} certificates; it must have exactly one, the root, unless that is in root.crt",
                bundle.der().len()
            ));
        };
        let certificate = certificate.clone();
        let is_root = Leaf::read(&certificate).is_ok_and(|read| read.is_self_issued);
        let joined = Self::of(&certificate, Vec::new(), bundle, key)?;
        if !is_root {
            return Err(
                "ca.crt is not self-signed; put the root that it is under beside it, as root.crt".into()
            );
        }
        Ok(joined)
    }

    fn of(
        certificate: &CertificateDer<'static>,
        above: Vec<CertificateDer<'static>>,
        bundle: TrustBundle,
        key: AuthorityKey,
    ) -> Result<Self, String> {
        let read = Leaf::read(certificate).map_err(|error| error.to_string())?;
        if read.public_key != key.subject_public_key_info() {
            return Err("ca.key is not the key of ca.crt; restore the pair that belongs together".into());
        }
        if !read.is_authority {
            return Err("ca.crt may not sign certificates: it is not a certificate authority's".into());
        }
        // No leaf may outlive what it leads through.
        let mut times = (read.not_before, read.not_after);
        for one in &above {
            let read = Leaf::read(one).map_err(|error| error.to_string())?;
            times = (times.0.max(read.not_before), times.1.min(read.not_after));
        }
        let signer = Issuer::from_ca_cert_der(certificate, key)
            .map_err(|error| format!("ca.crt cannot be used for signing: {error}"))?;
        Ok(Self { signer, above, bundle, not_before: times.0, not_after: times.1 })
    }

    fn valid(self, now: SystemTime) -> Result<Self, String> {
        if now >= self.not_after {
            return Err(if self.above.is_empty() {
                "ca.crt has ended; move both files away to have a new root made".into()
            } else {
                "ca.crt has ended, or what it leads through; have the root sign another".into()
            });
        }
        if now < self.not_before {
            return Err("ca.crt is not valid yet; is the clock right?".into());
        }
        Ok(self)
    }

    /// What leads from what it signs towards a root.
    pub(super) fn above(&self) -> &[CertificateDer<'static>] {
        &self.above
    }

    /// The roots that allow as many authorities under them as there are. Envoy looks at that, and
    /// what this process verifies with does not, for a root.
    pub(super) fn roots_that_reach(&self) -> Result<TrustBundle, InvalidCertificate> {
        let allows = |root: &CertificateDer<'_>| {
            let length = Leaf::read(root).map(|read| read.path_length).unwrap_or_default();
            length.is_none_or(|most| usize::try_from(most).is_ok_and(|most| most >= self.above.len()))
        };
        TrustBundle::from_der(self.bundle.der().iter().filter(|root| allows(root)).cloned())
    }

    pub(super) fn signer(&self) -> &Issuer<'static, AuthorityKey> {
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

/// The error of a key could quote it.
fn read_key(text: &str) -> Result<AuthorityKey, String> {
    let key = KeyPair::from_pem(text).map_err(|_| "ca.key is no private key; restore it from a copy")?;
    Ok(AuthorityKey(key))
}

/// The key of an authority, wiped when it is dropped.
pub(super) struct AuthorityKey(KeyPair);

impl Drop for AuthorityKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorityKey(elided)")
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
        PKCS_RSA_SHA256,
    };

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::profile;

    fn authority() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn read(params: &CertificateParams, key: &KeyPair) -> Result<Authority, String> {
        let certificate = params.self_signed(key).expect("a certificate");
        Authority::read(&certificate.pem(), &key.serialize_pem(), SystemClock.now())
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
        let error = Authority::read(&certificate.pem(), &key.serialize_pem(), SystemClock.now()).err();
        assert!(error.expect("it is refused").contains("not self-signed"));
    }

    /// I11: nothing of a root's key shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_root_key() {
        let root = Authority::new(&NewRoot::default(), SystemClock.now()).expect("a root");
        assert!(format!("{:?}", root.signer()).contains("elided"));
        assert_eq!(format!("{:?}", root.signer().key()), "AuthorityKey(elided)");
    }
}
