//! Private keys: shown to nobody by accident, wiped when nobody holds them.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

use super::InvalidCertificate;
use crate::pem;

/// A private key.
///
/// `Debug` shows nothing of it, and its memory is wiped when the last clone is
/// dropped.
#[derive(Clone)]
pub struct PrivateKey(Arc<Secret>);

struct Secret {
    der: PrivateKeyDer<'static>,
    pem: Zeroizing<String>,
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.der.zeroize();
    }
}

impl PrivateKey {
    /// A key in DER: PKCS#8, or the older forms for RSA (PKCS#1) and elliptic
    /// curves (SEC 1).
    ///
    /// # Errors
    /// When it has none of these forms.
    pub fn from_der(der: PrivateKeyDer<'static>) -> Result<Self, InvalidCertificate> {
        let label = match &der {
            PrivateKeyDer::Pkcs8(_) => "PRIVATE KEY",
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => return Err(InvalidCertificate::UnreadableKey("its form is not known".into())),
        };
        let pem = pem::secret(label, der.secret_der());
        Ok(Self(Arc::new(Secret { der, pem })))
    }

    /// The first key in a PEM text.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn from_pem(text: &str) -> Result<Self, InvalidCertificate> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
            // Other errors quote the text.
            InvalidCertificate::UnreadableKey(match error {
                rustls_pki_types::pem::Error::NoItemsFound => "there is none".into(),
                _ => "it is not PEM".into(),
            })
        })?;
        Self::from_der(der)
    }

    /// The key in PEM. Whoever copies it has to keep it safe.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The key in DER.
    #[must_use]
    pub fn der(&self) -> &PrivateKeyDer<'static> {
        &self.0.der
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(elided)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    /// I11: nothing of a key shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_key() {
        let key = PrivateKey::from_pem(TEXT).expect("a key");
        assert_eq!(format!("{key:?} {key:#?}"), "PrivateKey(elided) PrivateKey(elided)");
        assert_eq!(key.pem(), TEXT);
    }

    #[test]
    fn an_unreadable_key_is_not_quoted() {
        for text in
            ["", "c2VjcmV0", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0", "-----BEGIN PRIVATE KEY c2VjcmV0"]
        {
            let error = PrivateKey::from_pem(text).expect_err("no key");
            assert!(!format!("{error} {error:?}").contains("c2VjcmV0"), "{error:?}");
        }
    }
}
