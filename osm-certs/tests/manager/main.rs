//! The manager over an issuer that misbehaves, in simulated time.

mod renew;
mod running;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_certs::clock::Clock;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, FailureKind, ManagerOptions};
use osm_certs::provider::{CertificateProvider, WatchEnded};
use osm_certs::testing::Behaviour;
use osm_certs::verify;
use tokio::time::{Instant, sleep, timeout};

use running::{DAY, HOUR, MINUTE, Running, next, ready, start, subject};

#[tokio::test(start_paused = true)]
async fn all_who_ask_for_one_subject_share_a_certificate() {
    let running = start();
    let mut watches: Vec<_> = (0..20).map(|_| running.watch("till")).collect();
    let mut serials = BTreeSet::new();
    for watch in &mut watches {
        serials.insert(ready(watch).await.serial().to_owned());
    }
    assert_eq!((serials.len(), running.issuer.requests()), (1, 1));
    assert_eq!(running.status("till").watches, 20);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_replaced_at_two_thirds_of_its_life_and_never_missing() {
    let running = start();
    let mut watch = running.watch("till");
    let mut last = ready(&mut watch).await;
    for _ in 0..10 {
        let issued = running.clock.now();
        let planned = running.status("till").next_rotation.expect("it is planned");
        let newer = next(&mut watch).await;
        let age = running.clock.now().duration_since(issued).expect("time goes on");
        assert!(age >= DAY.mul_f64(0.56) && age <= DAY.mul_f64(0.67), "{age:?}");
        assert!(running.clock.now() < planned + MINUTE && running.clock.now() >= planned);
        assert!(running.clock.now() < last.not_after() && newer.serial() != last.serial());
        last = newer;
    }
    assert_eq!(running.issuer.requests(), 11);
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_the_old_certificate_and_is_told() {
    let running = start();
    let mut watch = running.watch("till");
    let first = ready(&mut watch).await;
    running.issuer.otherwise(Behaviour::Unavailable);
    sleep(DAY.mul_f64(0.9)).await;
    assert_eq!(watch.current().expect("it serves").serial(), first.serial());
    let status = running.status("till");
    let failure = status.failure.expect("it is told");
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("the test says so") && status.failures > 3, "{failure}");
    assert!(status.next_rotation.expect("it is tried again") < running.clock.now() + MINUTE);
    assert!(running.issuer.requests() < 2 + 8 * 3600 / 30, "{}", running.issuer.requests());
    running.issuer.otherwise(Behaviour::Right);
    let second = next(&mut watch).await;
    assert!(second.serial() != first.serial() && running.clock.now() < first.not_after());
    let status = running.status("till");
    assert_eq!((status.failure, status.failures), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_and_tried_again_rarely() {
    let running = start();
    running.issuer.otherwise(Behaviour::Refused);
    let watch = running.watch("till");
    sleep(HOUR).await;
    assert!(watch.current().is_none());
    let failure = running.status("till").failure.expect("it is reported");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!((10..=35).contains(&running.issuer.requests()), "{}", running.issuer.requests());
    assert!(running.metrics().contains("osm_certs_failures_total{kind=\"refused\"} "));
    // Who has put it right need not wait.
    running.issuer.otherwise(Behaviour::Right);
    assert!(running.manager.rotate(&subject("till")));
    let mut watch = watch;
    timeout(MINUTE / 60, ready(&mut watch)).await.expect("at once");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_never_published() {
    for (behaviour, kind) in [
        (Behaviour::WrongNames, FailureKind::Unusable),
        (Behaviour::WrongKey, FailureKind::Unusable),
        (Behaviour::Ended, FailureKind::Unusable),
        (Behaviour::TooLong, FailureKind::Unusable),
        (Behaviour::WrongRoot, FailureKind::Unusable),
        (Behaviour::Never, FailureKind::Unavailable),
    ] {
        let running = start();
        running.issuer.otherwise(behaviour);
        let mut watch = running.watch("till");
        sleep(10 * MINUTE).await;
        assert!(watch.current().is_none(), "{behaviour:?} was published");
        let failure = running.status("till").failure.expect("it is told");
        assert_eq!(failure.kind, kind, "{behaviour:?}: {failure}");
        running.issuer.otherwise(Behaviour::Right);
        ready(&mut watch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_at_a_time_are_bounded_and_one_that_hangs_holds_up_no_other() {
    let running = start();
    running.issuer.then([Behaviour::Never]);
    running.issuer.otherwise(Behaviour::Late(Duration::from_secs(1)));
    let mut watches: Vec<_> = (0..50).map(|number| running.watch(&format!("account-{number}"))).collect();
    sleep(Duration::from_secs(20)).await;
    let served = watches.iter().filter(|watch| watch.current().is_some()).count();
    assert_eq!((served, running.issuer.most_under_way()), (49, 8));
    for watch in &mut watches {
        ready(watch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subject_is_forgotten_some_time_after_its_last_watch_is_dropped() {
    let running = start();
    let mut watch = running.watch("till");
    let first = ready(&mut watch).await;
    drop(watch);
    sleep(MINUTE / 2).await;
    let mut watch = running.watch("till");
    assert_eq!(ready(&mut watch).await.serial(), first.serial(), "who comes back soon finds it again");
    drop(watch);
    running.eventually("forgetting", |running| running.manager.statuses().is_empty()).await;
    sleep(2 * DAY).await;
    assert_eq!(running.issuer.requests(), 1, "nothing is renewed that nobody needs");
    let mut watch = running.watch("till");
    assert_ne!(ready(&mut watch).await.serial(), first.serial());
}

#[tokio::test(start_paused = true)]
async fn rotating_signs_everything_anew_and_leaves_no_gap() {
    let running = start();
    let accounts: Vec<String> = (0..100).map(|number| format!("account-{number}")).collect();
    let mut watches: Vec<_> = accounts.iter().map(|account| running.watch(account)).collect();
    let mut before = BTreeSet::new();
    for watch in &mut watches {
        before.insert(ready(watch).await.serial().to_owned());
    }
    let began = Instant::now();
    assert_eq!(running.manager.rotate_now(), 100);
    for watch in &mut watches {
        assert!(watch.current().is_some());
        assert!(!before.contains(next(watch).await.serial()));
    }
    assert!(began.elapsed() < Duration::from_secs(1) && running.issuer.most_under_way() <= 8);

    let serials = |running: &Running| -> Vec<_> {
        running.manager.statuses().into_iter().map(|status| status.serial).collect()
    };
    let before = serials(&running);
    assert!(running.manager.rotate(&subject("account-7")) && !running.manager.rotate(&subject("nobody")));
    sleep(MINUTE).await;
    let changed = serials(&running).iter().zip(&before).filter(|(now, then)| now != then).count();
    assert_eq!(changed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_root_is_shown_before_the_certificates_that_need_it() {
    let running = start();
    let (mut watch, mut trust) = (running.watch("till"), running.manager.trust());
    let old = ready(&mut watch).await;
    let old_root = trust.ready().await.expect("there is one");
    running.issuer.replace_root().expect("a root");
    let new = next(&mut watch).await;
    let new_root = trust.current().expect("there is one");
    assert!(*new_root != *old_root && new.serial() != old.serial());
    let usages = subject("till").usages();
    assert_eq!(verify::leads_to(new.chain(), &new_root, usages, running.clock.now()), Ok(()));
    assert!(running.issuer.requests() <= 3, "{}", running.issuer.requests());
}

#[tokio::test(start_paused = true)]
async fn a_new_root_is_noticed_when_the_first_certificate_of_it_comes() {
    let running = start();
    let mut watch = running.watch("till");
    ready(&mut watch).await;
    running.issuer.replace_root().expect("a root");
    running.manager.rotate(&subject("till"));
    let new = timeout(Duration::from_secs(1), next(&mut watch)).await.expect("without waiting");
    let root = running.manager.trust().current().expect("there is one");
    let usages = subject("till").usages();
    assert_eq!(verify::leads_to(new.chain(), &root, usages, running.clock.now()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_roots_nothing_is_asked_for_and_the_reason_is_told() {
    let running = start();
    running.issuer.trust(Behaviour::Unavailable);
    let mut watch = running.watch("till");
    sleep(MINUTE).await;
    assert_eq!((running.issuer.requests(), running.manager.trust().current()), (0, None));
    let failure = running.status("till").failure.expect("it is told");
    assert_eq!(Some(&failure), running.manager.trust_failure().as_ref());
    running.issuer.trust(Behaviour::Right);
    ready(&mut watch).await;
    assert_eq!(running.manager.trust_failure(), None);
    running.issuer.trust(Behaviour::Never);
    sleep(HOUR).await;
    assert!(running.manager.trust().current().is_some(), "the last good roots stay");
    assert_eq!(running.manager.trust_failure().map(|failure| failure.kind), Some(FailureKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn all_watches_end_with_the_driver() {
    let running = start();
    let (mut watch, mut trust) = (running.watch("till"), running.manager.trust());
    let certified = ready(&mut watch).await;
    trust.ready().await.expect("there is one");
    running.driving.abort();
    assert_eq!(watch.changed().await, Err(WatchEnded));
    assert_eq!(trust.changed().await, Err(WatchEnded));
    assert_eq!(watch.current().expect("the last one stays").serial(), certified.serial());
    assert_eq!(running.watch("other").ready().await.err(), Some(WatchEnded));
    let mut trust = running.manager.trust();
    assert!(trust.current().is_some());
    assert_eq!(trust.changed().await, Err(WatchEnded));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_is_followed_within_a_minute() {
    let running = start();
    let mut watch = running.watch("till");
    let first = ready(&mut watch).await;
    running.clock.step_forward(20 * HOUR);
    let second = timeout(MINUTE, next(&mut watch)).await.expect("it was due by then");
    assert!(second.not_after() > first.not_after());
    running.clock.step_back(20 * HOUR);
    let third = timeout(MINUTE, next(&mut watch)).await.expect("one from the future is good for nobody");
    assert!(third.not_before() < running.clock.now() && third.not_after() < second.not_after());
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_is_shown() {
    let running = start();
    running.issuer.then([Behaviour::Unavailable, Behaviour::WrongKey]);
    let (mut watch, _other) = (running.watch("till"), running.watch("other"));
    let text = running.metrics();
    assert!(text.contains("osm_certs_subjects 2\n") && !text.contains("seconds_until"), "{text}");
    ready(&mut watch).await;
    running.eventually("the other", |running| running.status("other").serial.is_some()).await;
    let text = running.metrics();
    for line in [
        "osm_certs_issued_total 2",
        "osm_certs_failures_total{kind=\"unavailable\"} 1",
        "osm_certs_failures_total{kind=\"unusable\"} 1",
        "osm_certs_failures_total{kind=\"refused\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    let left = text.lines().find_map(|line| line.strip_prefix("osm_certs_seconds_until_first_expiry "));
    let left: f64 = left.expect("it is there").parse().expect("a number");
    assert!(left <= 86_400.0 && left > 86_000.0, "{left}");
}

/// I11: what the manager shows has nothing of a key.
#[tokio::test(start_paused = true)]
async fn i11_nothing_that_the_manager_shows_has_a_key() {
    let running = start();
    let mut watch = running.watch("till");
    let certified = ready(&mut watch).await;
    let shown = format!(
        "{certified:?} {watch:?} {:?} {:?} {:?} {}",
        running.manager,
        running.manager.statuses(),
        running.manager.metrics(),
        running.metrics()
    );
    let secret: String = certified.key().pem().lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = format!("{:?}", certified.key().der().secret_der());
    assert!(shown.contains("elided") && !shown.contains(&secret[80..120]) && !shown.contains(&bytes[1..80]));
}

#[tokio::test]
async fn a_thousand_subjects_are_served_by_the_in_process_authority() {
    let issuer = Arc::new(InProcessCa::ephemeral().expect("an authority"));
    let (manager, driver) = CertificateManager::new(issuer, ManagerOptions::default());
    let driving = tokio::spawn(driver.run());
    let mut watches: Vec<_> =
        (0..1000).map(|number| manager.watch(&subject(&format!("account-{number}")))).collect();
    for watch in &mut watches {
        timeout(MINUTE, watch.ready()).await.expect("in time").expect("the manager runs");
    }
    let ends: BTreeSet<SystemTime> =
        manager.statuses().into_iter().filter_map(|status| status.next_rotation).collect();
    assert!(ends.len() > 900, "they are renewed at different times");
    driving.abort();
}
