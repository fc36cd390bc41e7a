//! What is wrong with the facts of a mesh, as it comes and goes.

use std::collections::BTreeSet;

use osm_core::catalog::SnapshotWatch;
use osm_core::diagnostic::Diagnostic;

/// The findings that were told last. It outlives a control plane: the next one
/// is compared with it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    known: BTreeSet<Diagnostic>,
}

impl Findings {
    /// Tells what came and what is gone, each time that any did, until the
    /// catalog ends.
    pub(crate) async fn follow(
        &mut self,
        mut snapshots: SnapshotWatch,
        mut tell: impl FnMut(&[&Diagnostic], &[&Diagnostic]),
    ) {
        while let Some((snapshot, change)) = snapshots.changed().await {
            if !change.diagnostics {
                continue;
            }
            let now: BTreeSet<Diagnostic> = snapshot.diagnostics().cloned().collect();
            let came: Vec<_> = now.difference(&self.known).collect();
            let gone: Vec<_> = self.known.difference(&now).collect();
            if !came.is_empty() || !gone.is_empty() {
                tell(&came, &gone);
            }
            self.known = now;
        }
    }
}
