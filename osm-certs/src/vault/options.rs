//! The settings of the issuer on Vault.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use thiserror::Error;

use crate::manager::Backoff;
use crate::secret::Secret;

/// The settings of a [`VaultIssuer`](super::VaultIssuer).
///
/// ```
/// use osm_certs::vault::{Login, VaultOptions};
///
/// let login = Login::kubernetes("mesh", "/var/run/secrets/vault/token");
/// let mut options = VaultOptions::new("https://vault.vault.svc:8200", "openservicemesh", login);
/// options.ca_file = Some("/etc/vault/ca.crt".into());
/// assert_eq!(options.mount, "pki");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VaultOptions {
    /// Where the server is: `https://HOST:PORT`, or `http://` where nobody can listen.
    pub address: String,
    /// The namespace that engine and login are in.
    pub namespace: Option<String>,
    /// Where the PKI engine is mounted: `pki`.
    pub mount: String,
    /// The role of the engine that certificates are asked of.
    pub role: String,
    /// The name or identifier of the engine's issuer whose root is trusted: `default`. It has
    /// to be the one that the role signs with.
    pub issuer: String,
    /// Who makes the keys.
    pub method: Method,
    /// How the server is told who asks.
    pub login: Login,
    /// The certificates of the authority that the server's own certificate leads to, PEM.
    /// Read again when it changes. `https` needs it.
    pub ca_file: Option<PathBuf>,
    /// The roots of trust, PEM, for an engine that does not know the root above its issuer.
    pub roots_file: Option<PathBuf>,
    /// How long one answer may take: 15 s.
    pub patience: Duration,
    /// How many requests are under way at a time, and so how many connections there are: 16.
    pub connections: usize,
    /// The waits after a login that got no answer: from 1 s to 10 s.
    pub soon: Backoff,
    /// The waits after a login that was refused, unless what it is proven by changes: from 3 to 15 min,
    /// since servers lock an account that fails five times within 15 min.
    pub rarely: Backoff,
}

/// Who makes the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// This process, and the server signs (`sign/ROLE`): keys never travel.
    #[default]
    Sign,
    /// The server (`issue/ROLE`), as Open Service Mesh has it: keys come with the certificates.
    Issue,
}

/// How the server is told who asks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Login {
    /// By a token that somebody else has got. It is renewed as long as the server allows.
    Token(SecretSource),
    /// By the token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted: `kubernetes`.
        mount: String,
        /// The method's role.
        role: String,
        /// The file with the service account's token, which the kubelet keeps fresh.
        token_file: PathBuf,
    },
    /// By the two identifiers of an AppRole.
    AppRole {
        /// Where the method is mounted: `approle`.
        mount: String,
        /// The role's identifier.
        role_id: String,
        /// What proves that the role may be used.
        secret_id: SecretSource,
    },
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Here.
    Given(Secret),
    /// In a file, which is read again when it changes.
    File(PathBuf),
}

/// Settings that no server could be asked with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the setting `{setting}` of Vault is of no use: {reason}")]
pub struct InvalidOptions {
    /// Which.
    pub setting: &'static str,
    /// Why, and what to do.
    pub reason: String,
}

impl VaultOptions {
    /// The settings for a server, a role of its PKI engine and a login; all others have defaults.
    #[must_use]
    pub fn new(address: impl Into<String>, role: impl Into<String>, login: Login) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            mount: "pki".into(),
            role: role.into(),
            issuer: "default".into(),
            method: Method::default(),
            login,
            ca_file: None,
            roots_file: None,
            patience: Duration::from_secs(15),
            connections: 16,
            soon: Backoff { first: Duration::from_secs(1), most: Duration::from_secs(10) },
            rarely: Backoff { first: Duration::from_secs(3 * 60), most: Duration::from_secs(15 * 60) },
        }
    }

    /// Whether requests can be made of these settings; gives the address.
    pub(super) fn check(&self) -> Result<Uri, InvalidOptions> {
        segments("mount", &self.mount)?;
        segment("role", &self.role)?;
        segment("issuer", &self.issuer)?;
        match &self.login {
            Login::Token(_) => {}
            Login::Kubernetes { mount, .. } | Login::AppRole { mount, .. } => segments("login mount", mount)?,
        }
        if self.namespace.as_ref().is_some_and(|name| http::HeaderValue::from_str(name).is_err()) {
            return Err(invalid("namespace", "it has characters that no namespace has"));
        }
        self.check_address()
    }

    fn check_address(&self) -> Result<Uri, InvalidOptions> {
        let uri: Uri = self.address.parse().map_err(|_| invalid("address", "it is not https://HOST:PORT"))?;
        if uri.authority().is_none() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("address", "it is not https://HOST:PORT"));
        }
        match (uri.scheme_str(), &self.ca_file) {
            (Some("https"), Some(_)) | (Some("http"), _) => Ok(uri),
            (Some("https"), None) => {
                Err(invalid("ca_file", "https needs the authority that signed the server's certificate"))
            }
            _ => Err(invalid("address", "it begins with neither https:// nor http://")),
        }
    }
}

impl Login {
    /// By a token that is given.
    #[must_use]
    pub fn token(token: impl Into<String>) -> Self {
        Self::Token(SecretSource::Given(Secret::new(token)))
    }

    /// By a token in a file, which an agent keeps fresh.
    #[must_use]
    pub fn token_file(path: impl Into<PathBuf>) -> Self {
        Self::Token(SecretSource::File(path.into()))
    }

    /// By the token of a Kubernetes service account in a file, where the method is mounted as usual.
    #[must_use]
    pub fn kubernetes(role: impl Into<String>, token_file: impl Into<PathBuf>) -> Self {
        Self::Kubernetes { mount: "kubernetes".into(), role: role.into(), token_file: token_file.into() }
    }

    /// By an AppRole, where the method is mounted as usual.
    #[must_use]
    pub fn app_role(role_id: impl Into<String>, secret_id: SecretSource) -> Self {
        Self::AppRole { mount: "approle".into(), role_id: role_id.into(), secret_id }
    }

    /// The file with what proves who asks.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Kubernetes { token_file, .. } => Some(token_file),
            Self::Token(source) | Self::AppRole { secret_id: source, .. } => match source {
                SecretSource::File(path) => Some(path),
                SecretSource::Given(_) => None,
            },
        }
    }

    /// Whether a login gets tokens, which are this process' own then.
    pub(super) fn gets_tokens(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

/// A path of names, as engines are mounted at.
fn segments(setting: &'static str, path: &str) -> Result<(), InvalidOptions> {
    path.split('/').try_for_each(|name| segment(setting, name))
}

/// One name in a path.
fn segment(setting: &'static str, name: &str) -> Result<(), InvalidOptions> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_known) {
        return Err(invalid(setting, "a name has letters, digits, `-`, `_` and `.`, and no slash around it"));
    }
    Ok(())
}

fn invalid(setting: &'static str, reason: &str) -> InvalidOptions {
    InvalidOptions { setting, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> VaultOptions {
        VaultOptions::new("http://127.0.0.1:8200", "mesh", Login::token("s.secret"))
    }

    #[test]
    fn a_setting_that_leads_elsewhere_is_named() {
        assert!(options().check().is_ok());
        let refused = |change: fn(&mut VaultOptions), setting: &str| {
            let mut options = options();
            change(&mut options);
            let error = options.check().expect_err(setting);
            assert_eq!(error.setting, setting, "{error}");
        };
        refused(|options| options.address = "vault:8200".into(), "address");
        refused(|options| options.address = "ftp://vault".into(), "address");
        refused(|options| options.address = "http://vault/v1/x".into(), "address");
        refused(|options| options.address = "https://vault:8200".into(), "ca_file");
        refused(|options| options.mount = "pki/../sys".into(), "mount");
        refused(|options| options.mount = "/pki".into(), "mount");
        refused(|options| options.role = "a/b".into(), "role");
        refused(|options| options.role = "a?b".into(), "role");
        refused(|options| options.issuer = String::new(), "issuer");
        refused(|options| options.namespace = Some("a\nb".into()), "namespace");
        refused(
            |options| {
                options.login =
                    Login::Kubernetes { mount: "a b".into(), role: "r".into(), token_file: "/t".into() };
            },
            "login mount",
        );
    }

    /// I11: nothing of a token shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_token() {
        let shown = format!("{:?}", options());
        assert!(shown.contains("elided") && !shown.contains("s.secret"), "{shown}");
    }
}
