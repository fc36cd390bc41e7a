//! Certificates, keys and the roots that certificates lead to, as values.
//!
//! Each is made once from DER or PEM and shared from then on: clones are cheap.
//! It is not the place to judge whether a certificate serves; the manager does.

mod key;
mod leaf;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

pub use key::PrivateKey;
pub(crate) use leaf::Leaf;
pub use trust::TrustBundle;

use crate::pem;
use crate::subject::{AlternativeName, Subject};

const LABEL: &str = "CERTIFICATE";

/// A text or bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCertificate {
    /// There is no certificate where at least one is needed.
    #[error("it holds no certificate")]
    NoCertificate,
    /// A certificate can't be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// A private key can't be read. The text tells nothing of the key.
    #[error("the private key cannot be read: {0}")]
    UnreadableKey(String),
}

/// A certificate and what leads from it towards a root, leaf first.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateChain(Arc<Certificates>);

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSummary {
    /// Its serial number, in the form of [`Certified::serial`].
    pub serial: String,
    /// The URIs among its names.
    pub uris: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Certificates in both forms.
#[derive(PartialEq, Eq)]
struct Certificates {
    der: Vec<CertificateDer<'static>>,
    pem: String,
}

impl CertificateChain {
    /// A chain of certificates in DER, leaf first.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn from_der(
        der: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, InvalidCertificate> {
        Certificates::new(der.into_iter().collect()).map(|certificates| Self(Arc::new(certificates)))
    }

    /// A chain of certificates in PEM, leaf first. Blocks of other kinds are skipped.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn from_pem(text: &str) -> Result<Self, InvalidCertificate> {
        Self::from_der(read_pem(text)?)
    }

    /// The certificates in PEM, leaf first, each ended by a line break.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// What the leaf says of itself. For display: nothing of it is verified.
    #[must_use]
    pub fn leaf(&self) -> LeafSummary {
        let leaf = Leaf::read(&self.0.der[0]).expect("every certificate was read when the chain was made");
        let names = leaf.names.unwrap_or_default().into_iter();
        let uris = names.filter_map(|name| match name {
            AlternativeName::Uri(uri) => Some(uri.to_string()),
            _ => None,
        });
        LeafSummary { serial: leaf.serial, uris: uris.collect(), not_after: leaf.not_after }
    }

    /// The certificates in DER, leaf first. Never empty.
    #[must_use]
    pub fn der(&self) -> &[CertificateDer<'static>] {
        &self.0.der
    }
}

impl fmt::Debug for CertificateChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateChain({} certificates)", self.0.der.len())
    }
}

impl Certificates {
    fn new(der: Vec<CertificateDer<'static>>) -> Result<Self, InvalidCertificate> {
        if der.is_empty() {
            return Err(InvalidCertificate::NoCertificate);
        }
        der.iter().try_for_each(|certificate| Leaf::read(certificate).map(drop))?;
        let mut text = String::new();
        der.iter().for_each(|certificate| pem::append(&mut text, LABEL, certificate));
        Ok(Self { der, pem: text })
    }
}

fn read_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| InvalidCertificate::Unreadable(error.to_string()))
}

/// A certificate with its key: all that its owner needs to prove itself.
///
/// Whoever makes one answers for key and chain belonging together and for the
/// names being the subject's; the manager checks both.
#[derive(Debug, Clone)]
pub struct Certified {
    subject: Subject,
    chain: CertificateChain,
    key: PrivateKey,
    not_before: SystemTime,
    not_after: SystemTime,
    serial: Arc<str>,
}

impl Certified {
    /// Joins a chain and the key of its leaf.
    ///
    /// # Errors
    /// When the leaf can't be read.
    pub fn new(
        subject: Subject,
        chain: CertificateChain,
        key: PrivateKey,
    ) -> Result<Self, InvalidCertificate> {
        let Leaf { not_before, not_after, serial, .. } = Leaf::read(&chain.der()[0])?;
        Ok(Self { subject, chain, key, not_before, not_after, serial: serial.into() })
    }

    /// Whom it is for.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// The leaf's private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The leaf is not valid before this time.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The leaf is not valid after this time.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The leaf's serial number: bytes in lower-case hexadecimal, joined by colons,
    /// as `openssl x509 -text` writes them. (Envoy's `/certs` leaves the colons out.)
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Chain and key as rustls takes them, for a TLS server or client of this
    /// process. The copy of the key is the caller's to keep safe.
    #[must_use]
    pub fn to_rustls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.der().to_vec(), self.key.der().clone_key())
    }
}
