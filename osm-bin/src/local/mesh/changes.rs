//! What an edit changed, and what it led to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::catalog::MeshCatalog;
use osm_core::diagnostic::Diagnostic;
use osm_k8s::{Entry, Manifests};
use tokio::sync::broadcast;

use crate::controller::ChangeReport;
use crate::findings::Findings;
use crate::local::api::{Change, Finding, Happening};
use crate::local::context::Context;
use crate::local::control::until_another;

/// How long a change may take to show as a new snapshot; one that has not by then
/// concerns no proxy.
const SNAPSHOT_BOUND: Duration = Duration::from_secs(1);
/// How long proxies are waited for. The control plane gives up before.
const REPORT_BOUND: Duration = Duration::from_secs(40);

/// What differs between two states of the manifests. An object that only moved
/// within its file is the same.
pub(super) fn between(before: &Manifests, now: &Manifests) -> Change {
    let shown = |entry: &Entry| format!("{} ({})", entry.manifest.reference(), entry.location);
    let mut change = Change::default();
    for (name, entry) in &now.entries {
        match before.entries.get(name) {
            None => change.added.push(shown(entry)),
            Some(old) if old.manifest != entry.manifest => change.changed.push(shown(entry)),
            Some(_) => {}
        }
    }
    let gone = before.entries.iter().filter(|(name, _)| !now.entries.contains_key(*name));
    change.removed = gone.map(|(_, entry)| shown(entry)).collect();
    change
}

/// A change of which it is not known yet what it led to.
pub(super) struct Pending {
    context: Arc<Context>,
    change: Change,
    begun: Instant,
    /// The version of the snapshot before, and the reports since.
    before: u64,
    reports: Option<broadcast::Receiver<Arc<ChangeReport>>>,
}

impl Pending {
    /// Begins to listen; to be called before the control plane is told.
    pub(super) fn new(context: Arc<Context>, change: Change, begun: Instant) -> Self {
        let serving = context.control.serving();
        let before = serving.as_ref().map_or(0, |serving| serving.catalog.snapshot().version());
        let reports = serving.map(|serving| serving.changes());
        Self { context, change, begun, before, reports }
    }

    /// Tells it, once all proxies have acknowledged it. `told` says whether the
    /// control plane was told anything.
    pub(super) async fn tell(mut self, told: bool) {
        let Change { added, changed, removed, .. } = &self.change;
        if added.is_empty() && changed.is_empty() && removed.is_empty() {
            return;
        }
        match self.report(told).await {
            Outcome::Nobody => self.change.acknowledged_ms = Some(0.0),
            Outcome::Unknown => {}
            Outcome::Report(report) => {
                self.change.proxies = report.proxies;
                self.change.generated = report.generated;
                let acknowledged = report.acknowledged_in.map(|_| self.begun.elapsed());
                self.change.acknowledged_ms = acknowledged.map(|time| time.as_secs_f64() * 1e3);
            }
        }
        self.context.events.add(Happening::Changed(self.change));
    }

    async fn report(&mut self, told: bool) -> Outcome {
        if !told {
            return Outcome::Nobody;
        }
        let (Some(serving), Some(reports)) = (self.context.control.serving(), &mut self.reports) else {
            return Outcome::Unknown;
        };
        let mut snapshots = serving.catalog.watch();
        let newer = async {
            while serving.catalog.snapshot().version() <= self.before {
                if snapshots.changed().await.is_none() {
                    break;
                }
            }
        };
        if tokio::time::timeout(SNAPSHOT_BOUND, newer).await.is_err() {
            return Outcome::Nobody;
        }
        let reported = async {
            loop {
                match reports.recv().await {
                    Ok(report) if report.snapshot > self.before => return Outcome::Report(report),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Outcome::Unknown,
                }
            }
        };
        tokio::time::timeout(REPORT_BOUND, reported).await.unwrap_or(Outcome::Unknown)
    }
}

enum Outcome {
    Nobody,
    Unknown,
    Report(Arc<ChangeReport>),
}

/// A finding as the control socket tells it.
pub(crate) fn finding(diagnostic: &Diagnostic) -> Finding {
    Finding {
        severity: diagnostic.severity.to_string(),
        code: diagnostic.code.to_owned(),
        text: diagnostic.to_string(),
    }
}

/// Tells each change of what is wrong with the manifests, whichever control
/// plane says so.
pub(super) async fn follow_findings(context: Arc<Context>) {
    let mut findings = Findings::default();
    let mut controls = context.control.watch();
    loop {
        let serving = controls.borrow_and_update().clone();
        let follow = async {
            let Some(serving) = serving else { return };
            findings.follow(serving.catalog.watch(), |came, gone| tell(&context, came, gone)).await;
        };
        if !until_another(&mut controls, follow).await {
            return;
        }
    }
}

fn tell(context: &Context, came: &[&Diagnostic], gone: &[&Diagnostic]) {
    let shown = |diagnostics: &[&Diagnostic]| {
        let mut shown: Vec<Finding> = diagnostics.iter().map(|diagnostic| finding(diagnostic)).collect();
        shown.sort();
        shown
    };
    let gone = shown(gone).into_iter().map(|finding| finding.text).collect();
    context.events.add(Happening::Findings { new: shown(came), gone });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::testing::manifests;

    #[test]
    fn an_edit_is_what_was_added_changed_and_removed_with_its_place() {
        let account = |name: &str, label: &str| {
            format!(
                "---\n{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: s, labels: {{l: {label}}}}}}}\n"
            )
        };
        let before = manifests(&(account("a", "x") + &account("b", "x") + &account("c", "x")));
        let now = manifests(&(account("b", "x") + &account("c", "y") + &account("d", "x")));
        let change = between(&before, &now);
        assert_eq!(change.added, ["ServiceAccount s/d (mesh.yaml:6)"]);
        assert_eq!(change.changed, ["ServiceAccount s/c (mesh.yaml:4)"]);
        assert_eq!(change.removed, ["ServiceAccount s/a (mesh.yaml:2)"]);
    }
}
