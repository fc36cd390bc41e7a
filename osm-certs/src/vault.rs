//! The PKI engine of a Vault server as the issuer. OpenBao is one as well.
//!
//! What a request says is in `pki`, who asks in `session`, how in `client`, and what an error
//! means and what to do about it in `trouble`. Waiting and trying again is left to the manager:
//! here a request is made once, and a second time only with another token. Logins have waits of
//! their own, since all requests share them.
//!
//! The role has to allow what a mesh asks for: keys of kind `ec` (or `any`), `allow_any_name`,
//! `allow_ip_sans`, `allowed_uri_sans` of `spiffe://*`, `require_cn` false, and a `max_ttl` no shorter
//! than the mesh's certificates. The policy needs `update` on `MOUNT/sign/ROLE` (or `issue`), nothing else.

mod answer;
mod client;
mod connections;
mod failed;
mod login;
mod options;
mod pki;
mod session;
mod trouble;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method as HttpMethod;
use osm_core::model::ServiceKey;
use parking_lot::Mutex;
use tokio::time::sleep;

pub use options::{InvalidOptions, Login, Method, SecretSource, VaultOptions};

use crate::certificate::{CertificateChain, Leaf, PrivateKey, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::given_file;
use crate::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use crate::request::SigningRequest;
pub use crate::secret::Secret;
use crate::subject::Subject;
use answer::{Certificate, EngineIssuer};
use client::{Call, Client, Denied, body};
use pki::Asked;
use session::Session;

/// A certificate that ends this much sooner than was asked was cut.
const CUT: Duration = Duration::from_secs(60);

/// An issuer that has certificates signed by the PKI engine of a Vault server.
///
/// Clones are the same issuer. Whoever makes one runs [`keep_signed_in`](Self::keep_signed_in)
/// beside it, so that its token is renewed, and [`sign_out`](Self::sign_out) at its end.
///
/// ```no_run
/// use std::sync::Arc;
/// use osm_certs::manager::{CertificateManager, ManagerOptions};
/// use osm_certs::vault::{Login, VaultIssuer, VaultOptions};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let login = Login::token_file("/var/run/vault/token");
/// let issuer = VaultIssuer::new(VaultOptions::new("http://127.0.0.1:8200", "openservicemesh", login))?;
/// let (manager, driver) = CertificateManager::new(Arc::new(issuer.clone()), ManagerOptions::default());
/// tokio::select! {
///     () = driver.run() => {}
///     () = issuer.keep_signed_in() => {}
/// }
/// issuer.sign_out().await;
/// # drop(manager);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VaultIssuer(Arc<Inner>);

struct Inner {
    options: VaultOptions,
    client: Client,
    session: Session,
    notice: Mutex<Option<String>>,
}

impl VaultIssuer {
    /// An issuer by these settings. The server is asked when something is needed of it.
    ///
    /// # Errors
    /// When the settings are of no use.
    pub fn new(options: VaultOptions) -> Result<Self, InvalidOptions> {
        let base = options.check()?;
        if base.scheme_str() == Some("http") {
            tracing::warn!(address = %base, "Vault is asked without TLS: who can listen has the token");
        }
        let client = Client::new(&options, base);
        let session = Session::new(&options);
        Ok(Self(Arc::new(Inner { options, client, session, notice: Mutex::new(None) })))
    }

    /// What is not as it was asked for although certificates are issued, such as lives that the
    /// role cuts.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        self.0.notice.lock().clone()
    }

    /// Logs in, keeps the token from ending, and gives back those that logins have replaced. Never
    /// returns; drop it to end it.
    ///
    /// Requests go on meanwhile with the token that there is. Without this, one is got when the last
    /// has ended, and none is renewed.
    pub async fn keep_signed_in(&self) {
        let Inner { client, session, .. } = &*self.0;
        loop {
            session.tend(client).await;
            sleep(session.pause()).await;
        }
    }

    /// Gives back the tokens that logins got; one that was given stays. The next request logs in
    /// again. For when a program ends, within the time of one answer each.
    pub async fn sign_out(&self) {
        self.0.session.end(&self.0.client).await;
    }

    /// A certificate and its key, of the kind that is wished if one is.
    async fn made(
        &self,
        subject: &Subject,
        validity: Duration,
        wished: Option<ServiceKey>,
    ) -> Result<Issued, IssuerError> {
        let answer = self.0.certificate("issue", &Asked::new(subject, validity, None)).await?;
        let key = answer.private_key.as_ref().map(|key| PrivateKey::from_pem(key.expose()));
        let key = key.ok_or_else(|| IssuerError::unavailable("Vault gave no key with the certificate"))?;
        let key = key.map_err(|error| IssuerError::refused("Vault's key cannot be used").because(error))?;
        let chain = pki::chain(&answer)?;
        pki::check_kind(&self.0.options.role, &chain, wished)?;
        self.0.note_life(&chain, validity);
        Ok(Issued { key, chain })
    }
}

impl Inner {
    /// Asks the engine for a certificate, a second time with another token if need be.
    async fn certificate(&self, verb: &str, asked: &Asked<'_>) -> Result<Certificate, IssuerError> {
        let VaultOptions { mount, role, .. } = &self.options;
        let path = format!("{mount}/{verb}/{role}");
        let what = format!("asking {path}");
        let ask = async |token: &Secret| {
            let (method, body) = (HttpMethod::POST, body(asked));
            self.client
                .ask(Call { what: &what, method, path: &path, token: Some(token), proof: None, body })
                .await
        };
        let mut token = self.session.token(&self.client).await?;
        let mut answer = ask(&token).await;
        if let Err(Denied::Forbidden(_)) = &answer
            && let Some(other) = self.session.another(&self.client, &token).await?
        {
            token = other;
            answer = ask(&token).await;
        }
        match answer {
            Ok(answer) => {
                self.session.worked();
                answer.data.ok_or_else(|| IssuerError::unavailable(format!("{what}: an empty answer")))
            }
            Err(Denied::Forbidden(_)) => Err(self.forbidden(&path, &token).await),
            Err(Denied::Failed(error)) => Err(error),
        }
    }

    /// Whether it is the token that is not taken, or what may be done with it.
    async fn forbidden(&self, path: &str, token: &Secret) -> IssuerError {
        match login::own(&self.client, token).await {
            Ok(_) => IssuerError::refused(format!(
                "Vault does not allow {path} to the mesh: give its policy `update` on that path"
            )),
            Err(Denied::Failed(error)) => error,
            Err(Denied::Forbidden(_)) => match self.session.login() {
                Login::Token(SecretSource::File(file)) => {
                    let error = IssuerError::unavailable(format!(
                        "Vault does not take the token in {}: it has ended, was revoked or is wrong; who writes \
                         the file has to write another",
                        file.display()
                    ));
                    self.session.condemn(token, error)
                }
                Login::Token(SecretSource::Given(_)) => {
                    let error = IssuerError::refused(
                        "Vault does not take the token: it has ended, was revoked or is wrong; give the mesh \
                         another, or a login that gets one",
                    );
                    self.session.condemn(token, error)
                }
                _ => IssuerError::refused(format!(
                    "Vault does not allow {path} to the mesh: give the policy of its login `update` on that path"
                )),
            },
        }
    }

    /// Remembers that the role cuts lives, or does not any more.
    fn note_life(&self, chain: &CertificateChain, validity: Duration) {
        let Ok(leaf) = Leaf::read(&chain.der()[0]) else { return };
        let given = leaf.not_after.duration_since(SystemClock.now()).unwrap_or_default();
        let notice = (given + CUT < validity).then(|| {
            format!(
                "Vault cuts the life of certificates from {} s to about {} min: raise `max_ttl` of role {} and of \
                 its engine, or ask for less",
                validity.as_secs(),
                given.as_secs().div_ceil(60),
                self.options.role,
            )
        });
        let mut known = self.notice.lock();
        if known.is_some() != notice.is_some() {
            match &notice {
                Some(notice) => tracing::warn!(notice, "certificates are not as asked for"),
                None => tracing::info!("certificates live as long as was asked for again"),
            }
            *known = notice;
        }
    }

    async fn roots(&self) -> Result<TrustBundle, IssuerError> {
        if let Some(path) = &self.options.roots_file {
            let unusable = || IssuerError::refused(format!("{} has no roots of trust", path.display()));
            let read = given_file::read_later(path.clone()).await;
            let (_, text) = read.map_err(|error| unusable().because(error))?;
            return TrustBundle::from_pem(&text).map_err(|error| unusable().because(error));
        }
        let VaultOptions { mount, issuer, .. } = &self.options;
        let (what, path) = ("asking for the root", format!("{mount}/issuer/{issuer}/json"));
        // Everybody may ask this.
        let call = Call { what, method: HttpMethod::GET, path: &path, token: None, proof: None, body: None };
        let answer = self.client.ask::<EngineIssuer>(call).await.map_err(|denied| match denied {
            Denied::Forbidden(_) => IssuerError::refused(format!(
                "{what}: Vault has no engine of that kind at {mount}, or hides it: correct the mount or the \
                 namespace in the mesh's settings"
            )),
            Denied::Failed(error) => error,
        })?;
        let issuer =
            answer.data.ok_or_else(|| IssuerError::unavailable(format!("{what}: an empty answer")))?;
        pki::roots(&issuer)
    }
}

#[async_trait]
impl Issuer for VaultIssuer {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let asked = Asked::new(request.subject(), request.validity(), Some(request.csr_pem()));
        let answer = self.0.certificate("sign", &asked).await?;
        let chain = pki::chain(&answer)?;
        self.0.note_life(&chain, request.validity());
        Ok(chain)
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.0.roots().await
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        (self.0.options.method == Method::Issue).then_some(self)
    }
}

#[async_trait]
impl KeyMaker for VaultIssuer {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        self.made(subject, validity, None).await
    }

    /// The kind is the role's, and only that of workloads is a setting of the mesh.
    async fn make_of_kind(
        &self,
        subject: &Subject,
        validity: Duration,
        kind: ServiceKey,
    ) -> Result<Issued, IssuerError> {
        let wished = matches!(subject, Subject::Workload(_)).then_some(kind);
        self.made(subject, validity, wished).await
    }
}

impl fmt::Debug for VaultIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultIssuer").field("options", &self.0.options).finish_non_exhaustive()
    }
}
