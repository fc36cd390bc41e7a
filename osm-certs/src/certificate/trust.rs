//! The roots that certificates must lead to.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::{Certificates, InvalidCertificate, Leaf, read_pem};

/// The roots of trust of a mesh: a certificate is believed if it leads to one
/// of them. Never empty: an empty bundle could be mistaken for trust in all.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustBundle(Arc<Certificates>);

impl TrustBundle {
    /// Roots in DER.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn from_der(
        der: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, InvalidCertificate> {
        Certificates::new(der.into_iter().collect()).map(|certificates| Self(Arc::new(certificates)))
    }

    /// Roots in PEM. Blocks of other kinds are skipped.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn from_pem(text: &str) -> Result<Self, InvalidCertificate> {
        Self::from_der(read_pem(text)?)
    }

    /// The roots in PEM, each ended by a line break.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The roots in DER. Never empty.
    #[must_use]
    pub fn der(&self) -> &[CertificateDer<'static>] {
        &self.0.der
    }

    /// Whether each of them is a root by what it says of itself: an authority that is its own issuer.
    /// Intermediates may stand here as well, where who gives the bundle says so.
    #[must_use]
    pub fn is_of_roots(&self) -> bool {
        let is_root = |read: Leaf| read.is_authority && read.is_self_issued;
        self.0.der.iter().all(|root| Leaf::read(root).is_ok_and(is_root))
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustBundle({} roots)", self.0.der.len())
    }
}
