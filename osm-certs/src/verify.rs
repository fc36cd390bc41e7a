//! Whether what an issuer gave may be used: the check before anything is published.
//!
//! It does not take an issuer's word for anything but the signature.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::{CertificateChain, InvalidCertificate, Leaf, TrustBundle};
use crate::request::SigningRequest;
use crate::subject::{AlternativeName, Usage};

/// A certificate that ends within this time would end before it reached all who
/// need it.
pub const LEAST_LIFE: Duration = Duration::from_secs(10);

/// Why a chain may not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unusable {
    /// It certifies another key than the request's.
    #[error("the certificate is for another key")]
    OtherKey,
    /// It has other names than the request's subject.
    #[error("the certificate has other names: asked for [{asked}], given [{given}]")]
    OtherNames {
        /// What was asked for.
        asked: String,
        /// What was given.
        given: String,
    },
    /// It is not valid yet.
    #[error("the certificate is not valid yet")]
    NotValidYet,
    /// It has ended, or is about to.
    #[error("the certificate has ended or is about to")]
    Ended,
    /// It leads to no root of the trust bundle.
    #[error("the certificate leads to no root of the trust bundle")]
    UnknownRoot,
    /// It may not be used for what the subject needs.
    #[error("the certificate may not be used for a {0:?}")]
    OtherUsage(Usage),
    /// The chain is broken otherwise.
    #[error("the chain is not valid: {0}")]
    Invalid(String),
}

impl From<InvalidCertificate> for Unusable {
    fn from(error: InvalidCertificate) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Checks a chain against what was asked for: key, names, usages, times, and that
/// it leads to a root.
///
/// # Errors
/// When it must not be used.
pub fn verify(
    request: &SigningRequest,
    chain: &CertificateChain,
    trust: &TrustBundle,
    now: SystemTime,
) -> Result<(), Unusable> {
    let leaf = Leaf::read(&chain.der()[0])?;
    if leaf.public_key != request.public_key() {
        return Err(Unusable::OtherKey);
    }
    let asked = request.subject().names();
    match &leaf.names {
        Ok(given) if *given == asked => {}
        Ok(given) => return Err(Unusable::OtherNames { asked: list(&asked), given: list(given) }),
        Err(reason) => {
            return Err(Unusable::OtherNames { asked: list(&asked), given: reason.clone() });
        }
    }
    if leaf.not_after < now + LEAST_LIFE {
        return Err(Unusable::Ended);
    }
    leads_to(chain, trust, request.usages(), now)
}

/// Checks that a chain leads to a root for these usages at this time.
///
/// # Errors
/// When it does not.
pub fn leads_to(
    chain: &CertificateChain,
    trust: &TrustBundle,
    usages: &[Usage],
    now: SystemTime,
) -> Result<(), Unusable> {
    let (leaf, intermediates) = chain.der().split_first().ok_or(InvalidCertificate::NoCertificate)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| Unusable::Invalid(error.to_string()))?;
    let anchors = anchors(trust.der())?;
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Unusable::NotValidYet)?;
    let time = UnixTime::since_unix_epoch(since_epoch);
    for usage in usages {
        let needed = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, intermediates, time, needed, None, None)
            .map_err(|error| unusable(&error, *usage))?;
    }
    Ok(())
}

fn anchors<'a>(roots: &'a [CertificateDer<'static>]) -> Result<Vec<TrustAnchor<'a>>, Unusable> {
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>();
    anchors.map_err(|error| Unusable::Invalid(format!("a root cannot be used: {error}")))
}

fn unusable(error: &webpki::Error, usage: Usage) -> Unusable {
    match error {
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => Unusable::UnknownRoot,
        webpki::Error::CertExpired { .. } => Unusable::Ended,
        webpki::Error::CertNotValidYet { .. } => Unusable::NotValidYet,
        webpki::Error::RequiredEkuNotFoundContext(_) => Unusable::OtherUsage(usage),
        other => Unusable::Invalid(other.to_string()),
    }
}

fn list(names: &BTreeSet<AlternativeName>) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
