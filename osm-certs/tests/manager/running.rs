//! A manager that runs over an issuer that does as it is told.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::Certified;
use osm_certs::clock::Clock;
use osm_certs::manager::{CertificateManager, ManagerOptions, SubjectStatus};
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::subject::Subject;
use osm_certs::testing::{FakeIssuer, SimulatedClock};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A manager that runs.
pub(crate) struct Running {
    pub(crate) issuer: Arc<FakeIssuer>,
    pub(crate) clock: Arc<SimulatedClock>,
    pub(crate) manager: CertificateManager,
    pub(crate) driving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

pub(crate) fn start() -> Running {
    start_with(|options| options)
}

pub(crate) fn start_with(options: impl FnOnce(ManagerOptions) -> ManagerOptions) -> Running {
    let clock = Arc::new(SimulatedClock::default());
    let issuer = Arc::new(FakeIssuer::with_clock(Arc::clone(&clock) as Arc<dyn Clock>).expect("an issuer"));
    let options = options(ManagerOptions::default().with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    let (manager, driver) = CertificateManager::new(Arc::clone(&issuer) as _, options);
    let driving = tokio::spawn(driver.run());
    Running { issuer, clock, manager, driving }
}

impl Running {
    pub(crate) fn watch(&self, account: &str) -> CertificateWatch {
        self.manager.watch(&subject(account))
    }

    pub(crate) fn status(&self, account: &str) -> SubjectStatus {
        let statuses = self.manager.statuses();
        let found = statuses.into_iter().find(|status| status.subject == subject(account));
        found.expect("the subject is known")
    }

    pub(crate) fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.manager.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is encoded");
        text
    }

    /// Waits until a condition holds, but not for ever.
    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DAY;
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what} did not happen");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

pub(crate) fn subject(account: &str) -> Subject {
    Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
}

pub(crate) async fn ready(watch: &mut CertificateWatch) -> Arc<Certified> {
    timeout(DAY, watch.ready()).await.expect("within a day").expect("the manager runs")
}

pub(crate) async fn next(watch: &mut CertificateWatch) -> Arc<Certified> {
    timeout(2 * DAY, watch.changed()).await.expect("within two days").expect("the manager runs");
    watch.current().expect("there is one")
}
