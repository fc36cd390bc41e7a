//! The task that feeds the engine: snapshots, trust, certificates, subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures::future::pending;
use osm_certs::certificate::{Certified, TrustBundle};
use osm_certs::provider::{CertificateProvider, TrustWatch};
use osm_certs::subject::Subject;
use osm_core::catalog::{MeshCatalog, SnapshotWatch};
use osm_core::identity::{ProxyId, ServiceIdentity, TrustDomain};
use osm_core::snapshot::{ChangeSet, MeshSnapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::certificates::Certificates;
use super::engine::Engine;
use super::{Audits, Cause, Command, Publication, Publisher, Work};
use crate::resource::ResourceKey;

/// At most so many commands are taken in before their views are worked on.
const COMMANDS: usize = 64;

/// A proxy, and what is not as it should be in its view.
type Audited = (ProxyId, BTreeSet<ResourceKey>);

/// The part of a [`Publisher`] that does the work, for a task of the caller's.
pub struct PublisherDriver {
    engine: Engine,
    /// The trust domain in which certificates are asked for.
    domain: TrustDomain,
    /// `None` once no other snapshot can follow; the last one stays in force.
    snapshots: Option<SnapshotWatch>,
    provider: Arc<dyn CertificateProvider>,
    /// `None` once no other roots can follow; the last ones stay in force.
    trust: Option<TrustWatch>,
    certificates: Certificates,
    commands: mpsc::UnboundedReceiver<Command>,
    published: watch::Sender<Publication>,
    audit_every: Option<Duration>,
    /// The audit that runs.
    audit: Option<JoinHandle<Audited>>,
    audits: watch::Sender<Audits>,
    /// The work that snapshots led to.
    mesh: Work,
}

impl Publisher {
    /// A publisher of what a catalog says, with certificates of a provider, and
    /// the driver that makes it so.
    #[must_use]
    pub fn new(
        catalog: Arc<dyn MeshCatalog>,
        provider: Arc<dyn CertificateProvider>,
    ) -> (Self, PublisherDriver) {
        let (commands, received) = mpsc::unbounded_channel();
        let engine = Engine::new(catalog.snapshot());
        let (sender, published) = watch::channel(Publication {
            cause: Cause::Start,
            version: 0,
            snapshot: 0,
            domains: Arc::clone(engine.snapshot().trust_domains()),
            trust: None,
            began: now(),
            proxies: 0,
            work: Work::default(),
            total: Work::default(),
            mesh: Work::default(),
        });
        let (found, audits) = watch::channel(Audits::default());
        let driver = PublisherDriver {
            domain: engine.snapshot().trust_domains().own().clone(),
            engine,
            snapshots: Some(catalog.watch()),
            trust: Some(provider.trust()),
            provider,
            certificates: Certificates::default(),
            commands: received,
            published: sender,
            audit_every: None,
            audit: None,
            audits: found,
            mesh: Work::default(),
        };
        let publisher = Self { catalog, commands, next: Arc::new(AtomicU64::new(1)), published, audits };
        (publisher, driver)
    }
}

impl PublisherDriver {
    /// Compares the views of one proxy after the other, one each time this has
    /// passed, with views made from scratch, and logs what differs. One
    /// comparison costs a thread as much as a first view in a mesh of this size.
    /// Off unless asked for.
    #[must_use]
    pub fn auditing(mut self, every: Duration) -> Self {
        self.audit_every = Some(every).filter(|every| !every.is_zero());
        self
    }

    /// Keeps views up to date until the publisher, all its clones and all
    /// watches are gone. A catalog or a provider that ends leaves in force what
    /// it said last.
    pub async fn run(mut self) {
        if let Some(bundle) = self.trust.as_ref().and_then(TrustWatch::current) {
            self.on_news(News::Trust(bundle));
        }
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut audits = self.audit_every.map(ticks);
        loop {
            let news = tokio::select! {
                (snapshot, change) = next_snapshot(&mut self.snapshots) => News::Mesh(snapshot, change),
                bundle = next_trust(&mut self.trust) => News::Trust(bundle),
                (identity, certified) = self.certificates.next() => News::Certificate(identity, certified),
                count = self.commands.recv_many(&mut commands, COMMANDS) => match count {
                    0 => return,
                    _ => News::Commands(std::mem::take(&mut commands)),
                },
                () = tick(&mut audits) => {
                    self.begin_audit();
                    continue;
                }
                (proxy, differing) = audited(&mut self.audit) => {
                    self.on_audit(&proxy, &differing);
                    continue;
                }
            };
            self.on_news(news);
        }
    }

    fn on_news(&mut self, news: News) {
        let (began, before) = (now(), self.engine.work());
        let (cause, proxies) = match news {
            News::Mesh(snapshot, change) => (Cause::Mesh, self.engine.on_snapshot(snapshot, &change)),
            News::Trust(bundle) => (Cause::Trust, self.engine.on_trust(bundle.pem())),
            News::Certificate(identity, certified) => (Cause::Certificate, self.show(&identity, &certified)),
            News::Commands(commands) => (Cause::Subscription, self.on_commands(commands)),
        };
        let proxies = proxies + self.watch_certificates();
        let total = self.engine.work();
        if cause == Cause::Mesh {
            self.mesh += total - before;
        }
        self.published.send_replace(Publication {
            cause,
            version: self.engine.version(),
            snapshot: self.engine.snapshot().version(),
            domains: Arc::clone(self.engine.snapshot().trust_domains()),
            trust: self.engine.trust.clone(),
            began,
            proxies,
            work: total - before,
            total,
            mesh: self.mesh,
        });
    }

    fn on_commands(&mut self, commands: Vec<Command>) -> usize {
        let before = self.engine.work().views;
        for command in commands {
            match command {
                Command::Subscribe { id, proxy, client, sender } => {
                    self.engine.subscribe_client(id, proxy, client, sender);
                }
                Command::Unsubscribe(id) => self.engine.unsubscribe(id),
            }
        }
        usize::try_from(self.engine.work().views - before).unwrap_or(usize::MAX)
    }

    fn show(&mut self, identity: &ServiceIdentity, certified: &Certified) -> usize {
        self.engine.on_certificate(identity, certified.chain().pem(), certified.key().pem())
    }

    /// Watches the certificates of exactly the identities that have proxies.
    fn watch_certificates(&mut self) -> usize {
        let own = self.engine.snapshot().trust_domains().own();
        let is_moved = *own != self.domain;
        if is_moved {
            self.domain = own.clone();
        }
        let mut turned = self.engine.take_turned();
        for identity in &turned {
            // One that was watched already has lost its last proxy and gained
            // another since: the engine has dropped its certificate.
            self.certificates.forget(identity);
        }
        if is_moved {
            turned.extend(self.engine.identities().cloned());
        }
        let mut proxies = 0;
        turned.retain(|identity| self.engine.serves(identity));
        for identity in turned {
            let subject = Subject::Workload(identity.principal(&self.domain));
            let watch = self.provider.watch(&subject);
            if let Some(certified) = self.certificates.watch(identity.clone(), watch) {
                proxies += self.show(&identity, &certified);
            }
        }
        proxies
    }

    /// Begins an audit, unless the last one still runs.
    fn begin_audit(&mut self) {
        if self.audit.is_none() {
            let audit = self.engine.next_audit();
            self.audit = audit.map(|audit| spawn_blocking(|| (audit.proxy.clone(), audit.run())));
        }
    }

    fn on_audit(&self, proxy: &ProxyId, differing: &BTreeSet<ResourceKey>) {
        if !differing.is_empty() {
            let resources: Vec<String> = differing.iter().take(10).map(ToString::to_string).collect();
            tracing::error!(%proxy, ?resources, total = differing.len(), "a proxy's view is not what it should be");
        }
        self.audits.send_modify(|audits| {
            audits.done += 1;
            audits.differing += u64::from(!differing.is_empty());
        });
    }
}

/// What came in.
enum News {
    Mesh(Arc<MeshSnapshot>, ChangeSet),
    Trust(Arc<TrustBundle>),
    Certificate(ServiceIdentity, Arc<Certified>),
    Commands(Vec<Command>),
}

/// The next snapshot; once none can follow, never. Cancel safe.
async fn next_snapshot(snapshots: &mut Option<SnapshotWatch>) -> (Arc<MeshSnapshot>, ChangeSet) {
    if let Some(watch) = snapshots {
        if let Some(next) = watch.changed().await {
            return next;
        }
        *snapshots = None;
    }
    pending().await
}

/// The next roots; once none can follow, never. Cancel safe.
async fn next_trust(trust: &mut Option<TrustWatch>) -> Arc<TrustBundle> {
    while let Some(watch) = trust {
        if watch.changed().await.is_err() {
            *trust = None;
        } else if let Some(bundle) = watch.current() {
            return bundle;
        }
    }
    pending().await
}

/// The end of the audit that runs; without one, never. Cancel safe.
async fn audited(audit: &mut Option<JoinHandle<Audited>>) -> Audited {
    if let Some(running) = audit {
        let ended = running.await;
        *audit = None;
        match ended {
            Ok(audited) => return audited,
            Err(error) => tracing::error!(%error, "an audit of a view fails"),
        }
    }
    pending().await
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => pending().await,
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
