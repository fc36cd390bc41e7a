//! MeshRootCertificate: a root of the mesh's certificates, who keeps it, and what it is for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::TrustDomain;
use crate::name::{ObjectName, QualifiedName};

use super::Meta;

/// A root of the mesh's certificates. Nothing secret is in it: secrets are named.
///
/// The name says which root it is. Provider and trust domain of a name never change:
/// another provider is another root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootCertificate {
    /// Generation and place.
    pub meta: Meta,
    /// Its name; those beside the MeshConfig count.
    pub name: QualifiedName,
    /// What people want it to be for.
    pub role: RootRole,
    /// The trust domain of the identities under it.
    pub trust_domain: TrustDomain,
    /// Whether identities are asked to be URIs too. They are in any case.
    pub spiffe: bool,
    /// Who keeps it.
    pub provider: RootProvider,
    /// Whether no step of a change of roots is to be taken.
    pub is_paused: bool,
    /// For how long proxies are waited for when this root is to sign; `None` is for ever.
    pub patience: Option<RootPatience>,
}

impl RootCertificate {
    /// A root that is for nothing yet, in the trust domain `cluster.local`.
    #[must_use]
    pub fn new(name: QualifiedName, provider: RootProvider) -> Self {
        Self {
            meta: Meta::default(),
            name,
            role: RootRole::Inactive,
            trust_domain: "cluster.local".parse().expect("`cluster.local` is a name"),
            spiffe: false,
            provider,
            is_paused: false,
            patience: None,
        }
    }
}

/// How many roots may be in use: a mesh changes from one to one other.
pub const MAX_ROOTS_IN_USE: usize = 2;
/// How many roots may be trusted at a time. Who has changed his mind more often waits until some are withdrawn.
pub const MAX_TRUSTED_ROOTS: usize = 64;

/// What a root is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootRole {
    /// It signs, or may.
    Active,
    /// It is trusted and signs nothing.
    Passive,
    /// It is for nothing.
    Inactive,
}

impl fmt::Display for RootRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Inactive => "inactive",
        })
    }
}

/// For how long proxies are waited for, and what comes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootPatience {
    /// How long a step may last.
    pub bound: Duration,
    /// What comes then.
    pub then: WhenLate,
}

/// What comes when proxies were waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLate {
    /// The step is taken without them. This is the one way in which proxies come to refuse each other: one that was
    /// skipped fails until it trusts the new root, has a certificate of it, or has the file by which it believes the control plane.
    GoOn,
    /// The root that signed when the wish came signs on, until there is another wish.
    GoBack,
}

/// Who keeps a root, and signs by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootProvider {
    /// The mesh itself.
    InProcess {
        /// The Secret with certificate and key, which is made where there is none.
        secret: QualifiedName,
    },
    /// The PKI engine of a Vault or OpenBao server.
    Vault(Box<VaultRoot>),
    /// cert-manager.
    CertManager(CertManagerRoot),
}

impl fmt::Display for RootProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProcess { secret } => write!(f, "the mesh's own authority in Secret {secret}"),
            Self::Vault(vault) => write!(f, "Vault at {} ({}/{})", vault.address, vault.mount, vault.role),
            Self::CertManager(CertManagerRoot { issuer_name, issuer_kind, .. }) => {
                write!(f, "cert-manager's {issuer_kind} {issuer_name}")
            }
        }
    }
}

/// A root that a Vault or OpenBao server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultRoot {
    /// Where the server is: `https://HOST:PORT`, or `http://`.
    pub address: String,
    /// The namespace that engine and login are in.
    pub namespace: Option<String>,
    /// Where the PKI engine is mounted: `pki`.
    pub mount: String,
    /// The role of the engine.
    pub role: String,
    /// The engine's issuer whose root is trusted: `default`.
    pub issuer: String,
    /// Whether the server makes the keys. Otherwise the mesh does, and the server signs.
    pub makes_keys: bool,
    /// How the server is told who asks.
    pub login: VaultLogin,
    /// The authority of the server's own certificate.
    pub ca: Option<PemSource>,
    /// The roots of trust, for an engine that does not know the one above its issuer.
    pub roots: Option<PemSource>,
}

impl VaultRoot {
    /// A server, a role of its engine `pki`, and a login.
    #[must_use]
    pub fn new(address: impl Into<String>, role: impl Into<String>, login: VaultLogin) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            mount: "pki".to_owned(),
            role: role.into(),
            issuer: "default".to_owned(),
            makes_keys: false,
            login,
            ca: None,
            roots: None,
        }
    }
}

/// How a Vault server is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultLogin {
    /// By a token.
    Token(SecretEntry),
    /// By the service account of the control plane.
    Kubernetes {
        /// Where the login method is mounted.
        mount: String,
        /// The method's role.
        role: String,
    },
    /// By the two identifiers of an AppRole.
    AppRole {
        /// Where the login method is mounted.
        mount: String,
        /// The role's identifier.
        role_id: String,
        /// What proves that the role may be used.
        secret_id: SecretEntry,
    },
}

/// A root behind an issuer of cert-manager, or of one that answers its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertManagerRoot {
    /// The issuer's name.
    pub issuer_name: ObjectName,
    /// Its kind: `Issuer`, `ClusterIssuer` or another one.
    pub issuer_kind: String,
    /// The group of its kind.
    pub issuer_group: String,
    /// The roots of trust, for an issuer that does not name its own.
    pub roots: Option<PemSource>,
}

impl CertManagerRoot {
    /// An `Issuer` of cert-manager itself.
    #[must_use]
    pub fn new(issuer_name: ObjectName) -> Self {
        let (issuer_kind, issuer_group) = ("Issuer".to_owned(), "cert-manager.io".to_owned());
        Self { issuer_name, issuer_kind, issuer_group, roots: None }
    }
}

/// Where certificates stand, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// Here.
    Text(Arc<str>),
    /// In a Secret, which may change.
    Secret(SecretEntry),
}

/// One value of a Secret, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretEntry {
    /// The Secret.
    pub secret: QualifiedName,
    /// The key of the value.
    pub key: String,
}

impl fmt::Display for SecretEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of Secret {}", self.key, self.secret)
    }
}
