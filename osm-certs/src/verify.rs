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
/// How much later a certificate may end than was asked: the clock of who signed it may be ahead.
pub const CLOCK_DIFFERENCE: Duration = Duration::from_secs(2 * 60 * 60);

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
    /// It is valid for longer than was asked.
    #[error("the certificate is valid for longer than the {} s that were asked for", .0.as_secs())]
    TooLong(Duration),
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

impl Unusable {
    /// It has other names than were asked for.
    pub(crate) fn other_names(asked: &BTreeSet<AlternativeName>, given: &BTreeSet<AlternativeName>) -> Self {
        Self::OtherNames { asked: list(asked), given: list(given) }
    }
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
        Ok(given) => return Err(Unusable::other_names(&asked, given)),
        Err(reason) => {
            return Err(Unusable::OtherNames { asked: list(&asked), given: reason.clone() });
        }
    }
    // One that is not valid yet ends late for a clock that is behind: that is said first.
    check_service(&leaf, chain, trust, request.usages(), now)?;
    match ends_in_time(leaf.not_after, request.validity(), now) {
        true => Ok(()),
        false => Err(Unusable::TooLong(request.validity())),
    }
}

/// Whether a certificate serves at this time: for long enough to reach all who need it, and with a chain
/// that leads to a root.
pub(crate) fn check_service(
    leaf: &Leaf,
    chain: &CertificateChain,
    trust: &TrustBundle,
    usages: &[Usage],
    now: SystemTime,
) -> Result<(), Unusable> {
    if is_ending(leaf, now) {
        return Err(Unusable::Ended);
    }
    leads_to(chain, trust, usages, now)
}

/// Whether a certificate has ended, or would end before it reached all who need it.
pub(crate) fn is_ending(leaf: &Leaf, now: SystemTime) -> bool {
    leaf.not_after < now + LEAST_LIFE
}

/// Whether a certificate that ends then lives for no longer than is asked now.
pub(crate) fn ends_in_time(not_after: SystemTime, validity: Duration, now: SystemTime) -> bool {
    let latest = now.checked_add(validity.saturating_add(CLOCK_DIFFERENCE));
    latest.is_none_or(|latest| not_after <= latest)
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
