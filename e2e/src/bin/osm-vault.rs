//! Checks that a Vault or OpenBao server that somebody runs issues as the mesh needs it, by the conformance kit.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use osm_certs::testing::conformance;
use osm_certs::vault::{Login, Method, Secret, SecretSource, VaultIssuer, VaultOptions};

/// Checks that a Vault or OpenBao server issues as the mesh needs it: some 1,100 certificates are asked for, none is kept
#[derive(Debug, Parser)]
#[command(name = "osm-vault")]
struct Options {
    /// Where the server is
    #[arg(long, env = "VAULT_ADDR")]
    address: String,
    /// The role of its PKI engine
    #[arg(long)]
    role: String,
    /// The token by which it is asked, unless by an AppRole
    #[arg(long, env = "VAULT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The AppRole by which it is asked
    #[arg(long, requires = "secret_id")]
    role_id: Option<String>,
    /// What proves that the AppRole may be used
    #[arg(long, env = "VAULT_SECRET_ID", hide_env_values = true)]
    secret_id: Option<String>,
    /// The authority of the server's own certificate, PEM
    #[arg(long, env = "VAULT_CACERT")]
    ca_file: Option<PathBuf>,
    /// Has the server make the keys
    #[arg(long)]
    issue: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Options { address, role, token, role_id, secret_id, ca_file, issue } = Options::parse();
    let login = match (role_id.zip(secret_id), token) {
        (Some((role_id, proof)), _) => Login::app_role(role_id, SecretSource::Given(Secret::new(proof))),
        (None, Some(token)) => Login::token(token),
        (None, None) => bail!("give --token, or --role-id and --secret-id"),
    };
    let mut options = VaultOptions::new(address, role, login);
    options.ca_file = ca_file;
    if issue {
        options.method = Method::Issue;
    }
    let issuer = VaultIssuer::new(options).context("the options")?;
    let findings = conformance::check(&issuer).await;
    if let Some(notice) = issuer.notice() {
        println!("{notice}");
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("it issues as the mesh needs it"),
        count => bail!("{count} checks failed"),
    }
    Ok(())
}
