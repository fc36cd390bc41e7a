//! A certificate to fill secrets with, where no connection is made.

use anyhow::{Context, Result};

/// A certificate that is its own authority, and its key.
#[derive(Clone)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Pem {
    /// Makes one that nobody trusts.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn throwaway() -> Result<Self> {
        let made =
            rcgen::generate_simple_self_signed(vec!["test".to_owned()]).context("making a certificate")?;
        Ok(Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}
