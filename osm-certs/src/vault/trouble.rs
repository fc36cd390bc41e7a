//! What went wrong with a server, by who can act, and what to do about it.

use std::error::Error;
use std::io;

use http::StatusCode;
use osm_core::diagnostic::harmless;

use super::answer::Refusal;
use crate::issuer::IssuerError;

/// How much of what a server says is shown, in characters.
const MAX_SHOWN: usize = 600;

/// What servers say, and what a person can do about it.
const ADVICE: &[(&str, &str)] = &[
    ("role requires keys of type", "have the role take the mesh's keys: set its `key_type` to `any` or `ec`"),
    (
        "not allowed for issuing",
        "a role that makes keys says of which kind: set its `key_type`, or let the mesh make the keys",
    ),
    ("unknown role", "make the role, or correct the name in the mesh's settings"),
    ("no handler for route", "enable the PKI engine there, or correct the mount in the mesh's settings"),
    ("unsupported path", "correct the mount in the mesh's settings: another engine is there"),
    ("unable to find PKI issuer", "correct the issuer in the mesh's settings, or import it into the engine"),
    ("common_name field is required", "set `require_cn` of the role to false: long names have only a URI"),
    (
        "not allowed by this role",
        "have the role allow the mesh's names: `allow_any_name`, `allow_ip_sans` and `allowed_uri_sans` of spiffe://*",
    ),
    ("URI Subject Alternative", "have the role allow the mesh's names: `allowed_uri_sans` of spiffe://*"),
    ("would result in notAfter", "the engine's own certificate ends too soon: renew it, or ask for less"),
    ("is sealed", "unseal it"),
];

/// The error for an answer that is none.
pub(super) fn refusal(what: &str, status: StatusCode, said: &Refusal) -> IssuerError {
    let text = said.errors.join("; ");
    let advice = ADVICE.iter().find(|(sign, _)| text.contains(sign)).map(|(_, advice)| *advice);
    let shown = harmless(text.trim(), MAX_SHOWN).to_string();
    let mut message = format!("{what}: Vault answered {}", status.as_u16());
    for part in [Some(shown.as_str()).filter(|shown| !shown.is_empty()), advice].into_iter().flatten() {
        message.push_str(": ");
        message.push_str(part);
    }
    if waiting_may_help(status) && !text.contains("unable to find PKI issuer") {
        IssuerError::unavailable(message)
    } else {
        IssuerError::refused(message)
    }
}

/// Rate limits, answers of a server that stands by or lags behind, and its own faults.
fn waiting_may_help(status: StatusCode) -> bool {
    let code = status.as_u16();
    status.is_server_error() || status.is_redirection() || matches!(code, 408 | 412 | 425 | 429 | 472 | 473)
}

/// The error for a request that got no answer.
pub(super) fn unreachable(what: &str, error: impl Error + Send + Sync + 'static) -> IssuerError {
    if bad_certificate(&error) {
        let message = format!(
            "{what}: the server's certificate does not lead to the authority in `ca_file`, or is not for this \
             address: give the right file, or correct the address"
        );
        return IssuerError::refused(message).because(error);
    }
    IssuerError::unavailable(format!("{what}: Vault could not be asked")).because(error)
}

/// Whether a handshake failed because of the server's certificate.
fn bad_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An error of the system that has another within names that one's source as its own.
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = within.map(|within| within as _).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, text: &str) -> IssuerError {
        let status = StatusCode::from_u16(status).expect("a status");
        refusal("signing", status, &Refusal { errors: vec![text.to_owned()] })
    }

    #[test]
    fn each_answer_is_told_by_who_can_act() {
        for (status, text) in [
            (503, "Vault is sealed"),
            (500, "internal error"),
            (429, "rate limit quota exceeded"),
            (307, ""),
            (412, "required index state not present"),
            (473, ""),
        ] {
            assert!(matches!(said(status, text), IssuerError::Unavailable { .. }), "{status}");
        }
        for (status, text) in [
            (400, "unknown role: mesh"),
            (403, "permission denied"),
            (404, "no handler for route \"pki/x\""),
            (405, ""),
            (500, "unable to find PKI issuer for reference: x"),
        ] {
            assert!(matches!(said(status, text), IssuerError::Refused { .. }), "{status}");
        }
    }

    #[test]
    fn what_is_known_has_advice_and_what_is_said_harms_nobody() {
        let text = said(400, "role requires keys of type rsa").to_string();
        assert!(text.contains("keys of type rsa: have the role take"), "{text}");
        let text = said(400, &format!("\u{1b}[2J{}", "x".repeat(5000))).to_string();
        assert!(text.len() < 1000 && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_server_with_a_foreign_certificate_is_refused_and_one_that_is_away_is_not() {
        let invalid = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, invalid.clone()));
        assert!(matches!(
            unreachable("x", io::Error::new(io::ErrorKind::InvalidData, invalid)),
            IssuerError::Refused { .. }
        ));
        assert!(matches!(unreachable("x", nested), IssuerError::Refused { .. }));
        let away = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(matches!(unreachable("x", away), IssuerError::Unavailable { .. }));
    }
}
