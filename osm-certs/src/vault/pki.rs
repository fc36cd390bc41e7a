//! What the engine is asked, and what is made of its answers.

use std::time::Duration;

use osm_core::model::ServiceKey;
use serde::Serialize;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::answer::{Certificate, EngineIssuer};
use crate::certificate::{CertificateChain, InvalidCertificate, Leaf, TrustBundle};
use crate::issuer::IssuerError;
use crate::subject::{AlternativeName, Subject};

/// A request for a certificate: the same names in it as in the certification request, since it is
/// the role that says which are taken.
#[derive(Serialize)]
pub(super) struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    csr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
    /// A common name is for people; it is an alternative name only if it is one.
    exclude_cn_from_sans: bool,
    alt_names: String,
    ip_sans: String,
    uri_sans: String,
    ttl: String,
    format: &'static str,
    /// Of the key, where the server makes it.
    private_key_format: &'static str,
}

impl<'a> Asked<'a> {
    pub(super) fn new(subject: &Subject, validity: Duration, csr: Option<&'a str>) -> Self {
        let (mut dns, mut addresses, mut uris) = (Vec::new(), Vec::new(), Vec::new());
        for name in subject.names() {
            match name {
                AlternativeName::Dns(name) => dns.push(name),
                AlternativeName::Ip(address) => addresses.push(address.to_string()),
                AlternativeName::Uri(uri) => uris.push(uri),
            }
        }
        Self {
            csr,
            common_name: subject.common_name(),
            exclude_cn_from_sans: true,
            alt_names: dns.join(","),
            ip_sans: addresses.join(","),
            uri_sans: uris.join(","),
            ttl: format!("{}s", validity.as_secs().max(1)),
            format: "pem",
            private_key_format: "pkcs8",
        }
    }
}

/// The certificate and what leads from it to the root, without the root.
pub(super) fn chain(answer: &Certificate) -> Result<CertificateChain, IssuerError> {
    let mut text = with_line_end(&answer.certificate);
    match &answer.ca_chain {
        Some(above) if !above.is_empty() => above.iter().for_each(|one| text.push_str(&with_line_end(one))),
        _ => text.extend(answer.issuing_ca.as_deref().map(with_line_end)),
    }
    let unreadable = |error| IssuerError::refused("Vault's certificate cannot be read").because(error);
    let all = CertificateChain::from_pem(&text).map_err(unreadable)?;
    let (leaf, above) =
        all.der().split_first().ok_or_else(|| unreadable(InvalidCertificate::NoCertificate))?;
    let intermediates = above.iter().filter(|one| Leaf::read(one).is_ok_and(|read| !read.is_self_issued));
    CertificateChain::from_der([leaf].into_iter().chain(intermediates).cloned()).map_err(unreadable)
}

/// The roots above an issuer of the engine.
pub(super) fn roots(issuer: &EngineIssuer) -> Result<TrustBundle, IssuerError> {
    let mut text = with_line_end(&issuer.certificate);
    issuer.ca_chain.iter().flatten().for_each(|one| text.push_str(&with_line_end(one)));
    let unreadable = |error| IssuerError::refused("the issuer's certificate cannot be read").because(error);
    let all = TrustBundle::from_pem(&text).map_err(unreadable)?;
    let mut roots = Vec::new();
    for one in all.der().iter().filter(|one| Leaf::read(one).is_ok_and(|read| read.is_self_issued)) {
        if !roots.contains(one) {
            roots.push(one.clone());
        }
    }
    TrustBundle::from_der(roots).map_err(|_| {
        IssuerError::refused(
            "the engine does not know the root above its issuer: import it into the engine, or give it in the \
             mesh's settings",
        )
    })
}

/// Whether a role makes keys of the kind that is wished, or of one that will do where none is.
pub(super) fn check_kind(
    role: &str,
    chain: &CertificateChain,
    wished: Option<ServiceKey>,
) -> Result<(), IssuerError> {
    let leaf = Leaf::read(&chain.der()[0])
        .map_err(|error| IssuerError::refused("Vault's certificate cannot be read").because(error))?;
    let made = kind(&leaf.public_key);
    if made.is_some() && wished.is_none_or(|wished| made == Some(wished)) {
        return Ok(());
    }
    let made = made.map_or("a kind that proxies do not take", |made| settings(made).0);
    let (name, key_type, bits) = settings(wished.unwrap_or_default());
    Err(IssuerError::refused(format!(
        "role {role} makes keys of {made} where the mesh has {name}: set its `key_type` to {key_type} and its \
         `key_bits` to {bits}, correct `certKeyBitSize` of the MeshConfig, or let the mesh make the keys"
    )))
}

/// The kind of a public key, as SubjectPublicKeyInfo in DER.
fn kind(public_key: &[u8]) -> Option<ServiceKey> {
    let (_, info) = SubjectPublicKeyInfo::from_der(public_key).ok()?;
    match info.parsed().ok()? {
        PublicKey::EC(point) if point.key_size() == 256 => Some(ServiceKey::P256),
        PublicKey::EC(point) if point.key_size() == 384 => Some(ServiceKey::P384),
        PublicKey::RSA(key) => match key.key_size() {
            2048 => Some(ServiceKey::Rsa2048),
            3072 => Some(ServiceKey::Rsa3072),
            4096 => Some(ServiceKey::Rsa4096),
            _ => None,
        },
        _ => None,
    }
}

/// What a kind is called, and a role's settings for it.
fn settings(kind: ServiceKey) -> (&'static str, &'static str, u32) {
    match kind {
        ServiceKey::P256 => ("ECDSA P-256", "ec", 256),
        ServiceKey::P384 => ("ECDSA P-384", "ec", 384),
        ServiceKey::Rsa2048 => ("RSA 2048", "rsa", 2048),
        ServiceKey::Rsa3072 => ("RSA 3072", "rsa", 3072),
        ServiceKey::Rsa4096 => ("RSA 4096", "rsa", 4096),
    }
}

fn with_line_end(pem: &str) -> String {
    let mut text = pem.trim().to_owned();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrolment::Enrolment;

    #[test]
    fn what_is_asked_for_has_all_names_in_their_places() {
        let names =
            ["osm-controller.osm-system.svc", "127.0.0.1", "::1"].map(|name| name.parse().expect("a name"));
        let asked = Asked::new(&Subject::control_plane(names), Duration::from_millis(3_600_900), Some("csr"));
        let text = serde_json::to_value(&asked).expect("it is written");
        assert_eq!(text["alt_names"], "osm-controller.osm-system.svc");
        assert_eq!(text["ip_sans"], "127.0.0.1,::1");
        assert_eq!((&text["uri_sans"], &text["ttl"]), (&"".into(), &"3600s".into()));
        let proxy =
            Subject::Workload(format!("spiffe://td/{}/shop", "x".repeat(200)).parse().expect("an identity"));
        let text =
            serde_json::to_value(Asked::new(&proxy, Duration::from_secs(60), None)).expect("it is written");
        assert!(text.get("common_name").is_none() && text.get("csr").is_none(), "{text}");
    }
    #[test]
    fn each_kind_of_key_is_known_by_its_public_part() {
        let subject = Subject::Workload("spiffe://td/till/shop".parse().expect("an identity"));
        for wished in [
            ServiceKey::P256,
            ServiceKey::P384,
            ServiceKey::Rsa2048,
            ServiceKey::Rsa3072,
            ServiceKey::Rsa4096,
        ] {
            let made = Enrolment::with_key(subject.clone(), Duration::from_secs(60), wished).expect("a key");
            assert_eq!(kind(made.request.public_key()), Some(wished));
        }
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        assert_eq!(kind(&rcgen::PublicKeyData::subject_public_key_info(&other)), None);
        assert_eq!(kind(&[]), None);
    }
}
