//! I11: what is logged has nothing of a key.

#[path = "support/log.rs"]
mod log;
#[path = "support/shows.rs"]
mod shows;

use std::sync::Arc;
use std::time::Duration;

use osm_certs::clock::Clock;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_certs::testing::{Behaviour, FakeIssuer, SimulatedClock};

use log::Log;
use shows::shows;

#[tokio::test(start_paused = true)]
async fn i11_no_log_has_a_key() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.subscriber());

    let folder = tempfile::tempdir().expect("a folder");
    InProcessCa::create_or_load(folder.path()).expect("it is made");
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::default());
    let issuer = Arc::new(FakeIssuer::with_clock(Arc::clone(&clock)).expect("an issuer"));
    issuer.then([Behaviour::WrongKey, Behaviour::WrongNames, Behaviour::Refused, Behaviour::Unavailable]);
    let (manager, driver) = CertificateManager::new(issuer, ManagerOptions::default().with_clock(clock));
    let driving = tokio::spawn(driver.run());
    let mut watch =
        manager.watch(&Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("valid")));
    let certified = tokio::time::timeout(Duration::from_secs(3600), watch.ready());
    let certified = certified.await.expect("in time").expect("the manager runs");
    manager.rotate_now();
    watch.changed().await.expect("the manager runs");
    driving.abort();

    let text = log.text();
    for said in ["was made", "could not be had", "was issued", "signed anew", "trust bundle has changed"] {
        assert!(text.contains(said), "{said:?} was not logged, so this shows nothing:\n{text}");
    }
    let root_key = std::fs::read_to_string(folder.path().join("ca.key")).expect("it is there");
    assert!(!shows(&text, &root_key) && !shows(&text, certified.key().pem()), "{text}");
    assert!(shows(&format!("{text}{}", certified.key().pem()), certified.key().pem()), "the check works");
}
