//! Reading what a certificate says.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::InvalidCertificate;
use crate::names::{self, AlternativeName};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) serial: String,
    /// The alternative names, or why they are none that a mesh uses.
    pub(crate) names: Result<BTreeSet<AlternativeName>, String>,
    /// The public key as SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
    /// Whether it may sign certificates.
    pub(crate) is_authority: bool,
    /// How many authorities may be between it and a leaf; `None` is any number.
    pub(crate) path_length: Option<u32>,
    /// Whether it names itself as its issuer.
    pub(crate) is_self_issued: bool,
}

impl Leaf {
    /// Reads a certificate; its signature is not looked at.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let unreadable = |error: String| InvalidCertificate::Unreadable(error);
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable(format!("{} bytes follow its end", rest.len())));
        }
        let names = parsed.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let may_sign = parsed.key_usage().map_err(|error| unreadable(error.to_string()))?;
        let may_sign = may_sign.is_none_or(|usage| usage.value.key_cert_sign());
        let constraints = parsed.basic_constraints().map_err(|error| unreadable(error.to_string()))?;
        Ok(Self {
            path_length: constraints.and_then(|constraints| constraints.value.path_len_constraint),
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
            serial: parsed.raw_serial_as_string(),
            names: names::read(names),
            public_key: parsed.public_key().raw.to_vec(),
            is_authority: parsed.is_ca() && may_sign,
            is_self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
        })
    }
}

fn time(time: ASN1Time) -> Result<SystemTime, InvalidCertificate> {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let moment = if time.timestamp() < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
    moment.ok_or_else(|| InvalidCertificate::Unreadable("its validity is beyond all clocks".into()))
}
