//! Certificates and trust.

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate,
};
use osm_core::diagnostic::Origin;
use osm_core::ir::{InboundAccess, InboundService};

use super::access::{self, Clients};
use super::{inbound, names, resource, tls};
use crate::resource::{Resource, ResourceKind};

/// The authorities that the mesh trusts, as concatenated PEM certificates.
#[must_use]
pub fn trust_secret(bundle_pem: &str) -> Resource {
    let name = names::TRUST_SECRET.to_owned();
    secret(name, Type::ValidationContext(validation(bundle_pem, &Clients::Everyone)), Vec::new())
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

/// Who may connect to a TCP service: the authorities that the mesh trusts, and
/// the names of the clients unless everyone is one.
///
/// It stands apart from the listener so that a change of policy leaves the
/// service's filter chain, and with it all open connections, as they are.
///
/// `None` for HTTP, where requests are decided on one by one, and when nobody
/// may connect: then there is no filter chain that could ask for it.
#[must_use]
pub fn validation_secret(service: &InboundService, bundle_pem: &str) -> Option<Resource> {
    let InboundAccess::Tcp(access) = &service.access else { return None };
    let content = Type::ValidationContext(validation(bundle_pem, &access::tcp(access)?));
    let origins = super::distinct(inbound::origins(service));
    Some(secret(names::inbound_validation(service), content, origins))
}

fn validation(bundle_pem: &str, clients: &Clients) -> CertificateValidationContext {
    let names = match clients {
        Clients::Everyone => Vec::new(),
        Clients::These(named) => tls::sans(named),
    };
    CertificateValidationContext {
        trusted_ca: Some(inline(bundle_pem)),
        match_typed_subject_alt_names: names,
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
