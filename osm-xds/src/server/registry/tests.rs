//! Tests of the registry without streams.

use futures::FutureExt;

use super::*;
use crate::session::DeltaSession;

fn stream(registry: &Arc<Registry>, uuid: &str) -> Registration {
    let identity = "shop/till".parse().expect("an identity");
    let proxy = ProxyId::new(uuid.parse().expect("a UUID"), identity);
    let session = <DeltaSession as Protocol>::begin(&proxy, Arc::default());
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let about = About { proxy, address, envoy_version: None, connected_since: SystemTime::UNIX_EPOCH };
    registry.register(Arc::new(Entry { about, live: Mutex::new(Live { session, sent: Sent::default() }) }))
}

/// Reports in the newest round.
fn report(registration: &mut Registration, in_sync: bool) {
    let round = registration.round();
    registration.report(Instant::now(), in_sync, round);
}

#[test]
fn streams_are_told_in_the_order_in_which_they_came_and_go_when_dropped() {
    let registry = Registry::new();
    let streams: Vec<_> = ["c", "a", "b"].iter().map(|uuid| stream(&registry, uuid)).collect();
    let names = || registry.statuses().iter().map(|s| s.proxy.uuid.to_string()).collect::<Vec<_>>();
    assert_eq!(names(), ["c", "a", "b"]);
    drop(streams);
    assert!(names().is_empty());
    assert_eq!(registry.convergence(), Convergence { touched: 0, last_touched: 3, ..registry.convergence() });
}

#[test]
fn what_was_touched_is_counted_once_until_all_are_in_sync() {
    let registry = Registry::new();
    let (mut one, mut two) = (stream(&registry, "one"), stream(&registry, "two"));
    report(&mut one, true);
    report(&mut two, true);
    assert_eq!(registry.convergence().last_touched, 2);
    report(&mut one, false);
    report(&mut two, false);
    report(&mut two, true);
    report(&mut two, false);
    let state = registry.convergence();
    assert_eq!((state.behind, state.touched), (2, 2));
    report(&mut one, true);
    report(&mut two, true);
    let state = registry.convergence();
    assert_eq!((state.behind, state.touched, state.last_touched), (0, 0, 2));
}

#[test]
fn a_stream_that_acknowledges_at_once_is_counted_as_touched() {
    let registry = Registry::new();
    let mut one = stream(&registry, "one");
    report(&mut one, true);
    let before = registry.convergence().last_converged;
    one.fell_behind(Instant::now());
    assert_eq!((registry.convergence().behind, registry.convergence().touched), (1, 1));
    report(&mut one, true);
    let state = registry.convergence();
    assert_eq!((state.behind, state.last_touched), (0, 1));
    assert!(state.last_converged >= before);
}

#[test]
fn a_report_from_before_the_question_is_no_answer() {
    let registry = Registry::new();
    let mut one = stream(&registry, "one");
    let early = one.round();
    one.report(Instant::now(), true, early);
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    assert!(one.asked().now_or_never().is_some(), "the stream is asked");
    one.report(Instant::now(), true, early);
    assert!(converged.as_mut().now_or_never().is_none());
    report(&mut one, true);
    assert!(converged.as_mut().now_or_never().is_some());
}

#[test]
fn a_stream_that_has_answered_may_fall_behind_again() {
    let registry = Registry::new();
    let (mut one, mut two) = (stream(&registry, "one"), stream(&registry, "two"));
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    report(&mut one, true);
    report(&mut one, false);
    report(&mut two, true);
    assert!(converged.as_mut().now_or_never().is_some());
    assert_eq!(registry.convergence().behind, 1);
}

#[test]
fn a_stream_that_goes_is_not_waited_for() {
    let registry = Registry::new();
    let (mut one, two) = (stream(&registry, "one"), stream(&registry, "two"));
    let mut first = Box::pin(registry.converged());
    let mut second = Box::pin(registry.converged());
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    report(&mut one, true);
    assert!(first.as_mut().now_or_never().is_none());
    drop(two);
    assert!(first.as_mut().now_or_never().is_some() && second.as_mut().now_or_never().is_some());
    assert_eq!(registry.convergence().streams, 1);
}
