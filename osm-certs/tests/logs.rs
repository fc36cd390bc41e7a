//! I11: what is logged has nothing of a key.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use osm_certs::clock::Clock;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_certs::testing::{Behaviour, FakeIssuer, SimulatedClock};
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Whether a text has a part of a key's PEM.
fn shows(text: &str, pem: &str) -> bool {
    pem.lines().filter(|line| !line.starts_with('-')).any(|line| text.contains(&line[line.len() / 2..]))
}

#[tokio::test(start_paused = true)]
async fn i11_no_log_has_a_key() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

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

    let text = String::from_utf8(log.0.lock().expect("nobody panics holding it").clone()).expect("text");
    for said in ["was made", "could not be had", "was issued", "signed anew", "trust bundle has changed"] {
        assert!(text.contains(said), "{said:?} was not logged, so this shows nothing:\n{text}");
    }
    let root_key = std::fs::read_to_string(folder.path().join("ca.key")).expect("it is there");
    assert!(!shows(&text, &root_key) && !shows(&text, certified.key().pem()), "{text}");
    assert!(shows(&format!("{text}{}", certified.key().pem()), certified.key().pem()), "the check works");
}
