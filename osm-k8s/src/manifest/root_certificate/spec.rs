//! The fields of a MeshRootCertificate.
//!
//! What has to be one of several is a type here: there is no root with two providers, and none without.

use std::num::NonZeroU16;
use std::time::Duration;

use osm_core::identity::TrustDomain;
use osm_core::name::{NamespaceName, ObjectName};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::text::{DataKey, Host, Identifier, KindName, PemText, Segment, SegmentPath};
use crate::crds::schema::{self, DURATION};
use crate::manifest::{duration, field};

/// The shortest time for which proxies are waited for before a step is taken without them, or back.
pub const MIN_PATIENCE: Duration = Duration::from_secs(60);

/// A root of the mesh's certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootCertificateSpec {
    /// Who keeps the root. It never changes: another provider is another MeshRootCertificate.
    #[schemars(extend("x-kubernetes-validations" = [json!({
        "rule": "self == oldSelf", "message": "the provider never changes; make another MeshRootCertificate",
    })]))]
    pub provider: ProviderSpec,
    /// What the root is for: it signs (active), it is trusted only (passive), or neither (inactive).
    pub role: RoleSpec,
    /// The trust domain of identities under this root. It never changes.
    #[serde(default = "default_trust_domain", deserialize_with = "trust_domain")]
    #[schemars(
        schema_with = "schema::dns_subdomain",
        extend(
            "x-written-default" = "cluster.local",
            "x-kubernetes-validations" = [json!({
                "rule": "self == oldSelf", "message": "the trust domain never changes; make another MeshRootCertificate",
            })]
        )
    )]
    pub trust_domain: TrustDomain,
    /// Whether identities are asked to be SPIFFE URIs too. They are in any case. It never changes.
    #[serde(default, deserialize_with = "field::nullable")]
    #[schemars(extend(
        "x-written-default" = false,
        "x-kubernetes-validations" = [json!({
            "rule": "self == oldSelf", "message": "spiffeEnabled never changes; make another MeshRootCertificate",
        })]
    ))]
    pub spiffe_enabled: bool,
    /// Whether the change of roots stands still until this is false again.
    #[serde(default, deserialize_with = "field::nullable")]
    pub paused: bool,
    /// For how long a step towards this root waits for proxies; for ever where it is left out.
    #[serde(default)]
    pub patience: Option<PatienceSpec>,
}

/// What a root is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleSpec {
    /// It is trusted and signs nothing.
    Passive,
    /// It signs, or may.
    Active,
    /// It is for nothing.
    Inactive,
}

/// For how long proxies are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatienceSpec {
    /// How long one step may last, at least a minute.
    #[serde(deserialize_with = "bound")]
    #[schemars(with = "String", extend("pattern" = DURATION))]
    pub bound: Duration,
    /// What comes then: `GoOn` without those that are late, or `GoBack` to the root that signed before.
    pub then: ThenSpec,
}

/// What comes when proxies were waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ThenSpec {
    /// The step is taken without them. Those that were skipped may fail until they are back.
    GoOn,
    /// The root that signed before signs on.
    GoBack,
}

/// Who keeps a root: exactly one of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ProviderFields")]
pub enum ProviderSpec {
    /// cert-manager.
    CertManager(CertManagerSpec),
    /// Vault or OpenBao.
    Vault(Box<VaultSpec>),
    /// The mesh's own authority.
    Tresor(TresorSpec),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct ProviderFields {
    /// cert-manager signs, or who else answers its requests.
    cert_manager: Option<CertManagerSpec>,
    /// The PKI engine of a Vault or OpenBao server signs.
    vault: Option<Box<VaultSpec>>,
    /// The mesh signs itself.
    tresor: Option<TresorSpec>,
}

/// A root behind an issuer of cert-manager.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertManagerSpec {
    /// The issuer's name.
    #[serde(deserialize_with = "field::parsed")]
    #[schemars(schema_with = "schema::dns_subdomain")]
    pub issuer_name: ObjectName,
    /// Its kind: `Issuer` unless written otherwise.
    #[serde(default)]
    pub issuer_kind: Option<KindName>,
    /// The group of its kind: `cert-manager.io` unless written otherwise.
    #[serde(default, deserialize_with = "field::parsed_option")]
    #[schemars(schema_with = "schema::dns_subdomain")]
    pub issuer_group: Option<ObjectName>,
    /// The roots of trust, for an issuer that does not name its own.
    #[serde(default)]
    pub roots: Option<PemSpec>,
}

/// A root that a Vault or OpenBao server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "VaultFields")]
pub struct VaultSpec {
    pub(super) fields: VaultFields,
    pub(super) login: LoginSpec,
}

/// How many logins there have to be, in the language of the API server.
const ONE_LOGIN: &str =
    "[has(self.token), has(self.kubernetes), has(self.appRole)].filter(it, it).size() == 1";
const ONE_LOGIN_MESSAGE: &str = "write exactly one of `token`, `kubernetes` and `appRole`";

/// How a server is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginSpec {
    Token(TokenSpec),
    Kubernetes(KubernetesLoginSpec),
    AppRole(AppRoleSpec),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [json!({ "rule": ONE_LOGIN, "message": ONE_LOGIN_MESSAGE })]))]
pub(super) struct VaultFields {
    /// The server's host.
    pub(super) host: Host,
    /// Its port.
    pub(super) port: NonZeroU16,
    /// How it is spoken to.
    pub(super) protocol: Protocol,
    /// The role of the PKI engine.
    pub(super) role: Segment,
    /// Log in by a token. One of `token`, `kubernetes` and `appRole` is written.
    token: Option<TokenSpec>,
    /// Log in by the service account of the control plane.
    kubernetes: Option<KubernetesLoginSpec>,
    /// Log in by an AppRole.
    app_role: Option<AppRoleSpec>,
    /// The namespace that engine and login are in.
    pub(super) namespace: Option<SegmentPath>,
    /// Where the PKI engine is mounted: `pki` unless written otherwise.
    pub(super) mount: Option<SegmentPath>,
    /// The engine's issuer whose root is trusted: `default` unless written otherwise.
    pub(super) issuer: Option<Segment>,
    /// Who makes keys: the mesh, and the server signs (`sign`, unless written otherwise), or the server (`issue`).
    pub(super) method: Option<Method>,
    /// The authority of the server's own certificate.
    pub(super) ca: Option<PemSpec>,
    /// The roots of trust, where the engine does not know the one above its issuer.
    pub(super) roots: Option<PemSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Http,
    Https,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    Sign,
    Issue,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenSpec {
    /// The Secret that has it.
    pub(super) secret_key_ref: SecretEntrySpec,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KubernetesLoginSpec {
    /// The role of the login method.
    pub(super) role: Identifier,
    /// Where the method is mounted: `kubernetes` unless written otherwise.
    pub(super) mount: Option<SegmentPath>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AppRoleSpec {
    /// The role's identifier.
    pub(super) role_id: Identifier,
    /// What proves that the role may be used.
    pub(super) secret_id: TokenSpec,
    /// Where the method is mounted: `approle` unless written otherwise.
    pub(super) mount: Option<SegmentPath>,
}

/// A root of the mesh's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TresorSpec {
    /// Where the root is kept.
    pub ca: TresorCaSpec,
}

/// Where a root of the mesh's own is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TresorCaSpec {
    /// The Secret with certificate and key. It is made where there is none.
    pub secret_ref: RootSecretSpec,
}

/// A Secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootSecretSpec {
    /// Its name.
    #[serde(deserialize_with = "field::parsed")]
    #[schemars(schema_with = "schema::dns_subdomain")]
    pub name: ObjectName,
    /// Its namespace; the object's own where none is written.
    #[serde(default, deserialize_with = "field::parsed_option")]
    #[schemars(schema_with = "schema::dns_label")]
    pub namespace: Option<NamespaceName>,
}

/// One value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEntrySpec {
    /// The Secret's name.
    #[serde(deserialize_with = "field::parsed")]
    #[schemars(schema_with = "schema::dns_subdomain")]
    pub name: ObjectName,
    /// The key of the value.
    pub key: DataKey,
    /// The Secret's namespace; the object's own where none is written.
    #[serde(default, deserialize_with = "field::parsed_option")]
    #[schemars(schema_with = "schema::dns_label")]
    pub namespace: Option<NamespaceName>,
}

/// Certificates: here, or in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PemFields")]
pub enum PemSpec {
    /// Here.
    Text(PemText),
    /// In a Secret.
    Secret(SecretEntrySpec),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct PemFields {
    /// The certificates, PEM.
    pem: Option<PemText>,
    /// The Secret that has them.
    secret_key_ref: Option<SecretEntrySpec>,
}

impl TryFrom<ProviderFields> for ProviderSpec {
    type Error = &'static str;

    fn try_from(fields: ProviderFields) -> Result<Self, Self::Error> {
        match (fields.cert_manager, fields.vault, fields.tresor) {
            (Some(cert_manager), None, None) => Ok(Self::CertManager(cert_manager)),
            (None, Some(vault), None) => Ok(Self::Vault(vault)),
            (None, None, Some(tresor)) => Ok(Self::Tresor(tresor)),
            _ => Err("write exactly one of `certManager`, `vault` and `tresor`"),
        }
    }
}

impl TryFrom<VaultFields> for VaultSpec {
    type Error = &'static str;

    fn try_from(mut fields: VaultFields) -> Result<Self, Self::Error> {
        let login = match (fields.token.take(), fields.kubernetes.take(), fields.app_role.take()) {
            (Some(token), None, None) => LoginSpec::Token(token),
            (None, Some(kubernetes), None) => LoginSpec::Kubernetes(kubernetes),
            (None, None, Some(app_role)) => LoginSpec::AppRole(app_role),
            _ => return Err(ONE_LOGIN_MESSAGE),
        };
        Ok(Self { fields, login })
    }
}

impl TryFrom<PemFields> for PemSpec {
    type Error = &'static str;

    fn try_from(fields: PemFields) -> Result<Self, Self::Error> {
        match (fields.pem, fields.secret_key_ref) {
            (Some(text), None) => Ok(Self::Text(text)),
            (None, Some(secret)) => Ok(Self::Secret(secret)),
            _ => Err("write exactly one of `pem` and `secretKeyRef`"),
        }
    }
}

/// A type whose fields are those of another one.
macro_rules! schema_of {
    ($($name:ident = $fields:ident;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                $fields::json_schema(generator)
            }
        })*
    };
}

schema_of! {
    ProviderSpec = ProviderFields;
    VaultSpec = VaultFields;
    PemSpec = PemFields;
}

fn default_trust_domain() -> TrustDomain {
    "cluster.local".parse().expect("`cluster.local` is a name")
}

fn trust_domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TrustDomain, D::Error> {
    Ok(field::parsed_option(deserializer)?.unwrap_or_else(default_trust_domain))
}

fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    match duration::parse(&text) {
        Ok(bound) if bound < MIN_PATIENCE => Err(D::Error::custom("it is shorter than a minute")),
        Ok(bound) => Ok(bound),
        Err(reason) => {
            Err(D::Error::custom(format!("it is not a duration: {reason}; write it as `1h` or `30m`")))
        }
    }
}
