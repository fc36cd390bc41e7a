//! Certificates and trust.

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate,
};
use osm_core::diagnostic::Origin;
use osm_core::identity::Principal;
use osm_core::ir::{Access, InboundAccess, InboundService};
use std::collections::BTreeSet;

use super::{names, resource, tls};
use crate::resource::{Resource, ResourceKind};

/// The authorities that the mesh trusts, as concatenated PEM certificates.
#[must_use]
pub fn trust_secret(bundle_pem: &str) -> Resource {
    let name = names::TRUST_SECRET.to_owned();
    secret(name, Type::ValidationContext(validation(bundle_pem, &BTreeSet::new())), Vec::new())
}

/// A workload's certificate chain and private key, in PEM.
#[must_use]
pub fn certificate_secret(chain_pem: &str, key_pem: &str) -> Resource {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(chain_pem)),
        private_key: Some(inline(key_pem)),
        ..Default::default()
    };
    secret(names::CERTIFICATE_SECRET.to_owned(), Type::TlsCertificate(certificate), Vec::new())
}

/// The trust of a TCP service whose clients are named, and those names.
///
/// For a service of which everyone or nobody is a client there is nothing to
/// name; the secret then accepts no one, and nothing refers to it.
#[must_use]
pub fn validation_secret(service: &InboundService, bundle_pem: &str) -> Resource {
    let mut clients: BTreeSet<Principal> = BTreeSet::new();
    let mut origins = vec![service.origin.clone()];
    if let InboundAccess::Tcp(Access::These(rules)) = &service.access {
        clients.extend(rules.iter().flat_map(|rule| rule.principals.iter().cloned()));
        origins.extend(rules.iter().map(|rule| rule.origin.clone()));
    }
    let trusted = if clients.is_empty() { "" } else { bundle_pem };
    let name = names::inbound_validation(service);
    secret(name, Type::ValidationContext(validation(trusted, &clients)), super::distinct(origins))
}

fn validation(bundle_pem: &str, clients: &BTreeSet<Principal>) -> CertificateValidationContext {
    CertificateValidationContext {
        trusted_ca: Some(inline(bundle_pem)),
        match_typed_subject_alt_names: tls::sans(clients),
        ..Default::default()
    }
}

fn secret(name: String, content: Type, origins: Vec<Origin>) -> Resource {
    let message = Secret { name: name.clone(), r#type: Some(content) };
    resource(ResourceKind::Secret, name, &message, Vec::new(), origins)
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() }
}
