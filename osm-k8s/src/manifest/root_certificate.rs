//! MeshRootCertificate (config.openservicemesh.io/v1alpha2).
//!
//! Everything is checked while it is read: a root that can't be understood keeps its last good state, and is
//! never one root less. What is written here names secrets and has none.

mod spec;
mod text;

use osm_core::model::{self, RootProvider, RootRole, VaultLogin};
use osm_core::name::{Kind, NamespaceName, ObjectName, ObjectRef, QualifiedName};
use serde::Deserialize;

use super::conversion::Findings;
use super::field::Ignored;
use super::{Conversion, Metadata};
use spec::{AppRoleSpec, KubernetesLoginSpec, LoginSpec, Method, Protocol};

pub use spec::{
    CertManagerSpec, MIN_PATIENCE, PatienceSpec, PemSpec, ProviderSpec, RoleSpec, RootCertificateSpec,
    RootSecretSpec, SecretEntrySpec, ThenSpec, TresorCaSpec, TresorSpec, VaultSpec,
};
pub use text::{DataKey, Host, Identifier, KindName, PemText, Segment, SegmentPath};

/// A MeshRootCertificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshRootCertificate {
    #[serde(default, rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is wished of the root, and who keeps it.
    pub spec: RootCertificateSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

impl MeshRootCertificate {
    /// The root as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let fact = self.root();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::MeshRootCertificate, &fact.name));
        if let ProviderSpec::Vault(vault) = &self.spec.provider {
            vault.check(&mut findings);
        }
        findings.with(fact)
    }

    /// The root that it describes.
    #[must_use]
    pub fn root(&self) -> model::RootCertificate {
        let spec = &self.spec;
        let provider = spec.provider.model(&self.metadata.namespace());
        let mut root = model::RootCertificate::new(self.metadata.qualified_name(), provider);
        root.meta = self.metadata.meta();
        root.role = match spec.role {
            RoleSpec::Active => RootRole::Active,
            RoleSpec::Passive => RootRole::Passive,
            RoleSpec::Inactive => RootRole::Inactive,
        };
        root.trust_domain = spec.trust_domain.clone();
        root.spiffe = spec.spiffe_enabled;
        root.is_paused = spec.paused;
        root.patience = spec.patience.map(|PatienceSpec { bound, then }| model::RootPatience {
            bound,
            then: match then {
                ThenSpec::GoOn => model::WhenLate::GoOn,
                ThenSpec::GoBack => model::WhenLate::GoBack,
            },
        });
        root
    }
}

impl ProviderSpec {
    fn model(&self, own: &NamespaceName) -> RootProvider {
        match self {
            Self::Tresor(TresorSpec { ca: TresorCaSpec { secret_ref } }) => RootProvider::InProcess {
                secret: secret(&secret_ref.name, secret_ref.namespace.as_ref(), own),
            },
            Self::Vault(vault) => RootProvider::Vault(Box::new(vault.model(own))),
            Self::CertManager(spec) => {
                let mut root = model::CertManagerRoot::new(spec.issuer_name.clone());
                set(&mut root.issuer_kind, spec.issuer_kind.as_ref().map(KindName::as_str));
                set(&mut root.issuer_group, spec.issuer_group.as_ref().map(ObjectName::as_str));
                root.roots = spec.roots.as_ref().map(|roots| roots.model(own));
                RootProvider::CertManager(root)
            }
        }
    }
}

impl VaultSpec {
    /// The server's address: protocol, host and port.
    fn address(&self) -> String {
        let protocol = match self.fields.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
        };
        format!("{protocol}://{}:{}", self.fields.host, self.fields.port)
    }

    fn model(&self, own: &NamespaceName) -> model::VaultRoot {
        let Self { fields, login } = self;
        let mut root = model::VaultRoot::new(self.address(), fields.role.as_str(), login.model(own));
        root.namespace = fields.namespace.as_ref().map(|namespace| namespace.as_str().to_owned());
        set(&mut root.mount, fields.mount.as_ref().map(SegmentPath::as_str));
        set(&mut root.issuer, fields.issuer.as_ref().map(Segment::as_str));
        root.makes_keys = fields.method == Some(Method::Issue);
        root.ca = fields.ca.as_ref().map(|ca| ca.model(own));
        root.roots = fields.roots.as_ref().map(|roots| roots.model(own));
        root
    }

    fn check(&self, findings: &mut Findings) {
        if self.fields.protocol == Protocol::Http {
            let message =
                "whoever is between the mesh and the server can read the login and use it; write `https`";
            findings.warning("vault-in-the-clear", "spec.provider.vault.protocol", message);
        } else if self.fields.ca.is_none() {
            let message = "over https nothing is signed without the authority of the server's own certificate; \
                           write it as `pem` or `secretKeyRef`";
            findings.warning("vault-without-authority", "spec.provider.vault.ca", message);
        }
    }
}

impl LoginSpec {
    fn model(&self, own: &NamespaceName) -> VaultLogin {
        let mounted = |mount: &Option<SegmentPath>, usual: &str| {
            mount.as_ref().map_or(usual, SegmentPath::as_str).to_owned()
        };
        match self {
            Self::Token(token) => VaultLogin::Token(token.secret_key_ref.model(own)),
            Self::Kubernetes(KubernetesLoginSpec { role, mount }) => {
                VaultLogin::Kubernetes { mount: mounted(mount, "kubernetes"), role: role.as_str().to_owned() }
            }
            Self::AppRole(AppRoleSpec { role_id, secret_id, mount }) => VaultLogin::AppRole {
                mount: mounted(mount, "approle"),
                role_id: role_id.as_str().to_owned(),
                secret_id: secret_id.secret_key_ref.model(own),
            },
        }
    }
}

impl PemSpec {
    fn model(&self, own: &NamespaceName) -> model::PemSource {
        match self {
            Self::Text(text) => model::PemSource::Text(text.as_str().into()),
            Self::Secret(secret) => model::PemSource::Secret(secret.model(own)),
        }
    }
}

impl SecretEntrySpec {
    fn model(&self, own: &NamespaceName) -> model::SecretEntry {
        let secret = secret(&self.name, self.namespace.as_ref(), own);
        model::SecretEntry { secret, key: self.key.as_str().to_owned() }
    }
}

/// A Secret, in the namespace that is written or the object's own.
fn secret(name: &ObjectName, namespace: Option<&NamespaceName>, own: &NamespaceName) -> QualifiedName {
    QualifiedName::new(namespace.unwrap_or(own).clone(), name.clone())
}

/// Sets what is written; what is not stays as usual.
fn set(usual: &mut String, written: Option<&str>) {
    if let Some(written) = written {
        written.clone_into(usual);
    }
}

#[cfg(test)]
mod tests;
