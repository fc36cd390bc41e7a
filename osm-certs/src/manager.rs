//! A provider over any issuer: it makes keys, has them signed, checks the
//! answers, gives them out, and does so again before they end.
//!
//! When something is signed for is decided by the schedule, a state machine that is
//! told the time; what an issuer gave is judged by [`crate::verify`]; the driver only
//! does what they say. All who ask for one subject share one certificate.

mod backoff;
mod driver;
mod failure;
mod options;
mod rotation;
mod schedule;
mod shared;
mod status;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use backoff::Backoff;
pub use driver::ManagerDriver;
pub use failure::{Failure, FailureKind};
pub use options::ManagerOptions;
pub use schedule::Pace;
pub use status::SubjectStatus;

use osm_core::model::ServiceKey;

use crate::certificate::{CertificateChain, Certified};
use crate::issuer::Issuer;
use crate::metrics::Metrics;
use crate::provider::{CertificateProvider, CertificateWatch, TrustWatch};
use crate::subject::Subject;
use shared::Shared;

/// When a certificate that was issued at this time is to be renewed: at two thirds of its life or up to a tenth of it earlier, by
/// chance that follows from its serial number. It is the manager's rule, whose chance follows from the subject too; this is for those
/// who keep certificates elsewhere.
#[must_use]
pub fn renewal(certified: &Certified, issued: SystemTime) -> SystemTime {
    rotation::renewal(issued, certified.not_after(), backoff::seed(certified.serial()))
}

/// The certificates of one issuer, kept fresh. Clones are the same manager.
///
/// ```
/// use std::sync::Arc;
/// use osm_certs::in_process::InProcessCa;
/// use osm_certs::manager::{CertificateManager, ManagerOptions};
/// use osm_certs::provider::CertificateProvider;
/// use osm_certs::subject::Subject;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Arc::new(InProcessCa::ephemeral()?);
/// let (manager, driver) = CertificateManager::new(issuer, ManagerOptions::default());
/// let driving = tokio::spawn(driver.run());
///
/// let mut watch = manager.watch(&Subject::Workload("spiffe://cluster.local/till/shop".parse()?));
/// let certified = watch.ready().await?;
/// println!("{} until {:?}", certified.serial(), certified.not_after());
/// # driving.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CertificateManager(Arc<Shared>);

impl CertificateManager {
    /// A manager over an issuer, and the driver that does its work.
    #[must_use]
    pub fn new(issuer: Arc<dyn Issuer>, options: ManagerOptions) -> (Self, ManagerDriver) {
        let shared = Arc::new(Shared::new(issuer, options));
        (Self(Arc::clone(&shared)), ManagerDriver::new(shared))
    }

    /// Sets for how long workloads' certificates are asked for from now on, and
    /// says what was set: no less than [`ManagerOptions::minimum_validity`].
    /// Certificates that exist keep their times.
    pub fn set_validity(&self, validity: Duration) -> Duration {
        self.0.set_validity(validity)
    }

    /// Sets what kind of keys workloads have from now on. If it is another kind than
    /// before, all their certificates are replaced, as fast as keys can be made, and
    /// how many that is is said. The old ones serve until then.
    pub fn set_service_key(&self, key: ServiceKey) -> usize {
        self.0.set_service_key(key)
    }

    /// Has every certificate signed anew at once, as fast as the issuer's bounds
    /// allow, and says how many that is. The old ones serve until then.
    pub fn rotate_now(&self) -> usize {
        self.0.rotate_all()
    }

    /// Has a subject's certificate signed anew at once. Says no if nobody watches
    /// that subject.
    pub fn rotate(&self, subject: &Subject) -> bool {
        self.0.rotate(subject)
    }

    /// Has certificates signed anew of which this says that they are stale, as [`rotate_now`](Self::rotate_now) has all, and
    /// says how many that is. Called after the issuer behind this manager has begun to do things differently: what was
    /// being signed meanwhile is signed once more.
    pub fn renew(&self, is_stale: impl Fn(&Subject, &CertificateChain) -> bool) -> usize {
        self.0.renew(is_stale)
    }

    /// Asks the issuer for its roots at once, and not when it is time to.
    pub fn ask_for_trust(&self) {
        self.0.ask_for_trust.notify_one();
    }

    /// The certificates that are given out, in order of subjects.
    #[must_use]
    pub fn chains(&self) -> Vec<(Subject, CertificateChain)> {
        self.0.chains()
    }

    /// Forgets those of these subjects that nobody watches at once, and not only after a while: they are not needed again.
    pub fn let_go(&self, is_meant: impl Fn(&Subject) -> bool) {
        self.0.let_go(is_meant);
    }

    /// Whether something is signed for that was begun before [`renew`](Self::renew) was last called.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.0.is_behind()
    }

    /// How each subject's certificate is doing, in order of subjects.
    #[must_use]
    pub fn statuses(&self) -> Vec<SubjectStatus> {
        self.0.statuses()
    }

    /// Why the trust bundle could not be read last time it was tried.
    #[must_use]
    pub fn trust_failure(&self) -> Option<Failure> {
        self.0.trust_failure()
    }

    /// What is counted, to be registered.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.metrics(Arc::downgrade(&self.0))
    }
}

impl CertificateProvider for CertificateManager {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        self.0.watch(subject)
    }

    fn trust(&self) -> TrustWatch {
        self.0.watch_trust()
    }
}

impl fmt::Debug for CertificateManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateManager").finish_non_exhaustive()
    }
}
