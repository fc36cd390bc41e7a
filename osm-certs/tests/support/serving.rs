//! A certificate that a manager serves through faults of its issuer: told by their kind, with nothing else trusted, and over
//! without a restart.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{Certified, TrustBundle};
use osm_certs::manager::{Backoff, CertificateManager, FailureKind, ManagerOptions, Pace, SubjectStatus};
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::subject::Subject;

use crate::within::within;

/// Longer than anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long it is left alone between attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// A certificate that is served.
pub(crate) struct Serving {
    pub(crate) manager: CertificateManager,
    watch: CertificateWatch,
    /// What is trusted from the beginning, and always.
    trusted: Arc<TrustBundle>,
}

impl Serving {
    /// Waits for the first certificate of a manager whose driver runs.
    pub(crate) async fn by(manager: CertificateManager) -> Self {
        let watch = manager.watch(&till());
        eventually("a first certificate", async || watch.current()).await;
        let trusted = manager.trust().current().expect("it was needed for the certificate");
        Self { manager, watch, trusted }
    }

    pub(crate) fn current(&self) -> Arc<Certified> {
        self.watch.current().expect("there is one")
    }

    fn status(&self) -> SubjectStatus {
        self.manager.statuses().into_iter().next().expect("one subject is watched")
    }

    fn trusts_no_other(&self) {
        assert_eq!(self.manager.trust().current().as_ref(), Some(&self.trusted));
    }

    /// Has the certificate signed anew, and waits until it is.
    pub(crate) async fn renews(&self) {
        let before = self.current();
        self.manager.rotate_now();
        eventually("a new certificate", async || {
            (self.current().serial() != before.serial() && self.status().failure.is_none()).then_some(())
        })
        .await;
        self.trusts_no_other();
    }

    /// Has the certificate signed anew, and waits until that has failed in a way, for which
    /// the old one still serves.
    pub(crate) async fn fails(&self, kind: FailureKind, said: &str) {
        let before = self.current();
        self.manager.rotate_now();
        let failed = async || self.status().failure.filter(|failure| failure.kind == kind);
        let failure = eventually("a failure of that kind", failed).await;
        assert!(failure.message.contains(said), "{failure}");
        assert_eq!(self.current().serial(), before.serial());
        self.trusts_no_other();
    }
}

/// Settings of a manager that tries again soon, whatever went wrong.
pub(crate) fn impatient() -> ManagerOptions {
    let soon = Backoff { first: Duration::from_millis(50), most: Duration::from_millis(200) };
    let mut options = ManagerOptions::default();
    options.pace = Pace { soon, rarely: soon, ..Pace::default() };
    options.trust_refresh = Duration::from_millis(100);
    options
}

pub(crate) fn till() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"))
}

/// Waits until an attempt gives something, but not for ever.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    within(DEADLINE, PAUSE, what, async || attempt().await.ok_or("it did not happen")).await
}
