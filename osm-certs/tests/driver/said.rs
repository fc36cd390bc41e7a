//! What a driver logs: each trouble once, however often it looks.

use std::time::Duration;

use osm_certs::rotation::{Progress, Role};
use osm_certs::testing::Behaviour;
use tokio::time::sleep;
use tracing::subscriber::DefaultGuard;

use crate::log::Log;
use crate::mesh::{Mesh, name};

/// A log of what happens from now on, until the guard goes.
fn begin() -> (Log, DefaultGuard) {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.subscriber());
    (log, guard)
}

/// How often a line was logged.
fn times(log: &Log, line: &str) -> usize {
    log.text().matches(line).count()
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_not_known_is_said_once_until_it_is() {
    let (log, _guard) = begin();
    let line = "a root is not known";
    let mesh = Mesh::start_with(|issuers| issuers["b"].trust(Behaviour::Unavailable));
    mesh.want(&[("b", Role::Active)]);
    mesh.eventually("waiting for it", |status| {
        status.progress.to_string().contains("has no certificate of it")
    })
    .await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(times(&log, line), 1);
    // Another reason is news.
    mesh.issuers["b"].trust(Behaviour::Refused);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(times(&log, line), 2);
    mesh.issuers["b"].trust(Behaviour::Right);
    mesh.eventually("trusting it", |status| status.stage.trusted.contains(&name("b"))).await;
    assert_eq!(times(&log, line), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_is_said_once_for_each_time() {
    let (log, _guard) = begin();
    let line = "the stage of roots is not known";
    let mesh = Mesh::start();
    mesh.want(&[("a", Role::Active)]);
    for number in 1..=2 {
        mesh.store.is_unreadable(Some("no route"));
        mesh.eventually("trouble", |status| matches!(status.progress, Progress::Trouble(_))).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(times(&log, line), number);
        mesh.store.is_unreadable(None);
        mesh.eventually("the end of it", |status| status.progress == Progress::Settled).await;
    }
}
