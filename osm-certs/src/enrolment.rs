//! New keys and the requests to certify them.

use std::time::Duration;

use osm_core::model::ServiceKey;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;
use zeroize::Zeroize;

use crate::certificate::{InvalidCertificate, PrivateKey};
use crate::profile;
use crate::request::{InvalidRequest, SigningRequest};
use crate::subject::Subject;

/// A new private key and the request to certify it.
///
/// Making one takes some tens of microseconds of computing for ECDSA, and up to
/// seconds for RSA; the manager makes them off the asynchronous threads.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The key, which stays here.
    pub key: PrivateKey,
    /// The request, which an issuer is to sign.
    pub request: SigningRequest,
}

/// Why there is no new key or request.
#[derive(Debug, Error)]
pub enum EnrolmentError {
    /// The cryptography fails: no random numbers, most likely.
    #[error("no key and request could be made")]
    Cryptography(#[source] rcgen::Error),
    /// The key that was made can't be used.
    #[error("the new key cannot be used")]
    Key(#[source] InvalidCertificate),
    /// The subject or the validity is of no use.
    #[error("the request is of no use")]
    Request(#[source] InvalidRequest),
}

impl Enrolment {
    /// Makes an ECDSA key on P-256, and the request for a certificate that is valid for so long.
    ///
    /// # Errors
    /// When the validity is zero, the subject has no name, or the cryptography fails.
    pub fn new(subject: Subject, validity: Duration) -> Result<Self, EnrolmentError> {
        Self::with_key(subject, validity, ServiceKey::P256)
    }

    /// The same with a key of another kind. Keys of RSA take a while to make: do
    /// it off the asynchronous threads.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_key(subject: Subject, validity: Duration, key: ServiceKey) -> Result<Self, EnrolmentError> {
        Self::of_pair(subject, validity, new_pair(key).map_err(EnrolmentError::Cryptography)?)
    }

    /// The request for a key that exists, as an answer for it is checked against.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the key is of a kind that nothing is signed by.
    pub fn of_key(subject: Subject, validity: Duration, key: &PrivateKey) -> Result<Self, EnrolmentError> {
        Self::of_pair(subject, validity, pair_of(key)?)
    }

    fn of_pair(subject: Subject, validity: Duration, mut pair: KeyPair) -> Result<Self, EnrolmentError> {
        let csr = profile::leaf(&subject).and_then(|params| params.serialize_request(&pair));
        let key = PrivateKey::from_der(PrivatePkcs8KeyDer::from(pair.serialize_der()).into());
        pair.zeroize();
        let csr = csr.map_err(EnrolmentError::Cryptography)?;
        let request = SigningRequest::new(subject, csr.der().clone(), validity);
        Ok(Self {
            key: key.map_err(EnrolmentError::Key)?,
            request: request.map_err(EnrolmentError::Request)?,
        })
    }
}

/// The public key that belongs to a private one, as SubjectPublicKeyInfo in DER.
pub(crate) fn public_key(key: &PrivateKey) -> Result<Vec<u8>, EnrolmentError> {
    let mut pair = pair_of(key)?;
    let public_key = pair.subject_public_key_info();
    pair.zeroize();
    Ok(public_key)
}

fn pair_of(key: &PrivateKey) -> Result<KeyPair, EnrolmentError> {
    // The error of a key could quote it.
    let unusable = |_| InvalidCertificate::UnreadableKey("it is of a kind that is not known".into());
    KeyPair::try_from(key.der()).map_err(unusable).map_err(EnrolmentError::Key)
}

fn new_pair(key: ServiceKey) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    match key {
        ServiceKey::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        ServiceKey::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        ServiceKey::Rsa2048 => rsa(RsaKeySize::_2048),
        ServiceKey::Rsa3072 => rsa(RsaKeySize::_3072),
        ServiceKey::Rsa4096 => rsa(RsaKeySize::_4096),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(account: &str) -> Subject {
        Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
    }

    #[test]
    fn a_request_for_other_names_is_refused() {
        let till = Enrolment::new(subject("till"), Duration::from_secs(60)).expect("a request");
        let csr = till.request.csr_der().clone();
        let error = SigningRequest::new(subject("thief"), csr.clone(), Duration::from_secs(60));
        assert!(matches!(error, Err(InvalidRequest::OtherNames(_))), "{error:?}");
        SigningRequest::new(subject("till"), csr, Duration::from_secs(60)).expect("its own names");
    }

    #[test]
    fn a_request_for_a_key_that_exists_is_for_that_key() {
        for kind in [ServiceKey::P256, ServiceKey::P384, ServiceKey::Rsa2048] {
            let made =
                Enrolment::with_key(subject("till"), Duration::from_secs(60), kind).expect("a request");
            let again =
                Enrolment::of_key(subject("till"), Duration::from_secs(60), &made.key).expect("a request");
            assert_eq!(again.request.public_key(), made.request.public_key());
            assert_eq!(public_key(&made.key).expect("a key"), made.request.public_key());
            assert_eq!(again.key.pem(), made.key.pem());
        }
        let garbage =
            PrivateKey::from_der(PrivatePkcs8KeyDer::from(vec![1, 2, 3]).into()).expect("some bytes");
        let error =
            Enrolment::of_key(subject("till"), Duration::from_secs(60), &garbage).expect_err("no key");
        assert!(matches!(error, EnrolmentError::Key(_)), "{error:?}");
    }

    #[test]
    fn a_request_of_no_use_is_refused() {
        let error = Enrolment::new(subject("till"), Duration::ZERO).expect_err("no validity");
        assert!(matches!(error, EnrolmentError::Request(InvalidRequest::Empty(_))), "{error:?}");
        let error = Enrolment::new(Subject::control_plane([]), Duration::from_secs(1)).expect_err("no name");
        assert!(matches!(error, EnrolmentError::Request(_)), "{error:?}");
    }

    /// I11: what is asked for shows; the key does not.
    #[test]
    fn i11_a_new_key_shows_nowhere_but_in_the_key() {
        let made = Enrolment::new(subject("till"), Duration::from_secs(60)).expect("a request");
        let text = format!("{made:?}");
        assert!(text.contains("PrivateKey(elided)") && text.contains("till"), "{text}");
        let body: String = made.key.pem().lines().filter(|line| !line.contains("KEY")).collect();
        assert!(body.len() > 100 && !made.request.csr_pem().replace('\n', "").contains(&body[90..130]));
    }
}
