//! What a server is asked about tokens: to give one, what one may, to renew and to revoke it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::{Auth, TokenFacts};
use super::client::{Call, Client, Denied, body};
use super::options::{Login, SecretSource};
use crate::given_file::{self, Stamp};
use crate::issuer::IssuerError;
use crate::secret::Secret;

/// What is longer is for ever: a server's number is not added to the time as it is.
const LONGEST: u64 = 10 * 366 * 24 * 60 * 60;

/// For how long a token is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) ends: Instant,
    /// When it is to be renewed.
    pub(super) renew: Instant,
    /// How long it was when it was new.
    pub(super) term: Duration,
    pub(super) renewable: bool,
}

/// A request to log in.
#[derive(Serialize)]
#[serde(untagged)]
enum Proof<'a> {
    Kubernetes { role: &'a str, jwt: &'a str },
    AppRole { role_id: &'a str, secret_id: &'a str },
}

/// What proves who asks, as it is now, with the stamp of its file if it is in one.
pub(super) async fn proof(login: &Login) -> Result<(Option<Stamp>, Secret), IssuerError> {
    match login {
        Login::Token(source) | Login::AppRole { secret_id: source, .. } => match source {
            SecretSource::Given(secret) => Ok((None, secret.clone())),
            SecretSource::File(path) => secret_file(path).await,
        },
        Login::Kubernetes { token_file, .. } => secret_file(token_file).await,
    }
}

async fn secret_file(path: &Path) -> Result<(Option<Stamp>, Secret), IssuerError> {
    // Whoever writes it may not have done so yet.
    let unreadable = |error| {
        IssuerError::unavailable(format!("the secret in {} cannot be read", path.display())).because(error)
    };
    let (stamp, text) = given_file::read_later(path.to_owned()).await.map_err(unreadable)?;
    let secret = Secret::new(text.as_str());
    if secret.expose().is_empty() {
        return Err(IssuerError::unavailable(format!("{} is empty: a secret belongs there", path.display())));
    }
    Ok((Some(stamp), secret))
}

/// A token for what proves who asks, and for how long it is good; `None` if that is for ever, or
/// nobody says for how long.
pub(super) async fn token(
    client: &Client,
    login: &Login,
    proof: &Secret,
) -> Result<(Secret, Option<Lease>), IssuerError> {
    match login {
        Login::Token(_) => {
            let lease = look_up(client, proof).await?;
            if lease.is_some_and(|lease| !lease.renewable) {
                tracing::warn!(
                    "the token for Vault cannot be renewed and will end; give one that can, or a login"
                );
            }
            Ok((proof.clone(), lease))
        }
        Login::Kubernetes { mount, role, .. } => {
            let asked = body(&Proof::Kubernetes { role, jwt: proof.expose() });
            enter(client, mount, proof, asked).await
        }
        Login::AppRole { mount, role_id, .. } => {
            let asked = body(&Proof::AppRole { role_id, secret_id: proof.expose() });
            enter(client, mount, proof, asked).await
        }
    }
}

/// Logs in at a method.
async fn enter(
    client: &Client,
    mount: &str,
    proof: &Secret,
    body: Option<Bytes>,
) -> Result<(Secret, Option<Lease>), IssuerError> {
    let (what, path) = ("logging in", format!("auth/{mount}/login"));
    let call = Call { what, method: Method::POST, path: &path, token: None, proof: Some(proof), body };
    let answer = client.ask::<()>(call).await.map_err(|denied| match denied {
        Denied::Forbidden(_) => IssuerError::refused(format!(
            "Vault refuses the login at {path}: allow it in the method's role, or correct role and mount in the mesh's settings"
        )),
        Denied::Failed(error) => error,
    })?;
    let auth =
        answer.auth.ok_or_else(|| IssuerError::refused(format!("{path} is no login: it gave no token")))?;
    tracing::debug!(mount, seconds = auth.lease_duration, "logged in to Vault");
    Ok((auth.client_token, Lease::of(auth.lease_duration, auth.renewable)))
}

/// How long a token lives. One that may not know is taken as it is.
async fn look_up(client: &Client, token: &Secret) -> Result<Option<Lease>, IssuerError> {
    match own(client, token).await {
        Ok(facts) => Ok(Lease::of(facts.ttl, facts.renewable)),
        Err(Denied::Forbidden(_)) => Ok(None),
        Err(Denied::Failed(error)) => Err(error),
    }
}

/// What a token knows of itself; forbidden if it is none.
pub(super) async fn own(client: &Client, token: &Secret) -> Result<TokenFacts, Denied> {
    let what = "looking at the token";
    let (method, path) = (Method::GET, "auth/token/lookup-self");
    let answer = client.ask(Call { what, method, path, token: Some(token), proof: None, body: None }).await?;
    answer.data.ok_or_else(|| empty(what))
}

/// Has a token live for longer.
pub(super) async fn renew(client: &Client, token: &Secret) -> Result<Option<Lease>, Denied> {
    let what = "renewing the token";
    let (method, path) = (Method::POST, "auth/token/renew-self");
    let body = Some(Bytes::from_static(b"{}"));
    let answer = client.ask::<()>(Call { what, method, path, token: Some(token), proof: None, body }).await?;
    let Auth { lease_duration, renewable, .. } = answer.auth.ok_or_else(|| empty(what))?;
    Ok(Lease::of(lease_duration, renewable))
}

/// Gives a token back. One that can't be given back ends by itself.
pub(super) async fn revoke(client: &Client, token: &Secret) {
    let what = "giving a token back";
    let (method, path) = (Method::POST, "auth/token/revoke-self");
    let call = Call { what, method, path, token: Some(token), proof: None, body: None };
    match client.ask::<()>(call).await {
        Ok(_) => tracing::debug!("a token for Vault was given back"),
        Err(denied) => {
            let error = denied.into_error(what);
            tracing::debug!(%error, "a token for Vault was not taken back; it ends by itself");
        }
    }
}

fn empty(what: &str) -> Denied {
    Denied::Failed(IssuerError::unavailable(format!("{what}: an empty answer")))
}

impl Lease {
    /// `None` if it is for ever.
    fn of(seconds: u64, renewable: bool) -> Option<Self> {
        let term = Duration::from_secs(seconds.min(LONGEST));
        let now = Instant::now();
        (seconds > 0).then(|| Self { ends: now + term, renew: now + term * 2 / 3, term, renewable })
    }
}
