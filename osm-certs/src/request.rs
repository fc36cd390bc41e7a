//! Requests for a certificate. The private key stays with who asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateSigningRequestDer;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::names;
use crate::pem;
use crate::subject::{Subject, Usage};

/// A request to certify a subject's public key.
///
/// It carries a certification request (PKCS#10, RFC 2986) for issuers that want
/// one. Its names are the subject's, no more and no fewer: that is checked when
/// the request is made, so an issuer may go by either. Its signature is not
/// checked: only holders of the key have a use for the certificate.
#[derive(Clone)]
pub struct SigningRequest {
    subject: Subject,
    validity: Duration,
    body: Arc<Body>,
}

struct Body {
    der: CertificateSigningRequestDer<'static>,
    pem: String,
    public_key: Vec<u8>,
}

/// Why something is not a request for this subject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// The certification request can't be read.
    #[error("the certification request cannot be read: {0}")]
    Unreadable(String),
    /// The certification request asks for other names than the subject's.
    #[error("the certification request asks for other names than those of {0}")]
    OtherNames(Subject),
    /// A certificate without life, or a subject without a name, is of no use.
    #[error("the validity is zero, or {0} has no name")]
    Empty(Subject),
}

impl SigningRequest {
    /// A request for a certificate that is valid for so long from now on, at most.
    ///
    /// # Errors
    /// When the certification request can't be read or asks for other names than
    /// the subject's, when the validity is zero, or the subject has no name.
    pub fn new(
        subject: Subject,
        csr: CertificateSigningRequestDer<'static>,
        validity: Duration,
    ) -> Result<Self, InvalidRequest> {
        let names = subject.names();
        if validity.is_zero() || names.is_empty() {
            return Err(InvalidRequest::Empty(subject));
        }
        let (_, parsed) = X509CertificationRequest::from_der(&csr)
            .map_err(|error| InvalidRequest::Unreadable(error.to_string()))?;
        let mut asked = Vec::new();
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                asked.extend(&names.general_names);
            }
        }
        if names::read(asked).map_err(InvalidRequest::Unreadable)? != names {
            return Err(InvalidRequest::OtherNames(subject));
        }
        let public_key = parsed.certification_request_info.subject_pki.raw.to_vec();
        let mut text = String::new();
        pem::append(&mut text, "CERTIFICATE REQUEST", &csr);
        Ok(Self { subject, validity, body: Arc::new(Body { der: csr, pem: text, public_key }) })
    }

    /// The same key for another subject or validity, as only a wrong issuer would sign it.
    #[cfg(feature = "testing")]
    pub(crate) fn altered(&self, subject: Subject, validity: Duration) -> Self {
        Self { subject, validity, body: Arc::clone(&self.body) }
    }

    /// Whom the certificate is for; its names are [`Subject::names`].
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How long the certificate may be valid from now on, at most.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.validity
    }

    /// What the certificate is to be used for.
    #[must_use]
    pub fn usages(&self) -> &'static [Usage] {
        self.subject.usages()
    }

    /// The public key, as SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.body.public_key
    }

    /// The certification request in DER.
    #[must_use]
    pub fn csr_der(&self) -> &CertificateSigningRequestDer<'static> {
        &self.body.der
    }

    /// The certification request in PEM.
    #[must_use]
    pub fn csr_pem(&self) -> &str {
        &self.body.pem
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningRequest")
            .field("subject", &format_args!("{}", self.subject))
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}
