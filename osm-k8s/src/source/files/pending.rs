//! The paths that are to be looked at, and when. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::doubt::WRITE_GRACE;
use super::reports::Report;
use super::scan::shown;

/// How long everything must look the same before a reported change is taken whose
/// end nobody tells. A file that is closed or renamed into place is taken at once;
/// one that somebody still writes to is waited for longer, see [`WRITE_GRACE`].
pub const SETTLE_TIME: Duration = Duration::from_millis(20);

/// Paths that were reported, each until it is done with.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<PathBuf, Wait>);

/// What is waited for at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) report: Report,
    /// Since when it may not be whole.
    pub(super) since: Instant,
    /// When to look.
    pub(super) ready: Instant,
}

impl Pending {
    /// Takes in what was reported by now.
    pub(super) fn note(&mut self, paths: BTreeMap<PathBuf, Report>, now: Instant) {
        for (path, report) in paths {
            let open = self.0.get(&path).filter(|wait| wait.report == Report::Written);
            let wait = match (report, open) {
                (Report::Whole, _) => Wait { report, since: now, ready: now },
                (Report::Written, Some(open)) => Wait { ready: open.ready.min(now + WRITE_GRACE), ..*open },
                (Report::Written, None) => Wait { report, since: now, ready: now + WRITE_GRACE },
                (Report::Touched, _) => Wait { report, since: now, ready: now + SETTLE_TIME },
            };
            self.0.insert(path, wait);
        }
    }

    /// The paths that are to be looked at now.
    pub(super) fn ready(&self, now: Instant) -> Vec<(PathBuf, Wait)> {
        let ready = self.0.iter().filter(|(_, wait)| wait.ready <= now);
        ready.map(|(path, wait)| (path.clone(), *wait)).collect()
    }

    /// When the next is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|wait| wait.ready).min()
    }

    /// What is waited for at a path.
    pub(super) fn get(&self, path: &PathBuf) -> Option<Wait> {
        self.0.get(path).copied()
    }

    /// Looks at a path again later, unless something was reported since.
    pub(super) fn put_off(&mut self, path: &PathBuf, wait: Wait, ready: Instant) {
        if let Some(kept) = self.0.get_mut(path).filter(|kept| **kept == wait) {
            kept.ready = ready;
        }
    }

    /// Is done with a path, unless something was reported since.
    pub(super) fn done(&mut self, path: &PathBuf, wait: Wait) {
        if self.0.get(path) == Some(&wait) {
            self.0.remove(path);
        }
    }

    /// The paths that wait, as the user would name them.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.0.keys().map(|path| shown(path)).collect()
    }

    /// The files that are being written, as the user would name them.
    pub(super) fn open(&self) -> BTreeSet<Arc<str>> {
        let open = self.0.iter().filter(|(_, wait)| wait.report == Report::Written);
        open.map(|(path, _)| shown(path)).collect()
    }

    /// Is done with all paths but those that are being written.
    pub(super) fn done_with_closed(&mut self) {
        self.0.retain(|_, wait| wait.report == Report::Written);
    }

    /// Forgets what is being written.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(pending: &mut Pending, report: Report, now: Instant) {
        pending.note([(PathBuf::from("a"), report)].into(), now);
    }

    fn is_ready(pending: &Pending, now: Instant) -> bool {
        assert_eq!(pending.next().is_some_and(|ready| ready <= now), !pending.ready(now).is_empty());
        !pending.ready(now).is_empty()
    }

    #[test]
    fn what_is_whole_is_ready_at_once_and_the_rest_after_a_while() {
        let start = Instant::now();
        let mut pending = Pending::default();
        note(&mut pending, Report::Touched, start);
        assert!(!is_ready(&pending, start) && is_ready(&pending, start + SETTLE_TIME));
        note(&mut pending, Report::Written, start);
        assert!(!is_ready(&pending, start + SETTLE_TIME) && is_ready(&pending, start + WRITE_GRACE));
        note(&mut pending, Report::Written, start + WRITE_GRACE / 2);
        assert!(is_ready(&pending, start + WRITE_GRACE), "counted from the first");
        assert_eq!(pending.open().len(), 1);
        note(&mut pending, Report::Whole, start);
        assert!(is_ready(&pending, start) && pending.open().is_empty());
    }

    #[test]
    fn a_report_that_came_meanwhile_is_not_done_with() {
        let start = Instant::now();
        let mut pending = Pending::default();
        note(&mut pending, Report::Whole, start);
        let (path, wait) = pending.ready(start).remove(0);
        note(&mut pending, Report::Whole, start + SETTLE_TIME);
        pending.done(&path, wait);
        let (path, wait) = pending.ready(start + SETTLE_TIME).remove(0);
        pending.put_off(&path, wait, start + WRITE_GRACE);
        assert_eq!(pending.next(), Some(start + WRITE_GRACE));
        pending.done(&path, wait);
        assert!(pending.next().is_some(), "it was put off");
        pending.done(&path, Wait { ready: start + WRITE_GRACE, ..wait });
        assert_eq!(pending.next(), None);
    }
}
