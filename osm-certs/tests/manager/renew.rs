//! Certificates that are replaced because another issuer signs by now.

use std::time::Duration;

use osm_certs::testing::Behaviour;
use tokio::time::sleep;

use crate::running::{next, ready, start, subject};

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_signed_anew_and_nothing_else() {
    let running = start();
    let (mut stale, mut good) = (running.watch("stale"), running.watch("good"));
    let (old, kept) = (ready(&mut stale).await, ready(&mut good).await);
    assert_eq!(running.manager.renew(|of, _| *of == subject("stale")), 1);
    assert_ne!(next(&mut stale).await.serial(), old.serial());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(good.current().expect("it serves").serial(), kept.serial());
    assert_eq!((running.issuer.requests(), running.manager.is_behind()), (3, false));
}

#[tokio::test(start_paused = true)]
async fn what_was_being_signed_is_behind_until_it_is_there_and_then_signed_anew() {
    let running = start();
    let mut first = running.watch("first");
    ready(&mut first).await;
    running.issuer.then([Behaviour::Late(Duration::from_secs(5)); 2]);
    let mut late = running.watch("late");
    sleep(Duration::from_secs(1)).await;
    assert!(!running.manager.is_behind(), "nothing is to be renewed yet");
    assert_eq!(running.manager.renew(|_, _| false), 0);
    assert!(running.manager.is_behind());
    let before = ready(&mut late).await;
    assert!(!running.manager.is_behind());
    assert_ne!(next(&mut late).await.serial(), before.serial());
    assert!(!running.manager.is_behind());
    assert_eq!(running.issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_signing_that_fails_or_never_ends_is_behind_no_longer_than_it_takes() {
    let running = start();
    let mut first = running.watch("first");
    ready(&mut first).await;
    running.issuer.then([Behaviour::Never]);
    let mut late = running.watch("late");
    sleep(Duration::from_secs(1)).await;
    running.manager.renew(|_, _| false);
    running.manager.renew(|_, _| false);
    assert!(running.manager.is_behind());
    running.eventually("giving it up", |running| !running.manager.is_behind()).await;
    ready(&mut late).await;
}

#[tokio::test(start_paused = true)]
async fn the_chains_are_those_that_are_given_out() {
    let running = start();
    assert_eq!(running.manager.chains(), []);
    running.issuer.then([Behaviour::Right, Behaviour::Refused]);
    let mut till = running.watch("till");
    let certified = ready(&mut till).await;
    let refused = running.watch("refused");
    running.eventually("a refusal", |running| running.status("refused").failure.is_some()).await;
    assert!(refused.current().is_none());
    assert_eq!(running.manager.chains(), [(subject("till"), certified.chain().clone())]);
}
