//! The catalog: the newest snapshot, for everyone who wants it.
//!
//! A catalog joins a [`ConfigSource`] and a [`SnapshotBuilder`]. It decides
//! nothing; it only sees to it that readers find the newest snapshot and learn
//! what changed since the one they saw.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio::sync::watch;

use crate::identity::TrustDomains;
use crate::snapshot::{ChangeSet, MeshOptions, MeshSnapshot, SnapshotBuilder};
use crate::source::{ConfigSource, SourceEvent};

/// How many changes are remembered one by one. A reader that was away for
/// longer is told that everything changed.
const REMEMBERED: usize = 256;

/// At most so many events are taken in before a snapshot is made of them.
const BATCH: usize = 4096;

/// Something that has the newest snapshot.
///
/// The server and the administration pages read it. [`snapshot`](Self::snapshot)
/// is called often and from many tasks, and must be cheap.
///
/// ```
/// use std::sync::Arc;
/// use osm_core::catalog::{MeshCatalog, SnapshotWatch};
/// use osm_core::snapshot::{MeshOptions, MeshSnapshot};
///
/// /// A mesh that never changes.
/// struct Still(Arc<MeshSnapshot>);
///
/// impl MeshCatalog for Still {
///     fn snapshot(&self) -> Arc<MeshSnapshot> {
///         Arc::clone(&self.0)
///     }
///     fn watch(&self) -> SnapshotWatch {
///         SnapshotWatch::still(Arc::clone(&self.0))
///     }
/// }
/// # Still(Arc::new(MeshSnapshot::empty(MeshOptions::default()))).watch();
/// ```
pub trait MeshCatalog: Send + Sync + 'static {
    /// The newest snapshot; the empty one (version 0) before the source is ready.
    fn snapshot(&self) -> Arc<MeshSnapshot>;

    /// A watch on snapshots from here on.
    fn watch(&self) -> SnapshotWatch;
}

/// The newest snapshot with what led to it.
#[derive(Debug, Clone)]
struct Published {
    snapshot: Arc<MeshSnapshot>,
    /// The changes that led here, each with the version that it led to.
    recent: Arc<VecDeque<(u64, Arc<ChangeSet>)>>,
}

/// The catalog of one source.
///
/// Cheap to clone; clones see the same snapshots.
#[derive(Debug, Clone)]
pub struct Catalog {
    published: watch::Receiver<Published>,
    trust_domains: Arc<watch::Sender<Option<Arc<TrustDomains>>>>,
}

/// The part of a [`Catalog`] that does the work, for a task of the caller's.
#[derive(Debug)]
pub struct CatalogDriver {
    builder: SnapshotBuilder,
    published: watch::Sender<Published>,
    trust_domains: watch::Receiver<Option<Arc<TrustDomains>>>,
}

impl Catalog {
    /// A catalog that knows nothing yet, and the driver that feeds it.
    #[must_use]
    pub fn new(options: MeshOptions) -> (Self, CatalogDriver) {
        Self::of(SnapshotBuilder::new(options))
    }

    /// The same for a mesh that has these trust domains, whatever the options say, before it is known.
    #[must_use]
    pub fn named(options: MeshOptions, trust_domains: TrustDomains) -> (Self, CatalogDriver) {
        Self::of(SnapshotBuilder::new(options).named(trust_domains))
    }

    fn of(builder: SnapshotBuilder) -> (Self, CatalogDriver) {
        let first = Published { snapshot: Arc::clone(builder.current()), recent: Arc::default() };
        let (sender, published) = watch::channel(first);
        let (told, trust_domains) = watch::channel(None);
        let catalog = Self { published, trust_domains: Arc::new(told) };
        (catalog, CatalogDriver { builder, published: sender, trust_domains })
    }

    /// Says which trust domains the mesh has from now on, whatever its options say. Called at each stage of a change of
    /// roots. Snapshots show it soon after.
    pub fn set_trust_domains(&self, trust_domains: TrustDomains) {
        let told = Some(Arc::new(trust_domains));
        self.trust_domains.send_if_modified(|known| {
            let is_other = *known != told;
            *known = told;
            is_other
        });
    }
}

impl MeshCatalog for Catalog {
    fn snapshot(&self) -> Arc<MeshSnapshot> {
        Arc::clone(&self.published.borrow().snapshot)
    }

    fn watch(&self) -> SnapshotWatch {
        SnapshotWatch { published: self.published.clone(), seen: 0 }
    }
}

impl CatalogDriver {
    /// Feeds the catalog from a source until the source ends, which for most
    /// sources is never. What has been told stays in force afterwards.
    pub async fn run(mut self, source: Box<dyn ConfigSource>) {
        let batches = source.into_events().ready_chunks(BATCH).map(Some).chain(stream::iter([None]));
        // To take in nothing is to take in what was said of trust domains.
        let renamed = stream::unfold(self.trust_domains.clone(), |mut told| async {
            told.changed().await.ok()?;
            Some((Some(Vec::new()), told))
        });
        let mut all = pin!(stream::select(batches, renamed));
        while let Some(Some(batch)) = all.next().await {
            self.take_in(batch);
        }
    }

    /// Takes in events that belong together and publishes what they make.
    pub fn take_in(&mut self, events: impl IntoIterator<Item = SourceEvent>) {
        for event in events {
            self.builder.apply(event);
        }
        if let Some(trust_domains) = &*self.trust_domains.borrow() {
            self.builder.set_trust_domains(Arc::clone(trust_domains));
        }
        let Some((snapshot, change)) = self.builder.build() else { return };
        let version = snapshot.version();
        self.published.send_modify(|published| {
            let mut recent = VecDeque::clone(&published.recent);
            recent.push_back((version, Arc::new(change)));
            if recent.len() > REMEMBERED {
                recent.pop_front();
            }
            *published = Published { snapshot, recent: Arc::new(recent) };
        });
    }

    /// Services, workloads and targets linked since the start: a measure of work.
    #[must_use]
    pub fn linked(&self) -> u64 {
        self.builder.linked()
    }
}

/// A reader's place in the sequence of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotWatch {
    published: watch::Receiver<Published>,
    seen: u64,
}

impl SnapshotWatch {
    /// A watch on a snapshot that never changes.
    #[must_use]
    pub fn still(snapshot: Arc<MeshSnapshot>) -> Self {
        let (_, published) = watch::channel(Published { snapshot, recent: Arc::default() });
        Self { published, seen: 0 }
    }

    /// Waits for a snapshot that this watch has not given yet, and gives it with
    /// everything that changed since the last one given. Snapshots in between
    /// are skipped. `None` when no other can follow.
    ///
    /// The first one comes with a change that concerns everything. Cancel safe.
    pub async fn changed(&mut self) -> Option<(Arc<MeshSnapshot>, ChangeSet)> {
        loop {
            let newest = self.published.borrow_and_update().clone();
            if newest.snapshot.version() > self.seen {
                let change = newest.change_since(self.seen);
                self.seen = newest.snapshot.version();
                return Some((newest.snapshot, change));
            }
            self.published.changed().await.ok()?;
        }
    }
}

impl Published {
    fn change_since(&self, seen: u64) -> ChangeSet {
        let newer = self.recent.iter().filter(|(version, _)| *version > seen);
        let complete = self.recent.front().is_some_and(|(oldest, _)| *oldest <= seen + 1) && seen > 0;
        let mut change = ChangeSet { settings: !complete, diagnostics: !complete, ..ChangeSet::default() };
        for (_, one) in newer {
            change.merge(ChangeSet::clone(one));
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::model::{MeshConfig, Namespace};

    fn namespace(name: &str) -> SourceEvent {
        SourceEvent::apply(Namespace::monitored(name.parse().expect("a valid name"), "osm"))
    }

    #[test]
    fn a_reader_that_was_away_learns_everything_that_changed_meanwhile() {
        let (catalog, mut driver) = Catalog::new(MeshOptions::default());
        let mut watch = catalog.watch();
        assert!(watch.changed().now_or_never().is_none(), "nothing is published before the source is ready");
        driver.take_in([SourceEvent::Reset, namespace("a"), SourceEvent::Ready]);
        let (first, change) = watch.changed().now_or_never().flatten().expect("a snapshot");
        assert!(change.settings && first.version() == 1);

        let mut config = MeshConfig::new(first.options().mesh_config.clone());
        driver.take_in([namespace("b")]);
        config.permissive = true;
        driver.take_in([SourceEvent::apply(config)]);
        let (newest, change) = watch.changed().now_or_never().flatten().expect("a snapshot");
        assert!(newest.version() == 3 && change.settings && newest.config().permissive);
        assert!(watch.changed().now_or_never().is_none(), "it is given once");
    }

    #[tokio::test]
    async fn what_belongs_together_is_one_snapshot() {
        let (source, writer) = crate::source::MemorySource::new([]);
        let (catalog, driver) = Catalog::new(MeshOptions::default());
        let mut watch = catalog.watch();
        let feeding = driver.run(Box::new(source));
        let reading = async {
            watch.changed().await.expect("the first snapshot");
            writer.send_all((0..1000).map(|number| namespace(&format!("n{number}"))));
            let (snapshot, _) = watch.changed().await.expect("a snapshot");
            assert!((0..1000).all(|number| {
                snapshot.is_monitored(&format!("n{number}").parse().expect("a valid name"))
            }));
        };
        futures::pin_mut!(feeding, reading);
        futures::future::select(feeding, reading).await;
    }

    #[test]
    fn a_reader_that_was_away_for_too_long_is_told_that_everything_changed() {
        let (catalog, mut driver) = Catalog::new(MeshOptions::default());
        let mut watch = catalog.watch();
        driver.take_in([SourceEvent::Reset, namespace("a"), SourceEvent::Ready]);
        watch.changed().now_or_never().flatten().expect("a snapshot");
        let split = |weight| {
            let mut split = crate::model::TrafficSplit::new(
                "a/s".parse().expect("valid"),
                "a/root".parse().expect("valid"),
            );
            split.backends =
                vec![crate::model::SplitBackend { service: "a/b".parse().expect("valid"), weight }];
            SourceEvent::apply(split)
        };
        driver.take_in([split(1)]);
        let (_, change) = watch.changed().now_or_never().flatten().expect("a snapshot");
        assert!(!change.settings && change.services.len() == 1, "{change:?}");
        for weight in 2..=REMEMBERED as u32 + 2 {
            driver.take_in([split(weight)]);
        }
        let (_, change) = watch.changed().now_or_never().flatten().expect("a snapshot");
        assert!(change.settings && change.diagnostics);
    }
}
