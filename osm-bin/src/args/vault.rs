//! The flags that say where a Vault server issues the mesh's certificates.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use osm_certs::vault::{Login, Method, SecretSource, VaultIssuer, VaultOptions};

/// Which server issues certificates, and how it is told who asks.
#[derive(Debug, Clone, Args)]
pub struct VaultArgs {
    /// Have certificates issued by the PKI engine of the Vault or OpenBao server there, `https://HOST:PORT`, instead of
    /// by an authority of the control plane's own
    #[arg(long, value_name = "URL", conflicts_with_all = ["ca_folder", "ca_secret"], env = "OSM_VAULT_ADDRESS")]
    pub vault_address: Option<String>,
    /// The role of the engine
    #[arg(long, value_name = "NAME", default_value = "openservicemesh", requires = "vault_address")]
    pub vault_role: String,
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH", default_value = "pki", requires = "vault_address")]
    pub vault_mount: String,
    /// The engine's issuer whose root is trusted
    #[arg(long, value_name = "NAME", default_value = "default", requires = "vault_address")]
    pub vault_issuer: String,
    /// The namespace of engine and login
    #[arg(long, value_name = "NAME", requires = "vault_address")]
    pub vault_namespace: Option<String>,
    /// The authority of the server's own certificate, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "vault_address")]
    pub vault_ca_file: Option<PathBuf>,
    /// The roots of trust, PEM, where the engine does not know the one above its issuer
    #[arg(long, value_name = "FILE", requires = "vault_address")]
    pub vault_roots_file: Option<PathBuf>,
    /// Who makes keys: the control plane, and the server signs (`sign`), or the server (`issue`)
    #[arg(long, value_name = "METHOD", default_value = "sign", requires = "vault_address")]
    pub vault_method: VaultMethod,
    /// Log in by the token in this file, which is read again when it changes
    #[arg(long, value_name = "FILE", requires = "vault_address")]
    pub vault_token_file: Option<PathBuf>,
    /// Log in by the service account of this pod, with this role of the login method
    #[arg(long, value_name = "NAME", conflicts_with = "vault_token_file", requires = "vault_address")]
    pub vault_kubernetes_role: Option<String>,
    /// The token of the service account
    #[arg(
        long,
        value_name = "FILE",
        default_value = SERVICE_ACCOUNT_TOKEN,
        requires = "vault_kubernetes_role"
    )]
    pub vault_kubernetes_token_file: PathBuf,
    /// Log in by the AppRole of this identifier
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["vault_token_file", "vault_kubernetes_role"],
        requires_all = ["vault_address", "vault_secret_id_file"]
    )]
    pub vault_app_role_id: Option<String>,
    /// What proves that the AppRole may be used
    #[arg(long, value_name = "FILE", requires = "vault_app_role_id")]
    pub vault_secret_id_file: Option<PathBuf>,
    /// Where the login method is mounted, if not as usual
    #[arg(long, value_name = "PATH", requires = "vault_address")]
    pub vault_login_mount: Option<String>,
}

/// Where a pod has the token of its service account.
pub(crate) const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Who makes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VaultMethod {
    /// The control plane.
    Sign,
    /// The server.
    Issue,
}

impl VaultArgs {
    /// The issuer, if there is to be one.
    ///
    /// # Errors
    /// When no login is said, or a flag is of no use.
    pub fn issuer(&self) -> Result<Option<VaultIssuer>> {
        let Some(address) = &self.vault_address else { return Ok(None) };
        let mut options = VaultOptions::new(address, &self.vault_role, self.login()?);
        options.mount.clone_from(&self.vault_mount);
        options.issuer.clone_from(&self.vault_issuer);
        options.namespace.clone_from(&self.vault_namespace);
        options.ca_file.clone_from(&self.vault_ca_file);
        options.roots_file.clone_from(&self.vault_roots_file);
        options.method = match self.vault_method {
            VaultMethod::Sign => Method::Sign,
            VaultMethod::Issue => Method::Issue,
        };
        VaultIssuer::new(options).map(Some).context("the flags about Vault")
    }

    fn login(&self) -> Result<Login> {
        let mut login = match (&self.vault_token_file, &self.vault_kubernetes_role, &self.vault_app_role_id) {
            (Some(file), ..) => Login::token_file(file),
            (_, Some(role), _) => Login::kubernetes(role, &self.vault_kubernetes_token_file),
            (.., Some(id)) => {
                let file = self.vault_secret_id_file.clone();
                Login::app_role(id, SecretSource::File(file.context("--vault-secret-id-file is missing")?))
            }
            (None, None, None) => bail!(
                "--vault-address needs a login: --vault-token-file, --vault-kubernetes-role or --vault-app-role-id"
            ),
        };
        if let (Some(path), Login::Kubernetes { mount, .. } | Login::AppRole { mount, .. }) =
            (&self.vault_login_mount, &mut login)
        {
            mount.clone_from(path);
        }
        Ok(login)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        vault: VaultArgs,
        #[arg(long)]
        ca_folder: Option<PathBuf>,
        #[arg(long)]
        ca_secret: Option<PathBuf>,
    }

    fn issuer(flags: &[&str]) -> Result<Option<VaultIssuer>> {
        Program::try_parse_from(["osm-controller"].iter().chain(flags))?.vault.issuer()
    }

    #[test]
    fn each_login_is_taken_and_none_or_two_are_refused() {
        const AT: &str = "--vault-address=http://127.0.0.1:8200";
        assert!(issuer(&[]).expect("nothing is said").is_none());
        for login in [
            &["--vault-token-file=/t"][..],
            &["--vault-kubernetes-role=mesh", "--vault-login-mount=clusters/one"],
            &["--vault-app-role-id=1", "--vault-secret-id-file=/s"],
        ] {
            let flags = [&[AT], login].concat();
            assert!(issuer(&flags).expect("they are of use").is_some(), "{flags:?}");
        }
        for (flags, said) in [
            (&[AT][..], "needs a login"),
            (&[AT, "--vault-app-role-id=1"], "--vault-secret-id-file"),
            (&[AT, "--vault-token-file=/t", "--vault-kubernetes-role=mesh"], "cannot be used with"),
            (&[AT, "--vault-token-file=/t", "--ca-folder=/ca"], "cannot be used with"),
            (&[AT, "--vault-token-file=/t", "--vault-mount=/pki"], "`mount` of Vault is of no use"),
            (&["--vault-address=https://v:1", "--vault-token-file=/t"], "https needs the authority"),
            // Without the address there would be a root that nobody asked for.
            (&["--vault-token-file=/t"], "--vault-address"),
            (&["--vault-kubernetes-role=mesh"], "--vault-address"),
            (&["--vault-role=mesh"], "--vault-address"),
        ] {
            let error = issuer(flags).expect_err(said);
            assert!(format!("{error:#}").contains(said), "{flags:?}: {error:#}");
        }
    }
}
