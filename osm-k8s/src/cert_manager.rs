//! cert-manager as the issuer, by its `CertificateRequest` objects (`cert-manager.io/v1`).
//!
//! A request is an object that somebody approves and a controller answers in its status: `request` writes and
//! reads it, `ledger` knows which ones are waited for and which are to be deleted (pure), `driver` asks the API
//! server, `answer` judges what came, `roots` remembers what answers lead to, and `trouble` says what an error means
//! and what to do about it.
//!
//! The mesh's service account needs this in the namespace in which requests are made, and nothing else:
//!
//! ```yaml
//! apiVersion: rbac.authorization.k8s.io/v1
//! kind: Role
//! metadata: {name: osm-cert-manager, namespace: osm-system}
//! rules:
//!   - apiGroups: [cert-manager.io]
//!     resources: [certificaterequests]
//!     verbs: [create, list, watch, delete]
//! ```
//!
//! cert-manager approves all requests of its own issuers unless it is told otherwise. An approver that asks for more has to
//! allow the mesh's names: URIs `spiffe://TRUST_DOMAIN/*`, DNS names in the trust domain, names and addresses of the
//! control plane, and `init-cert.NAMESPACE.svc`, which nobody uses: by it roots are learnt.

mod answer;
mod driver;
mod ledger;
mod options;
mod request;
mod roots;
#[cfg(test)]
mod tests;
mod trouble;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::clock::{Clock, SystemClock};
use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_certs::request::SigningRequest;
use osm_certs::subject::Subject;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use driver::CertManagerDriver;
pub use options::{CertManagerOptions, IssuerRef};

use crate::client::ApiClient;
use driver::{Ask, Message};
use request::Issued;
use roots::Roots;

/// For how long the certificate is asked for by which roots are learnt.
const PROBE_VALIDITY: Duration = Duration::from_secs(3600);

/// An issuer that has certificates signed by cert-manager. Clones are the same issuer.
///
/// Its driver does what there is to do at the API server; nothing is answered while nobody runs it.
///
/// ```no_run
/// use std::sync::Arc;
/// use osm_certs::manager::{CertificateManager, ManagerOptions};
/// use osm_k8s::ApiClient;
/// use osm_k8s::cert_manager::{CertManagerIssuer, CertManagerOptions, IssuerRef};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ApiClient::find(&[]).await?;
/// let options = CertManagerOptions::new("osm-system".parse()?, "osm", IssuerRef::issuer("osm-ca"));
/// let (issuer, requests) = CertManagerIssuer::new(&server, options);
/// let (manager, driver) = CertificateManager::new(Arc::new(issuer), ManagerOptions::default());
/// tokio::select! {
///     () = driver.run() => {}
///     () = requests.run() => {}
/// }
/// # drop(manager);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CertManagerIssuer(Arc<Inner>);

struct Inner {
    options: CertManagerOptions,
    messages: mpsc::UnboundedSender<Message>,
    tickets: AtomicU64,
    roots: Mutex<Roots>,
}

impl CertManagerIssuer {
    /// An issuer by these settings, and the driver that does its work. Nothing is asked yet.
    #[must_use]
    pub fn new(server: &ApiClient, options: CertManagerOptions) -> (Self, CertManagerDriver) {
        let (messages, received) = mpsc::unbounded_channel();
        let driver = CertManagerDriver::new(server, options.clone(), requester(), received);
        let (tickets, roots) = (AtomicU64::new(0), Mutex::default());
        (Self(Arc::new(Inner { options, messages, tickets, roots })), driver)
    }
}

impl Inner {
    /// What the issuer gives for a request, as it is.
    async fn ask(&self, request: &SigningRequest) -> Result<Issued, IssuerError> {
        let stopped =
            || IssuerError::unavailable("requests to cert-manager have stopped: the mesh shuts down");
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let ask = Ask { ticket, request: request.clone(), reply };
        self.messages.send(Message::Ask(ask)).map_err(|_| stopped())?;
        let mut asking = Asking { ticket, messages: &self.messages, is_answered: false };
        let answer = answer.await;
        asking.is_answered = true;
        answer.map_err(|_| stopped())?
    }

    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let issued = self.ask(request).await?;
        let judged = answer::judge(request, &issued, &self.options, SystemClock.now())?;
        if let Some(learnt) = judged.learnt {
            let news = self.roots.lock().learn(&learnt, request.validity(), Instant::now());
            let issuer = &self.options.issuer;
            if news.has_new {
                tracing::warn!(%issuer, "it has another authority, which is trusted besides the one that it had");
            }
            if news.forgotten > 0 {
                tracing::warn!(%issuer, roots = news.forgotten, "it had so many authorities that some are trusted no more, and certificates under them are refused");
            }
        }
        Ok(judged.chain)
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        if let Some(given) = &self.options.roots {
            return Ok(given.clone());
        }
        if let Some(known) = self.roots.lock().fresh(Instant::now()) {
            return Ok(known);
        }
        let unmade =
            || IssuerError::refused("no request could be made by which the issuer's roots are learnt");
        let name = format!("init-cert.{}.svc", self.options.namespace);
        let name = name.parse().map_err(|error| unmade().because(error))?;
        let made = Enrolment::new(Subject::control_plane([name]), PROBE_VALIDITY);
        let Enrolment { request, .. } = made.map_err(|error| unmade().because(error))?;
        self.sign(&request).await?;
        let known = self.roots.lock().bundle();
        known.ok_or_else(|| IssuerError::unavailable("the issuer's roots are not known"))
    }
}

#[async_trait]
impl Issuer for CertManagerIssuer {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.0.sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.0.trust_bundle().await
    }
}

impl fmt::Debug for CertManagerIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertManagerIssuer").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A call that waits. When it is dropped, its request is taken back.
struct Asking<'a> {
    ticket: u64,
    messages: &'a mpsc::UnboundedSender<Message>,
    is_answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            // Without a driver there is nothing to take back.
            drop(self.messages.send(Message::TakeBack(self.ticket)));
        }
    }
}

/// A name for this process, by which it knows its requests from those of others.
fn requester() -> String {
    // The standard library's hashers begin with random keys.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
