//! From snapshots to views: the incremental middle of the control plane.
//!
//! A [`Publisher`] is a [`ViewSource`]: the server subscribes to it for each
//! proxy. Behind it an [`Engine`] keeps, for every class of connected proxies,
//! the layers of resources that they see. When the mesh changes it redoes only
//! the parts that the change set names, generates only what became different,
//! and shares everything among all who see the same.
//!
//! What is decided and how it is written down is not here: the engine calls
//! `osm_core::policy` and [`crate::generate`] and remembers what they said.

mod audit;
mod certificates;
mod class;
mod common;
mod differences;
mod driver;
mod engine;
mod outbound;
mod outbounds;
mod part;
mod refusals;
mod subscriber;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use osm_core::catalog::MeshCatalog;
use osm_core::identity::{ProxyId, TrustDomains};
use osm_core::policy::{self, Unknown};
use tokio::sync::{mpsc, watch};

pub use driver::PublisherDriver;
pub use engine::Engine;
pub use subscriber::SubscriptionId;
pub use work::Work;

use crate::client::ClientKind;
use crate::view::{Refusal, ViewSender, ViewSource, ViewWatch};

/// What a piece of news led to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// What kind of news it was.
    pub cause: Cause,
    /// The version of the views; it grows with each piece of news that may
    /// change any.
    pub version: u64,
    /// The version of the mesh snapshot that the views are made from.
    pub snapshot: u64,
    /// The trust domains in which views tell proxies to know identities.
    pub domains: Arc<TrustDomains>,
    /// The roots that views tell proxies to trust, as PEM text; `None` as long as they are not known.
    pub trust: Option<Arc<str>>,
    /// When work on it began.
    pub began: Instant,
    /// How many proxies were given a new view.
    pub proxies: usize,
    /// The work that it took.
    pub work: Work,
    /// All work since the start. Publications are skipped when they come too
    /// fast; this tells what happened in between.
    pub total: Work,
    /// The part of `total` that snapshots of the mesh led to, without proxies
    /// that came and certificates that were renewed.
    pub mesh: Work,
}

/// What kind of news led to a [`Publication`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nothing has happened yet.
    Start,
    /// A new snapshot of the mesh.
    Mesh,
    /// Other roots of trust.
    Trust,
    /// The certificate of a workload is new.
    Certificate,
    /// Proxies have come or gone.
    Subscription,
}

/// How often views were compared with views made from scratch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audits {
    /// How many proxies were looked at.
    pub done: u64,
    /// How many of them had something else than they should have. Not 0 means a
    /// fault of this program; the log names the resources.
    pub differing: u64,
}

/// Gives each proxy its views. Cheap to clone.
///
/// ```
/// use std::sync::Arc;
///
/// use osm_certs::provider::CertificateProvider;
/// use osm_core::catalog::MeshCatalog;
/// use osm_core::identity::TrustDomain;
/// use osm_xds::metrics::Metrics;
/// use osm_xds::push::Publisher;
/// use osm_xds::server::{CertificateAuthenticator, Server, ServerOptions, TlsHandle};
///
/// /// A server of what the catalog says, and the work behind it.
/// fn control_plane(
///     catalog: Arc<dyn MeshCatalog>,
///     certificates: Arc<dyn CertificateProvider>,
///     trust_domain: TrustDomain,
///     tls: TlsHandle,
/// ) -> (Server, impl Future<Output = ()>) {
///     let (publisher, driver) = Publisher::new(catalog, certificates);
///     let authenticator = Arc::new(CertificateAuthenticator::new(trust_domain));
///     let options = ServerOptions::default();
///     let server = Server::new(options, Arc::new(publisher), authenticator, tls, Metrics::new());
///     (server, driver.run())
/// }
/// ```
#[derive(Clone)]
pub struct Publisher {
    catalog: Arc<dyn MeshCatalog>,
    commands: mpsc::UnboundedSender<Command>,
    next: Arc<AtomicU64>,
    published: watch::Receiver<Publication>,
    audits: watch::Receiver<Audits>,
}

/// What a publisher tells its driver.
enum Command {
    Subscribe { id: SubscriptionId, proxy: ProxyId, client: ClientKind, sender: ViewSender },
    Unsubscribe(SubscriptionId),
}

impl Publisher {
    /// A watch on what each change led to.
    #[must_use]
    pub fn publications(&self) -> watch::Receiver<Publication> {
        self.published.clone()
    }

    /// What audits found so far; see [`PublisherDriver::auditing`].
    #[must_use]
    pub fn audits(&self) -> Audits {
        *self.audits.borrow()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.published.borrow().version;
        f.debug_struct("Publisher").field("version", &version).finish_non_exhaustive()
    }
}

impl ViewSource for Publisher {
    fn subscribe(&self, proxy: &ProxyId) -> Result<ViewWatch, Refusal> {
        self.subscribe_client(proxy, ClientKind::Envoy)
    }

    fn subscribe_client(&self, proxy: &ProxyId, client: ClientKind) -> Result<ViewWatch, Refusal> {
        if let Err(error @ Unknown::OtherIdentity { .. }) = policy::classify(&self.catalog.snapshot(), proxy)
        {
            return Err(Refusal::denied(error.to_string()));
        }
        let id = SubscriptionId(self.next.fetch_add(1, Ordering::Relaxed));
        let sender = ViewSender::new(None);
        let watch = sender.watch();
        self.commands
            .send(Command::Subscribe { id, proxy: proxy.clone(), client, sender })
            .map_err(|_| Refusal::unavailable("the control plane is stopping; connect to another replica"))?;
        Ok(watch.with_guard(Unsubscribe { id, commands: self.commands.clone() }))
    }
}

/// Ends a subscription when its watch is dropped.
struct Unsubscribe {
    id: SubscriptionId,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        // Without a driver there is nothing to unsubscribe from.
        drop(self.commands.send(Command::Unsubscribe(self.id)));
    }
}
