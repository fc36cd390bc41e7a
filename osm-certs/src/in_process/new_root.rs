//! What a new root is made like.

use rcgen::{
    BasicConstraints, CertificateParams, Error, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};

use crate::profile;

/// The common name of a new root, the one that Open Service Mesh's has.
const COMMON_NAME: &str = "osm-ca.openservicemesh.io";

/// What a new root is made like. All has defaults.
///
/// ```
/// use osm_certs::in_process::{InProcessCa, NewRoot, RootAlgorithm};
///
/// let mut new = NewRoot::default();
/// new.algorithm = RootAlgorithm::P384;
/// new.permitted_dns = vec!["cluster.local".into(), "svc".into()];
/// let ca = InProcessCa::ephemeral_as(&new)?;
/// # drop(ca);
/// # Ok::<(), osm_certs::in_process::CaError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRoot {
    /// What it signs by: ECDSA P-256.
    pub algorithm: RootAlgorithm,
    /// The DNS names that it may certify, with all below each; empty is any. A mesh that has another
    /// trust domain later needs another root then. URIs and addresses stay free: not all who read
    /// certificates understand constraints on them, and refuse what they don't.
    pub permitted_dns: Vec<String>,
}

/// What a root signs by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootAlgorithm {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519. Workloads' own keys can't be of this kind: Envoy refuses them.
    Ed25519,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl NewRoot {
    /// A key for it.
    pub(super) fn key(&self) -> Result<KeyPair, Error> {
        match self.algorithm {
            RootAlgorithm::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            RootAlgorithm::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            RootAlgorithm::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            RootAlgorithm::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            RootAlgorithm::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
    }

    /// What its certificate says, apart from times and serial number. It may sign leaves only.
    pub(super) fn parameters(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = profile::distinguished_name(Some(COMMON_NAME.into()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let permitted = self.permitted_dns.iter().cloned().map(GeneralSubtree::DnsName);
        params.name_constraints = (!self.permitted_dns.is_empty()).then(|| NameConstraints {
            permitted_subtrees: permitted.collect(),
            excluded_subtrees: Vec::new(),
        });
        params
    }
}
