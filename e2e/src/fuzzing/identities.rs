//! Who somebody is, read from texts and certificates of strangers.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use osm_certs::certificate::{CertificateChain, PrivateKey, TrustBundle};
use osm_certs::request::SigningRequest;
use osm_certs::subject::{AlternativeName, ServerName, Subject};
use osm_core::identity::{Principal, ProxyId, ProxyUuid, ServiceIdentity, TrustDomain};
use osm_core::name::{NamespaceName, ObjectName, QualifiedName};
use osm_xds::server::{CertificateAuthenticator, Evidence, ProxyAuthenticator};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::script::Script;

/// The longest error about a text, in bytes: a hostile name makes no hostile log.
const MAX_ERROR: usize = 2_000;

/// Reads bytes as a name, a certificate or a request for one. What is read is
/// written in exactly one way, and nobody is taken for two.
pub fn identities(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    match script.below(4) {
        0 => text(&String::from_utf8_lossy(script.rest())),
        1 => certificate(script.rest()),
        2 => pem(&String::from_utf8_lossy(script.rest())),
        _ => request(script.rest()),
    }
}

fn text(text: &str) {
    round_trips::<ObjectName>(text);
    round_trips::<NamespaceName>(text);
    round_trips::<QualifiedName>(text);
    round_trips::<TrustDomain>(text);
    round_trips::<ProxyUuid>(text);
    round_trips::<ServiceIdentity>(text);
    round_trips::<Principal>(text);
    if let Ok(name) = text.parse::<ServerName>() {
        // An address has more than one text, a name only one.
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    match ProxyId::from_uri(text) {
        Ok((trust_domain, proxy)) => {
            assert_eq!(proxy.uri(&trust_domain), text);
            assert!(text.parse::<Principal>().is_err(), "{text} is a proxy and a workload");
        }
        Err(error) => is_harmless(&error.to_string()),
    }
    if let Ok(principal) = text.parse::<Principal>() {
        names_of(&principal);
    }
}

/// A text that is read is what is written.
fn round_trips<T>(text: &str)
where
    T: FromStr<Err: Display> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text, "{value:?}"),
        Err(error) => is_harmless(&error.to_string()),
    }
}

/// A workload's certificate names it and nobody else.
fn names_of(principal: &Principal) {
    let names = Subject::Workload(principal.clone()).names();
    let uris: Vec<_> = names.iter().filter(|name| matches!(name, AlternativeName::Uri(_))).collect();
    assert_eq!(uris, [&AlternativeName::Uri(principal.to_string())]);
}

fn certificate(der: &[u8]) {
    let der = CertificateDer::from(der.to_vec());
    proxy_of(&der);
    match CertificateChain::from_der([der.clone()]) {
        Ok(chain) => {
            assert_eq!(chain.der(), [der]);
            assert_eq!(CertificateChain::from_pem(chain.pem()).as_ref(), Ok(&chain));
            let leaf = chain.leaf();
            assert!(leaf.serial.is_ascii());
        }
        Err(error) => is_harmless(&error.to_string()),
    }
}

/// A stranger is taken for a proxy only by the one URI of the certificate.
fn proxy_of(der: &CertificateDer<'static>) {
    for claimed in ["6f1a", "till-1", ""] {
        let node = Node { id: claimed.to_owned(), ..Node::default() };
        let evidence = Evidence {
            peer_certificates: std::slice::from_ref(der),
            bearer: None,
            node: &node,
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let trust_domain: TrustDomain = "cluster.local".parse().expect("a trust domain");
        let authenticator = CertificateAuthenticator::new(trust_domain.clone());
        let deciding = pin!(authenticator.authenticate(evidence));
        let Poll::Ready(decision) = deciding.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a decision by certificate waits for nothing")
        };
        match decision {
            Ok(proxy) => {
                assert_eq!(proxy.uuid.as_str(), claimed);
                let uri = proxy.uri(&trust_domain);
                let is_in_it = der.windows(uri.len()).any(|part| part == uri.as_bytes());
                assert!(is_in_it, "{uri} is not in the certificate");
            }
            Err(error) => is_harmless(&error.to_string()),
        }
    }
}

fn pem(text: &str) {
    if let Ok(bundle) = TrustBundle::from_pem(text) {
        assert!(!bundle.der().is_empty(), "an empty bundle could be taken for trust in all");
        assert_eq!(TrustBundle::from_pem(bundle.pem()), Ok(bundle));
    }
    if let Err(error) = PrivateKey::from_pem(text) {
        is_harmless(&error.to_string());
    }
}

fn request(der: &[u8]) {
    let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a principal"));
    let csr = CertificateSigningRequestDer::from(der.to_vec());
    match SigningRequest::new(subject.clone(), csr, Duration::from_secs(60)) {
        Ok(request) => assert_eq!(*request.subject(), subject),
        Err(error) => is_harmless(&error.to_string()),
    }
}

/// A message that quotes a stranger is short and changes nothing on a terminal.
fn is_harmless(message: &str) {
    assert!(message.len() <= MAX_ERROR, "{} bytes: {message:?}", message.len());
    let odd = message.chars().find(|&c| c != ' ' && c.escape_debug().count() > 1 && !"\\'\"".contains(c));
    assert_eq!(odd, None, "{message:?}");
}
