//! The parts of a control plane that a simulation puts together, each of which
//! can be replaced.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::snapshot::{ChangeSet, MeshSnapshot};

use super::super::Request;
use crate::push::{Engine, SubscriptionId};
use crate::session::{
    DeltaSession, Dialect, ProtocolError, Received, Response, Secrets, SessionOptions, SessionStatus,
    SotwSession,
};
use crate::view::{View, ViewEnded, ViewSender, ViewWatch};

/// Makes the parts of a simulated control plane: the real ones, unless said otherwise.
///
/// Implement it to try a part of your own, or a real one with a fault planted
/// at its door.
///
/// ```
/// use std::sync::Arc;
///
/// use osm_core::snapshot::MeshSnapshot;
/// use osm_xds::push::Engine;
/// use osm_xds::testing::simulation::{Faults, Parts, Simulation, ViewEngine};
///
/// struct Mine;
///
/// impl Parts for Mine {
///     fn engine(&mut self, snapshot: Arc<MeshSnapshot>) -> Box<dyn ViewEngine> {
///         // Something that wraps the real one.
///         Box::new(Engine::new(snapshot))
///     }
/// }
///
/// Simulation::new(7).parts(Mine).run()?;
/// # Ok::<(), osm_xds::testing::simulation::Failure>(())
/// ```
pub trait Parts {
    /// What makes views of snapshots, for a control plane that starts.
    fn engine(&mut self, snapshot: Arc<MeshSnapshot>) -> Box<dyn ViewEngine> {
        Box::new(Engine::new(snapshot))
    }

    /// What brings the views of a proxy to its stream.
    fn feed(&mut self, watch: ViewWatch) -> Box<dyn ViewFeed> {
        Box::new(WatchFeed::new(watch))
    }

    /// The session of a stream that begins.
    fn session(
        &mut self,
        proxy: &ProxyId,
        dialect: Dialect,
        options: &Arc<SessionOptions>,
    ) -> Box<dyn StreamSession> {
        match dialect {
            Dialect::Delta => Box::new(DeltaSession::new(proxy, Arc::clone(options))),
            Dialect::Sotw => Box::new(SotwSession::new(proxy, Arc::clone(options))),
        }
    }
}

/// The parts that a control plane has.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealParts;

impl Parts for RealParts {}

/// What makes views; see [`Engine`], whose methods these are.
pub trait ViewEngine {
    /// Begins to send views to a proxy.
    fn subscribe(&mut self, id: SubscriptionId, proxy: ProxyId, sender: ViewSender);
    /// Ends a subscription.
    fn unsubscribe(&mut self, id: SubscriptionId);
    /// Takes in a new snapshot.
    fn on_snapshot(&mut self, snapshot: Arc<MeshSnapshot>, change: &ChangeSet);
    /// Takes in the roots of trust.
    fn on_trust(&mut self, pem: &str);
    /// Takes in a certificate.
    fn on_certificate(&mut self, identity: &ServiceIdentity, chain: &str, key: &str);
    /// The identities that have gained their first proxy or lost their last one.
    fn turned(&mut self) -> Vec<ServiceIdentity>;
    /// Whether proxies of this identity are subscribed.
    fn serves(&self, identity: &ServiceIdentity) -> bool;
    /// Whether nothing is kept for any proxy.
    fn is_idle(&self) -> bool;
}

impl ViewEngine for Engine {
    fn subscribe(&mut self, id: SubscriptionId, proxy: ProxyId, sender: ViewSender) {
        Self::subscribe(self, id, proxy, sender);
    }

    fn unsubscribe(&mut self, id: SubscriptionId) {
        Self::unsubscribe(self, id);
    }

    fn on_snapshot(&mut self, snapshot: Arc<MeshSnapshot>, change: &ChangeSet) {
        Self::on_snapshot(self, snapshot, change);
    }

    fn on_trust(&mut self, pem: &str) {
        Self::on_trust(self, pem);
    }

    fn on_certificate(&mut self, identity: &ServiceIdentity, chain: &str, key: &str) {
        Self::on_certificate(self, identity, chain, key);
    }

    fn turned(&mut self) -> Vec<ServiceIdentity> {
        self.take_turned().into_iter().collect()
    }

    fn serves(&self, identity: &ServiceIdentity) -> bool {
        Self::serves(self, identity)
    }

    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }
}

/// What brings views to a stream.
pub trait ViewFeed {
    /// The newest view, if it was not given yet; `None` when none will come any
    /// more. If there is nothing new, the context's waker is woken when there is:
    /// the stream looks again only then.
    fn poll_view(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<View>>>;
}

/// A watch as a server's stream waits for it.
struct WatchFeed {
    changed: Pin<Box<dyn Future<Output = Changed>>>,
}

/// Whether there is a view that was not seen, or none any more, and the watch.
type Changed = (Result<(), ViewEnded>, ViewWatch);

impl WatchFeed {
    fn new(mut watch: ViewWatch) -> Self {
        Self { changed: Box::pin(async move { (watch.changed().await, watch) }) }
    }
}

impl ViewFeed for WatchFeed {
    fn poll_view(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<View>>> {
        loop {
            let (changed, mut watch) = ready!(self.changed.as_mut().poll(context));
            let view = watch.latest();
            *self = Self::new(watch);
            if changed.is_err() {
                return Poll::Ready(None);
            }
            if view.is_some() {
                return Poll::Ready(view);
            }
        }
    }
}

/// One stream's state; see [`DeltaSession`], whose methods these are.
pub trait StreamSession {
    /// Takes in a request of the session's dialect.
    ///
    /// # Errors
    /// When the stream has to end.
    ///
    /// # Panics
    /// Where the request is one of the other dialect, which no stream can carry.
    fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError>;
    /// Delivers this view from now on.
    fn on_view(&mut self, view: Arc<View>);
    /// The next response, if there is anything to say now.
    fn next_response(&mut self, now: Instant) -> Option<Response>;
    /// When to ask for a response again although nothing has come in.
    fn deadline(&self) -> Option<Instant>;
    /// What the session has done and still has to do.
    fn status(&self) -> SessionStatus;
    /// What the proxy may have of its secrets.
    fn secrets(&self) -> Secrets;
}

macro_rules! stream_session {
    ($session:ty, $request:ident) => {
        impl StreamSession for $session {
            fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError> {
                match request {
                    Request::$request(request) => Self::on_request(self, request, now),
                    _ => panic!("a request of the other dialect"),
                }
            }

            fn on_view(&mut self, view: Arc<View>) {
                Self::on_view(self, view);
            }

            fn next_response(&mut self, now: Instant) -> Option<Response> {
                Self::next_response(self, now)
            }

            fn deadline(&self) -> Option<Instant> {
                Self::deadline(self)
            }

            fn status(&self) -> SessionStatus {
                Self::status(self)
            }

            fn secrets(&self) -> Secrets {
                Self::secrets(self)
            }
        }
    };
}

stream_session!(DeltaSession, Delta);
stream_session!(SotwSession, Sotw);
