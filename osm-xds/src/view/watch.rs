//! How views reach streams.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::View;
use crate::client::ClientKind;

/// Where the server gets views from.
///
/// [`subscribe`](Self::subscribe) is called once for each new stream, from many
/// tasks, after the proxy has proved who it is. The watch shows every later view
/// of that proxy; dropping it is the end of the subscription. A source that has
/// no view yet returns a watch without one: the stream waits. One that ends
/// the watch (drops every [`ViewSender`] of it) ends the stream, and the proxy
/// will connect anew; an outage is no reason for that.
///
/// ```
/// use osm_core::identity::ProxyId;
/// use osm_xds::view::{Refusal, View, ViewSender, ViewSource, ViewWatch};
///
/// /// Gives every proxy the same view.
/// struct Everyone(ViewSender);
///
/// impl ViewSource for Everyone {
///     fn subscribe(&self, _proxy: &ProxyId) -> Result<ViewWatch, Refusal> {
///         Ok(self.0.watch())
///     }
/// }
/// ```
pub trait ViewSource: Send + Sync + 'static {
    /// The views of a proxy from now on.
    ///
    /// # Errors
    /// When this proxy gets nothing here; the stream is refused with the reason.
    fn subscribe(&self, proxy: &ProxyId) -> Result<ViewWatch, Refusal>;

    /// As [`subscribe`](Self::subscribe), for a client of any kind. Without an
    /// implementation of its own a source serves Envoys only: what is written for
    /// them means nothing to others.
    ///
    /// # Errors
    /// As `subscribe`, and when the source has nothing for this kind of client.
    fn subscribe_client(&self, proxy: &ProxyId, client: ClientKind) -> Result<ViewWatch, Refusal> {
        match client {
            ClientKind::Envoy => self.subscribe(proxy),
            ClientKind::Grpc => {
                Err(Refusal::denied("this control plane serves Envoys only, not gRPC clients"))
            }
        }
    }
}

impl<S: ViewSource + ?Sized> ViewSource for Arc<S> {
    fn subscribe(&self, proxy: &ProxyId) -> Result<ViewWatch, Refusal> {
        (**self).subscribe(proxy)
    }

    fn subscribe_client(&self, proxy: &ProxyId, client: ClientKind) -> Result<ViewWatch, Refusal> {
        (**self).subscribe_client(proxy, client)
    }
}

/// Who can do something about a refused subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// This proxy may not connect; trying again does not help until the mesh
    /// changes (gRPC `PERMISSION_DENIED`).
    Denied,
    /// Not now; trying again may help (gRPC `UNAVAILABLE`).
    Unavailable,
}

/// Why a proxy gets no views.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Who can do something about it.
    pub kind: RefusalKind,
    /// The reason, for the proxy's operator: it reaches Envoy's log.
    pub reason: String,
}

impl Refusal {
    /// A proxy that may not connect.
    #[must_use]
    pub fn denied(reason: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Denied, reason: reason.into() }
    }

    /// A proxy that cannot be served now.
    #[must_use]
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Unavailable, reason: reason.into() }
    }
}

/// Counts the views of this process that were sent.
static SENT: AtomicU64 = AtomicU64::new(0);

/// Is told of each view before any watch shows it, by the number of the sending.
pub(crate) trait Follow: Send + Sync {
    fn sent(&self, number: u64);
}

/// Those who follow a sender; dropping one ends it.
type Followers = Arc<Mutex<Vec<Weak<dyn Follow>>>>;

/// The writing end of any number of watches.
pub struct ViewSender {
    shown: watch::Sender<Shown>,
    followers: Followers,
}

/// What watches show.
#[derive(Default)]
struct Shown {
    view: Option<Arc<View>>,
    /// The number of its sending; 0 for a view that was there from the start.
    number: u64,
}

impl ViewSender {
    /// A sender, with a first view if there is one already.
    #[must_use]
    pub fn new(first: Option<Arc<View>>) -> Self {
        Self { shown: watch::Sender::new(Shown { view: first, number: 0 }), followers: Followers::default() }
    }

    /// Shows a view to all watches. One that has not looked yet sees only the newest.
    pub fn send(&self, view: Arc<View>) {
        let number = SENT.fetch_add(1, Ordering::Relaxed) + 1;
        self.shown.send_modify(|shown| {
            self.followers.lock().retain(|follower| {
                let follower = follower.upgrade();
                follower.inspect(|follower| follower.sent(number)).is_some()
            });
            *shown = Shown { view: Some(view), number };
        });
    }

    /// The view that was sent last.
    #[must_use]
    pub fn current(&self) -> Option<Arc<View>> {
        self.shown.borrow().view.clone()
    }

    /// One more watch.
    #[must_use]
    pub fn watch(&self) -> ViewWatch {
        ViewWatch { shown: self.shown.subscribe(), followers: Arc::clone(&self.followers), guard: None }
    }

    /// How many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.shown.receiver_count()
    }
}

impl fmt::Debug for ViewSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewSender").field("version", &self.current().map(|view| view.version())).finish()
    }
}

/// What a stream holds: the newest view of its proxy. Dropping it unsubscribes.
pub struct ViewWatch {
    shown: watch::Receiver<Shown>,
    followers: Followers,
    guard: Option<Box<dyn Any + Send + Sync>>,
}

impl ViewWatch {
    /// The same watch, with something that is dropped together with it, such as
    /// a guard that counts subscribers.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// The newest view, `None` when there is none yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<View>> {
        self.shown.borrow().view.clone()
    }

    /// The newest view, marked as seen: [`changed`](Self::changed) waits for a later one.
    pub fn latest(&mut self) -> Option<Arc<View>> {
        self.look().0
    }

    /// As [`latest`](Self::latest), with the number of its sending.
    pub(crate) fn look(&mut self) -> (Option<Arc<View>>, u64) {
        let shown = self.shown.borrow_and_update();
        (shown.view.clone(), shown.number)
    }

    /// Tells somebody of each view that is sent from here on, and of the one that
    /// is there already.
    pub(crate) fn follow(&self, follower: &Arc<impl Follow + 'static>) {
        // No view is sent while the newest is held on to.
        let shown = self.shown.borrow();
        if shown.view.is_some() {
            follower.sent(shown.number);
        }
        let mut followers = self.followers.lock();
        followers.retain(|follower| follower.strong_count() > 0);
        let follower: Weak<dyn Follow> = Arc::downgrade(follower) as Weak<dyn Follow>;
        followers.push(follower);
    }

    /// Whether there will never be another view.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shown.has_changed().is_err()
    }

    /// Waits for a view that was not seen yet. Safe to cancel.
    ///
    /// # Errors
    /// When there will never be one.
    pub async fn changed(&mut self) -> Result<(), ViewEnded> {
        self.shown.changed().await.map_err(|_| ViewEnded)
    }
}

impl fmt::Debug for ViewWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewWatch").field("version", &self.current().map(|view| view.version())).finish()
    }
}

/// No view will come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source of views ended")]
pub struct ViewEnded;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_skips_to_the_newest_view() {
        let sender = ViewSender::new(None);
        let mut watch = sender.watch();
        assert!(watch.current().is_none());
        sender.send(Arc::new(View::new(1, [])));
        sender.send(Arc::new(View::new(2, [])));
        watch.changed().await.expect("a view was sent");
        assert_eq!(watch.latest().map(|view| view.version()), Some(2));
        assert!(!watch.has_ended());
        drop(sender);
        assert!(watch.has_ended());
        assert_eq!(watch.changed().await, Err(ViewEnded));
    }

    #[test]
    fn a_dropped_watch_drops_its_guard() {
        let guard = Arc::new(());
        let sender = ViewSender::new(None);
        let watch = sender.watch().with_guard(Arc::clone(&guard));
        assert_eq!((Arc::strong_count(&guard), sender.watches()), (2, 1));
        drop(watch);
        assert_eq!((Arc::strong_count(&guard), sender.watches()), (1, 0));
    }
}
