//! Tests of the registry without streams.

use futures::FutureExt;

use super::*;
use crate::session::DeltaSession;
use crate::view::{View, ViewSender};

/// A stream, and the sender of its views.
struct Stream {
    registration: Registration,
    views: ViewWatch,
    sender: ViewSender,
    seen: u64,
}

fn stream(registry: &Arc<Registry>, uuid: &str) -> Stream {
    let identity = "shop/till".parse().expect("an identity");
    let proxy = ProxyId::new(uuid.parse().expect("a UUID"), identity);
    let session = <DeltaSession as Protocol>::begin(&proxy, Arc::default());
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (connected_since, server) = (SystemTime::UNIX_EPOCH, Arc::new([]));
    let about = About { proxy, address, envoy_version: None, connected_since, server };
    let entry = Arc::new(Entry {
        about,
        live: Mutex::new(Live { session, sent: Sent::default(), acceptance: Acceptance::default() }),
    });
    let sender = ViewSender::new(None);
    let views = sender.watch();
    let registration = registry.register(entry, &views);
    Stream { registration, views, sender, seen: 0 }
}

impl Stream {
    fn send(&self) {
        self.sender.send(Arc::new(View::new(1, [])));
    }

    fn look(&mut self) {
        self.seen = self.views.look().1;
    }

    /// Reports on the view that was looked at last.
    fn report(&mut self, in_sync: bool) {
        self.registration.report(Instant::now(), in_sync, self.seen);
    }

    /// Is sent a view and does not look at it yet.
    fn sent(registry: &Arc<Registry>, uuid: &str) -> Self {
        let stream = stream(registry, uuid);
        stream.send();
        stream
    }

    fn catch_up(&mut self) {
        self.look();
        self.report(true);
    }
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
    one.report(true);
    two.report(true);
    assert_eq!(registry.convergence().last_touched, 2);
    one.report(false);
    two.report(false);
    two.report(true);
    two.report(false);
    let state = registry.convergence();
    assert_eq!((state.behind, state.touched), (2, 2));
    one.report(true);
    two.report(true);
    let state = registry.convergence();
    assert_eq!((state.behind, state.touched, state.last_touched), (0, 0, 2));
}

#[test]
fn a_stream_that_acknowledges_at_once_is_counted_as_touched() {
    let registry = Registry::new();
    let mut one = stream(&registry, "one");
    one.report(true);
    let before = registry.convergence().last_converged;
    one.registration.fell_behind(Instant::now());
    assert_eq!((registry.convergence().behind, registry.convergence().touched), (1, 1));
    one.report(true);
    let state = registry.convergence();
    assert_eq!((state.behind, state.last_touched), (0, 1));
    assert!(state.last_converged >= before);
}

#[test]
fn a_report_on_an_earlier_view_is_no_answer() {
    let registry = Registry::new();
    let mut one = Stream::sent(&registry, "one");
    one.look();
    one.send();
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    one.report(true);
    assert!(converged.as_mut().now_or_never().is_none());
    one.catch_up();
    assert!(converged.as_mut().now_or_never().is_some());
}

#[test]
fn a_stream_that_has_answered_may_be_sent_more() {
    let registry = Registry::new();
    let (mut one, mut two) = (Stream::sent(&registry, "one"), Stream::sent(&registry, "two"));
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    one.catch_up();
    one.send();
    one.look();
    one.report(false);
    two.catch_up();
    assert!(converged.as_mut().now_or_never().is_some());
    assert_eq!(registry.convergence().behind, 1);
    assert!(registry.converged().now_or_never().is_none(), "the newer view is waited for");
}

#[test]
fn a_stream_that_goes_is_not_waited_for() {
    let registry = Registry::new();
    let (mut one, two) = (Stream::sent(&registry, "one"), Stream::sent(&registry, "two"));
    let mut first = Box::pin(registry.converged());
    let mut second = Box::pin(registry.converged());
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    one.catch_up();
    assert!(first.as_mut().now_or_never().is_none());
    drop(two);
    assert!(first.as_mut().now_or_never().is_some() && second.as_mut().now_or_never().is_some());
    assert_eq!(registry.convergence().streams, 1);
}

#[test]
fn a_stream_that_was_never_sent_a_view_is_not_waited_for() {
    let registry = Registry::new();
    let (mut one, _without) = (Stream::sent(&registry, "one"), stream(&registry, "without"));
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    one.catch_up();
    assert!(converged.as_mut().now_or_never().is_some());
}

#[test]
fn a_view_that_was_there_before_the_stream_is_waited_for() {
    let registry = Registry::new();
    let sender = ViewSender::new(Some(Arc::new(View::new(1, []))));
    let mut one = Stream { views: sender.watch(), sender, ..stream(&registry, "one") };
    one.views.follow(&one.registration.place);
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    one.catch_up();
    assert!(converged.as_mut().now_or_never().is_some());
}

#[test]
fn waiting_looks_at_the_streams_that_were_sent_something_and_no_others() {
    let registry = Registry::new();
    let mut streams: Vec<_> =
        (0..1000).map(|number| Stream::sent(&registry, &format!("p{number}"))).collect();
    streams.iter_mut().for_each(Stream::catch_up);
    streams[7].send();
    assert_eq!(registry.streams.lock().owing.len(), 1);
    let mut converged = Box::pin(registry.converged());
    assert!(converged.as_mut().now_or_never().is_none());
    streams[7].catch_up();
    assert!(converged.as_mut().now_or_never().is_some());
    assert!(registry.streams.lock().owing.is_empty() && registry.streams.lock().awaited.is_none());
}

#[test]
fn a_stream_that_is_gone_is_not_told_of_views() {
    let registry = Registry::new();
    let Stream { registration, sender, .. } = stream(&registry, "one");
    drop(registration);
    sender.send(Arc::new(View::new(1, [])));
    assert!(registry.streams.lock().owing.is_empty());
}
