//! What each change of the mesh led to: how many proxies it concerned, what
//! was generated for it, and when the last of them had acknowledged it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::catalog::SnapshotWatch;
use osm_core::diagnostic::Severity;
use osm_core::snapshot::{ChangeSet, MeshSnapshot};
use osm_xds::push::{Publication, Work};
use osm_xds::server::Registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{broadcast, watch};

/// How long proxies are waited for before a change is reported as not
/// acknowledged by all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many reports a slow listener may be behind.
const REMEMBERED: usize = 256;

/// What a change of the mesh led to.
#[derive(Debug, Clone)]
pub struct ChangeReport {
    /// The version of the snapshot that it led to; several changes in quick
    /// succession are one report.
    pub snapshot: u64,
    /// What changed.
    pub change: ChangeSet,
    /// How many findings there are now, errors and warnings.
    pub findings: usize,
    /// How many proxies were given something new.
    pub proxies: u64,
    /// How many resources were generated.
    pub generated: u64,
    /// How long it took until the last proxy had acknowledged; `None` when some
    /// had not within a bound.
    pub acknowledged_in: Option<Duration>,
}

/// The reports of one control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    reports: broadcast::Sender<Arc<ChangeReport>>,
    counted: Counted,
}

#[derive(Debug, Clone)]
struct Counted {
    snapshot: Gauge,
    findings: Gauge,
    generated: Counter,
    compiled: Counter,
    views: Counter,
    acknowledged: Histogram,
}

impl Changes {
    pub(super) fn new(registry: &mut prometheus_client::registry::Registry) -> Self {
        let buckets =
            [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];
        let counted = Counted {
            snapshot: Gauge::default(),
            findings: Gauge::default(),
            generated: Counter::default(),
            compiled: Counter::default(),
            views: Counter::default(),
            acknowledged: Histogram::new(buckets),
        };
        let osm = registry.sub_registry_with_prefix("osm");
        osm.register(
            "snapshot_version",
            "Version of the newest snapshot of the mesh",
            counted.snapshot.clone(),
        );
        osm.register("findings", "Errors and warnings about objects of the mesh", counted.findings.clone());
        osm.register("push_generated", "Resources generated", counted.generated.clone());
        osm.register("push_compiled", "Parts of the policy decided", counted.compiled.clone());
        osm.register("push_views", "Views given to proxies", counted.views.clone());
        osm.register(
            "change_acknowledged_seconds",
            "Time from a change until every proxy has acknowledged it",
            counted.acknowledged.clone(),
        );
        Self { reports: broadcast::channel(REMEMBERED).0, counted }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<ChangeReport>> {
        self.reports.subscribe()
    }

    /// Reports each change, one after the other; what comes while proxies are
    /// waited for is reported together.
    pub(super) async fn follow(
        self,
        mut snapshots: SnapshotWatch,
        mut publications: watch::Receiver<Publication>,
        registry: Arc<Registry>,
    ) {
        let (mut before, mut counted) = (Work::default(), Work::default());
        let mut found = 0;
        while let Some((snapshot, change)) = snapshots.changed().await {
            let begun = Instant::now();
            let wanted = snapshot.version();
            let published = publications.wait_for(|publication| publication.snapshot >= wanted).await;
            let Ok((work, total)) = published.map(|publication| (publication.mesh, publication.total)) else {
                return;
            };
            let done = work - before;
            before = work;
            if change.diagnostics {
                found = findings(&snapshot);
            }
            let is_acknowledged =
                done.views == 0 || tokio::time::timeout(PATIENCE, registry.converged()).await.is_ok();
            let report = ChangeReport {
                snapshot: wanted,
                change,
                findings: found,
                proxies: done.views,
                generated: done.generated,
                acknowledged_in: is_acknowledged.then(|| begun.elapsed()),
            };
            self.count(&report, total - counted);
            counted = total;
            self.tell(report);
        }
    }

    fn count(&self, report: &ChangeReport, work: Work) {
        let counted = &self.counted;
        counted.snapshot.set(i64::try_from(report.snapshot).unwrap_or(i64::MAX));
        counted.findings.set(i64::try_from(report.findings).unwrap_or(i64::MAX));
        counted.generated.inc_by(work.generated);
        counted.compiled.inc_by(work.compiled);
        counted.views.inc_by(work.views);
        if let Some(after) = report.acknowledged_in {
            counted.acknowledged.observe(after.as_secs_f64());
        }
    }

    fn tell(&self, report: ChangeReport) {
        let ChangeReport { snapshot, change, findings, proxies, generated, acknowledged_in } = &report;
        let milliseconds = acknowledged_in.map(|after| after.as_secs_f64() * 1e3);
        tracing::info!(
            snapshot,
            settings = change.settings,
            services = change.services.len(),
            identities = change.access_to.len() + change.reach_of.len(),
            pods = change.proxies.len(),
            findings,
            proxies,
            generated,
            milliseconds,
            "mesh changed"
        );
        if acknowledged_in.is_none() {
            tracing::warn!(snapshot, "some proxies have not acknowledged the change");
        }
        // Nobody may be listening.
        drop(self.reports.send(Arc::new(report)));
    }
}

fn findings(snapshot: &MeshSnapshot) -> usize {
    snapshot.diagnostics().filter(|finding| finding.severity >= Severity::Warning).count()
}
