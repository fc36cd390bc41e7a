//! What certificates and requests of this project look like beyond their names.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType,
};

use crate::subject::{AlternativeName, Subject, Usage};

/// The organisation in every certificate. With it the distinguished name is
/// never empty, which some readers of certificates do not expect.
pub(crate) const ORGANIZATION: &str = "Open Service Mesh";

/// What a subject's certificate says, apart from times and serial number, and
/// what a request asks for.
pub(crate) fn leaf(subject: &Subject) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(subject.common_name());
    params.subject_alt_names = subject.names().iter().map(alternative_name).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    // Keys sign and never encipher, those of RSA neither: no TLS that is spoken has them do it.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = subject.usages().iter().map(extended_usage).collect();
    Ok(params)
}

/// A distinguished name.
pub(crate) fn distinguished_name(common_name: Option<String>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}

fn alternative_name(name: &AlternativeName) -> Result<SanType, Error> {
    Ok(match name {
        AlternativeName::Uri(uri) => SanType::URI(uri.as_str().try_into()?),
        AlternativeName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
        AlternativeName::Ip(address) => SanType::IpAddress(*address),
    })
}

fn extended_usage(usage: &Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }
}
