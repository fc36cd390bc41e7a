//! Certificates that a SPIFFE agent gives to this process over its Workload API. SPIRE's agent is one.
//!
//! An agent makes the keys and renews the certificates, and gives each process those identities that are
//! registered for it, no others. A control plane gets those of its workloads by being registered for them.
//! Nothing is signed here.
//!
//! A [`WorkloadApi`] is a provider, which shows what the agent gives as soon as it is there; and the same for the
//! manager, as an issuer that gives keys. An agent is believed no more than an issuer is: a document whose
//! certificate is not for its ID, whose key is another's, or that does not lead to the roots of its own
//! trust domain is not used, and the others are. Roots of other trust domains are not trusted unless they are named.
//!
//! What is on the wire is in `wire`, what is made of it in `offers`, who gets which in `choice`, and what an
//! error means in `trouble`.

mod choice;
mod driver;
mod endpoint;
mod offers;
mod options;
mod shared;
mod trouble;
mod wire;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

pub use driver::WorkloadApiDriver;
pub use endpoint::{InvalidEndpoint, WorkloadEndpoint};
pub use options::WorkloadApiOptions;

use crate::certificate::{CertificateChain, TrustBundle};
use crate::given_certificate::Fit;
use crate::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use crate::manager::Failure;
use crate::provider::{CertificateProvider, CertificateWatch, TrustWatch, WatchSender};
use crate::request::SigningRequest;
use crate::subject::Subject;
use crate::verify;
use offers::Offers;
use shared::Shared;
use trouble::as_error;

/// How long who asks waits for the agent's first answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a SPIFFE agent gives to this process. Clones are the same.
///
/// As a provider it shows a subject's certificate as long as the agent gives one for its SPIFFE ID, and
/// a newer one at once. What it has shown stays when the agent is away or takes it back: it serves until it
/// ends. The control plane's server, which has no SPIFFE ID, gets the first document with all of its names.
///
/// As an issuer it refuses what the agent does not offer, and all whose names are not exactly the subject's. Under
/// a manager a newer certificate is taken when the one before is to be renewed.
///
/// ```no_run
/// use osm_certs::provider::CertificateProvider;
/// use osm_certs::spiffe::{WorkloadApi, WorkloadApiOptions};
/// use osm_certs::subject::Subject;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = "unix:///run/spire/agent.sock".parse()?;
/// let (api, driver) = WorkloadApi::new(WorkloadApiOptions::new(agent, "cluster.local".parse()?));
/// let listening = tokio::spawn(driver.run());
/// let till = Subject::Workload("spiffe://cluster.local/till/shop".parse()?);
/// let certified = api.watch(&till).ready().await?;
/// # drop((certified, listening));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WorkloadApi {
    options: Arc<WorkloadApiOptions>,
    shared: Weak<Shared>,
}

/// An identity that an agent offers to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedIdentity {
    /// Its SPIFFE ID.
    pub id: String,
    /// What the agent's operator says that it is for.
    pub hint: Option<String>,
    /// When its certificate ends, or why that is not used.
    pub usable_until: Result<SystemTime, Failure>,
}

impl WorkloadApi {
    /// What an agent gives by these settings, and the driver that listens to it.
    #[must_use]
    pub fn new(options: WorkloadApiOptions) -> (Self, WorkloadApiDriver) {
        let options = Arc::new(options);
        if let WorkloadEndpoint::Tcp(address) = options.endpoint
            && !address.ip().is_loopback()
        {
            tracing::warn!(%address, "a SPIFFE agent is asked over a network: who can listen has the keys");
        }
        let shared = Arc::new(Shared::new(Arc::clone(&options)));
        (Self { options, shared: Arc::downgrade(&shared) }, WorkloadApiDriver::new(shared))
    }

    /// What the agent offered last, in its order.
    #[must_use]
    pub fn identities(&self) -> Vec<OfferedIdentity> {
        let offers = self.shared.upgrade().and_then(|shared| shared.heard.borrow().offers.clone());
        let identity = |offer: &offers::Offer| OfferedIdentity {
            id: offer.id.clone(),
            hint: offer.hint.clone(),
            usable_until: offer.outcome.as_ref().map(|proof| proof.leaf.not_after).map_err(Clone::clone),
        };
        offers.iter().flat_map(|offers| &offers.list).map(identity).collect()
    }

    /// Why the agent is not heard, or what it leaves to be wished for.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.shared.upgrade().and_then(|shared| shared.heard.borrow().failure.clone())
    }

    /// Why there is nothing newer for a subject than what its watch shows.
    #[must_use]
    pub fn failure_of(&self, subject: &Subject) -> Option<Failure> {
        let heard = self.shared.upgrade()?.heard.borrow().clone();
        match heard.offers {
            Some(offers) => {
                let WorkloadApiOptions { endpoint, clock, .. } = &*self.options;
                offers.find(subject, Fit::Enough, endpoint, clock.now()).err().map(Failure::from)
            }
            None => heard.failure,
        }
    }

    /// What the agent offers, waiting for its first answer.
    async fn offers(&self) -> Result<Arc<Offers>, IssuerError> {
        let at = &self.options.endpoint;
        let ended = || IssuerError::unavailable(format!("nobody listens to the agent at {at} any more"));
        let mut heard = self.shared.upgrade().ok_or_else(ended)?.heard.subscribe();
        let answered =
            timeout(PATIENCE, heard.wait_for(|heard| heard.offers.is_some() || heard.failure.is_some()));
        let answered = answered.await.map_err(|_| {
            IssuerError::unavailable(format!(
                "the agent at {at} has not answered within {} s",
                PATIENCE.as_secs()
            ))
        })?;
        let heard = answered.map_err(|_| ended())?.clone();
        match (heard.offers, heard.failure) {
            (Some(offers), _) => Ok(offers),
            (None, Some(failure)) => Err(as_error(&failure)),
            (None, None) => Err(ended()),
        }
    }
}

impl CertificateProvider for WorkloadApi {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        self.shared.upgrade().map_or_else(|| WatchSender::new().watch(), |shared| shared.watch(subject))
    }

    fn trust(&self) -> TrustWatch {
        self.shared.upgrade().map_or_else(|| WatchSender::new().watch(), |shared| shared.trust.watch())
    }
}

#[async_trait]
impl Issuer for WorkloadApi {
    async fn sign(&self, _: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let at = &self.options.endpoint;
        Err(IssuerError::refused(format!(
            "the agent at {at} makes the keys itself: nothing is signed for others"
        )))
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        let offers = self.offers().await?;
        let notice = offers.notice.as_ref().map(as_error);
        offers
            .trust
            .clone()
            .ok_or_else(|| notice.unwrap_or_else(|| IssuerError::unavailable("there are no roots")))
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }
}

#[async_trait]
impl KeyMaker for WorkloadApi {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        let offers = self.offers().await?;
        let WorkloadApiOptions { endpoint, clock, .. } = &*self.options;
        let proof = offers.find(subject, Fit::Exact, endpoint, clock.now())?;
        if !verify::ends_in_time(proof.leaf.not_after, validity, clock.now()) {
            return Err(IssuerError::refused(format!(
                "the agent's document for {subject} lives for longer than the {} s that are asked for: ask for as much, \
                 or register it with a shorter `-x509SVIDTTL`",
                validity.as_secs()
            )));
        }
        Ok(proof.issued.clone())
    }
}

impl fmt::Debug for WorkloadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApi").field("options", &self.options).finish_non_exhaustive()
    }
}
