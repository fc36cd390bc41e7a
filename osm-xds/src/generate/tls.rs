//! TLS on both sides of a connection between proxies.
//!
//! Certificates and trust come from secrets, so that a rotation changes
//! nothing else. Versions, suites and groups are those of the MeshConfig. What it does not name is left to Envoy,
//! whose groups begin with X25519MLKEM768; but for the versions, since its clients stop at TLS 1.2 unless told otherwise.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, TransportSocket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
    SdsSecretConfig, SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use osm_core::identity::Principal;
use osm_core::model::{TlsSettings, TlsVersion};

use super::names;
use crate::encode::pack;

/// The side that dials: asks for `server_name` and accepts only `identities`.
pub(super) fn upstream(
    server_name: &str,
    identities: &BTreeSet<Principal>,
    settings: &TlsSettings,
) -> TransportSocket {
    let names = CertificateValidationContext {
        match_typed_subject_alt_names: sans(identities),
        ..Default::default()
    };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(names),
        validation_context_sds_secret_config: Some(secret(names::TRUST_SECRET)),
        ..Default::default()
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec![names::MESH_ALPN.to_owned()],
            ..common(ValidationContextType::CombinedValidationContext(validation), settings)
        }),
        sni: server_name.to_owned(),
        ..Default::default()
    };
    socket(pack(&context))
}

/// The side that dials, for programs that have certificates and trust from files. How they speak TLS is theirs to decide.
pub(super) fn library(server_name: &str, identities: &BTreeSet<Principal>) -> TransportSocket {
    let provider = || CertificateProviderPluginInstance {
        instance_name: names::CERTIFICATE_PROVIDER.to_owned(),
        ..Default::default()
    };
    // They know these matchers only by the older of their two names.
    #[expect(deprecated, reason = "gRFC A29 reads this field")]
    let validation = CertificateValidationContext {
        match_subject_alt_names: identities.iter().map(|identity| exactly(identity.to_string())).collect(),
        ca_certificate_provider_instance: Some(provider()),
        ..Default::default()
    };
    let common = CommonTlsContext {
        tls_certificate_provider_instance: Some(provider()),
        validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
        ..Default::default()
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: server_name.to_owned(),
        ..Default::default()
    };
    socket(pack(&context))
}

/// The side that is dialled: demands a certificate that the secret `validation`
/// accepts, and agrees to these application protocols where they are offered.
pub(super) fn downstream(validation: &str, protocols: &[&str], settings: &TlsSettings) -> TransportSocket {
    let validation = ValidationContextType::ValidationContextSdsSecretConfig(secret(validation));
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
            ..common(validation, settings)
        }),
        require_client_certificate: Some(BoolValue { value: true }),
        ..Default::default()
    };
    socket(pack(&context))
}

/// Matchers that accept exactly these identities; none would accept everyone.
pub(super) fn sans(identities: &BTreeSet<Principal>) -> Vec<SubjectAltNameMatcher> {
    let matcher = |identity: &Principal| SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(exactly(identity.to_string())),
        ..Default::default()
    };
    identities.iter().map(matcher).collect()
}

pub(super) fn exactly(text: String) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text)), ignore_case: false }
}

/// Resources come over the stream that this one came by.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

fn common(validation: ValidationContextType, settings: &TlsSettings) -> CommonTlsContext {
    CommonTlsContext {
        tls_params: Some(parameters(settings)),
        tls_certificate_sds_secret_configs: vec![secret(names::CERTIFICATE_SECRET)],
        validation_context_type: Some(validation),
        ..Default::default()
    }
}

fn parameters(settings: &TlsSettings) -> TlsParameters {
    let TlsSettings { oldest, newest, cipher_suites, curves, .. } = settings;
    TlsParameters {
        tls_minimum_protocol_version: version(*oldest).into(),
        tls_maximum_protocol_version: version(*newest).into(),
        cipher_suites: cipher_suites.iter().map(|suite| suite.as_str().to_owned()).collect(),
        ecdh_curves: curves.iter().map(|curve| curve.as_str().to_owned()).collect(),
        ..Default::default()
    }
}

fn version(version: TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    }
}

fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) }
}

fn socket(context: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(context)),
    }
}
