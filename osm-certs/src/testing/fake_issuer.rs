//! An issuer that does what a test tells it to.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::certificate::{CertificateChain, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::enrolment::Enrolment;
use crate::in_process::{CaError, InProcessCa};
use crate::issuer::{Issuer, IssuerError, async_trait};
use crate::request::SigningRequest;
use crate::subject::Subject;

/// How a [`FakeIssuer`] answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// As asked.
    Right,
    /// As asked, after a while.
    Late(Duration),
    /// Not at all.
    Never,
    /// That it can't now.
    Unavailable,
    /// That it won't.
    Refused,
    /// With a certificate for somebody else's names.
    WrongNames,
    /// With a certificate for another key.
    WrongKey,
    /// With a certificate that ends at once.
    Ended,
    /// With a certificate that lives a week longer.
    TooLong,
    /// With a certificate of a root that is not in its bundle.
    WrongRoot,
}

/// An issuer that answers as it is told, otherwise as it should.
///
/// ```
/// use osm_certs::testing::{Behaviour, FakeIssuer};
///
/// let issuer = FakeIssuer::new()?;
/// issuer.then([Behaviour::Unavailable, Behaviour::WrongKey]);
/// // The first request fails, the second gets a bad answer, all others good ones.
/// # Ok::<(), osm_certs::in_process::CaError>(())
/// ```
pub struct FakeIssuer {
    clock: Arc<dyn Clock>,
    ca: Mutex<Arc<InProcessCa>>,
    stranger: InProcessCa,
    script: Mutex<Script>,
    requests: AtomicUsize,
    signed: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

struct Script {
    next: VecDeque<Behaviour>,
    otherwise: Behaviour,
    trust: Behaviour,
}

impl FakeIssuer {
    /// An issuer with a root of its own, by the machine's clock.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn new() -> Result<Self, CaError> {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Result<Self, CaError> {
        let right = Behaviour::Right;
        Ok(Self {
            ca: Mutex::new(Arc::new(InProcessCa::ephemeral_with(Arc::clone(&clock))?)),
            stranger: InProcessCa::ephemeral_with(Arc::clone(&clock))?,
            clock,
            script: Mutex::new(Script { next: VecDeque::new(), otherwise: right, trust: right }),
            requests: AtomicUsize::new(0),
            signed: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    /// Answers the next requests like this, one each.
    pub fn then(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.script.lock().next.extend(behaviours);
    }

    /// Answers like this when nothing else was told.
    pub fn otherwise(&self, behaviour: Behaviour) {
        self.script.lock().otherwise = behaviour;
    }

    /// Answers like this when asked for its roots: right, late, never, unavailable
    /// or refused.
    pub fn trust(&self, behaviour: Behaviour) {
        self.script.lock().trust = behaviour;
    }

    /// Replaces the root: from now on, the bundle has only the new one.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn replace_root(&self) -> Result<(), CaError> {
        let ca = InProcessCa::ephemeral_with(Arc::clone(&self.clock))?;
        *self.ca.lock() = Arc::new(ca);
        Ok(())
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests were answered as asked.
    #[must_use]
    pub fn signed(&self) -> usize {
        self.signed.load(Ordering::Relaxed)
    }

    /// How many requests there were at the same time, at most.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::Relaxed)
    }

    async fn answer(
        &self,
        request: &SigningRequest,
        behaviour: Behaviour,
    ) -> Result<CertificateChain, IssuerError> {
        let ca = Arc::clone(&self.ca.lock());
        match behaviour {
            Behaviour::Right => {}
            Behaviour::Late(delay) => tokio::time::sleep(delay).await,
            Behaviour::Never => std::future::pending().await,
            Behaviour::Unavailable => return Err(IssuerError::unavailable("the test says so")),
            Behaviour::Refused => return Err(IssuerError::refused("the test says so")),
            Behaviour::WrongNames => {
                let thief = "spiffe://elsewhere/thief/den".parse();
                let thief = thief.map_err(|error| IssuerError::refused("a wrong test").because(error))?;
                return ca.sign(&request.altered(Subject::Workload(thief), request.validity())).await;
            }
            Behaviour::WrongKey => {
                let other = Enrolment::new(request.subject().clone(), request.validity());
                let other = other.map_err(|error| IssuerError::refused("a wrong test").because(error))?;
                return ca.sign(&other.request).await;
            }
            Behaviour::Ended => {
                let short = request.altered(request.subject().clone(), Duration::from_secs(1));
                return ca.sign(&short).await;
            }
            Behaviour::TooLong => {
                let life = request.validity() + Duration::from_secs(7 * 24 * 3600);
                return ca.sign(&request.altered(request.subject().clone(), life)).await;
            }
            Behaviour::WrongRoot => return self.stranger.sign(request).await,
        }
        let chain = ca.sign(request).await?;
        self.signed.fetch_add(1, Ordering::Relaxed);
        Ok(chain)
    }
}

#[async_trait]
impl Issuer for FakeIssuer {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let behaviour = {
            let mut script = self.script.lock();
            script.next.pop_front().unwrap_or(script.otherwise)
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay::begin(self);
        self.answer(request, behaviour).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        let behaviour = self.script.lock().trust;
        match behaviour {
            Behaviour::Late(delay) => tokio::time::sleep(delay).await,
            Behaviour::Never => std::future::pending().await,
            Behaviour::Unavailable => return Err(IssuerError::unavailable("the test says so")),
            Behaviour::Refused => return Err(IssuerError::refused("the test says so")),
            _ => {}
        }
        Ok(self.ca.lock().root().clone())
    }
}

impl fmt::Debug for FakeIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeIssuer").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

/// Counts a request that is under way, also when it is dropped.
struct UnderWay<'a>(&'a FakeIssuer);

impl<'a> UnderWay<'a> {
    fn begin(issuer: &'a FakeIssuer) -> Self {
        let count = issuer.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        issuer.most_under_way.fetch_max(count, Ordering::Relaxed);
        Self(issuer)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
