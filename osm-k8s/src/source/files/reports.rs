//! What the file system reports: that something changed, and which manifests
//! are being written at present.
//!
//! Reports only make things faster and surer. Without any, polling finds every change.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::scan::{is_manifest, shown};

/// The reports about one path.
#[derive(Debug)]
pub(super) struct Reports {
    path: PathBuf,
    shared: Arc<Shared>,
    watched: Option<Watched>,
}

/// What the watcher's thread tells.
#[derive(Debug)]
struct Shared {
    /// The path, absolute, as reports have it.
    root: PathBuf,
    changed: Notify,
    /// Files that were written to and not closed since, by absolute path.
    writing: Mutex<BTreeSet<PathBuf>>,
    /// Whether the watched folder itself was moved or removed.
    is_lost: AtomicBool,
}

/// A watcher, and the folder that it was set on.
#[derive(Debug)]
struct Watched {
    _watcher: RecommendedWatcher,
    folder: (u64, u64),
}

impl Reports {
    pub(super) fn about(path: PathBuf) -> Self {
        let shared = Shared {
            root: std::path::absolute(&path).unwrap_or_else(|_| path.clone()),
            changed: Notify::new(),
            writing: Mutex::default(),
            is_lost: AtomicBool::new(false),
        };
        Self { path, shared: Arc::new(shared), watched: None }
    }

    /// Waits for the next report. One that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// The manifests that were written to and not closed since, by the name that
    /// the user would give them.
    pub(super) fn writing(&self) -> BTreeSet<Arc<str>> {
        self.shared.writing().iter().filter_map(|path| self.name(path)).collect()
    }

    /// No longer waits for other files than these to be closed.
    pub(super) fn wait_only_for(&self, kept: impl Fn(&Arc<str>) -> bool) {
        self.shared.writing().retain(|path| self.name(path).is_some_and(|name| kept(&name)));
    }

    /// A reported path as the user would name it.
    fn name(&self, path: &Path) -> Option<Arc<str>> {
        let rest = path.strip_prefix(&self.shared.root).ok()?;
        Some(if rest == Path::new("") { shown(&self.path) } else { shown(&self.path.join(rest)) })
    }

    /// Sets a watcher on the path, or on what is there of the way to it; again
    /// if that is another folder by now.
    pub(super) fn set(&mut self) {
        let is_folder = self.path.is_dir();
        let folder = if is_folder { self.path.clone() } else { nearest_folder(&self.path) };
        let identity = std::fs::metadata(&folder).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let is_lost = self.shared.is_lost.swap(false, Ordering::Relaxed);
        if !is_lost && identity.is_some() && identity == self.watched.as_ref().map(|watched| watched.folder) {
            return;
        }
        // What an old watcher saw opened, the new one may not see closed.
        self.watched = None;
        self.shared.writing().clear();
        let mode = if is_folder { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        self.watched = identity.and_then(|identity| {
            watcher(&folder, mode, Arc::clone(&self.shared))
                .map(|watcher| Watched { _watcher: watcher, folder: identity })
                .inspect_err(|error| {
                    tracing::debug!(folder = %folder.display(), %error, "files are polled, watching failed");
                })
                .ok()
        });
    }
}

impl Shared {
    fn writing(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: notify::Result<notify::Event>, folder: &Path) {
        let Ok(event) = event else { return self.changed.notify_one() };
        if !is_change(event.kind) {
            return;
        }
        let is_renamed = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        if (is_renamed || event.kind.is_remove()) && event.paths.first().is_some_and(|path| path == folder) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        let is_written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        for path in event.paths {
            if is_written && (is_manifest(&path) || path == self.root) {
                self.writing().insert(path);
            } else if is_renamed || event.kind.is_access() || event.kind.is_remove() {
                self.writing().remove(&path);
            }
        }
        self.changed.notify_one();
    }
}

fn watcher(folder: &Path, mode: RecursiveMode, shared: Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let watched = std::path::absolute(folder)?;
    let mut watcher = notify::recommended_watcher(move |event| shared.take(event, &watched))?;
    watcher.watch(folder, mode)?;
    Ok(watcher)
}

/// The folder that holds a path, or the nearest one above it that is there.
fn nearest_folder(path: &Path) -> PathBuf {
    let above = path.ancestors().skip(1);
    let named = above.map(|folder| if folder == Path::new("") { Path::new(".") } else { folder });
    named.into_iter().find(|folder| folder.is_dir()).unwrap_or(Path::new(".")).to_owned()
}

/// Whether an event may mean other contents. Our own reading is none.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{DataChange, RemoveKind, RenameMode};

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    fn reports(events: &[(EventKind, &str)]) -> Reports {
        let reports = Reports::about(PathBuf::from("/m"));
        for (kind, path) in events {
            reports.shared.take(Ok(Event::new(*kind).add_path(PathBuf::from(path))), Path::new("/m"));
        }
        reports
    }

    fn writing(events: &[(EventKind, &str)]) -> Vec<String> {
        reports(events).writing().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_manifest_is_being_written_until_it_is_closed_renamed_or_gone() {
        let (a, b) = ((WRITTEN, "/m/a.yaml"), (WRITTEN, "/m/sub/b.yaml"));
        assert_eq!(writing(&[a, b]), ["/m/a.yaml", "/m/sub/b.yaml"]);
        assert_eq!(writing(&[a, (CLOSED, "/m/a.yaml"), b]), ["/m/sub/b.yaml"]);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::Any));
        assert_eq!(writing(&[a, (renamed, "/m/a.yaml")]), Vec::<String>::new());
        assert_eq!(writing(&[a, (EventKind::Remove(RemoveKind::File), "/m/a.yaml")]), Vec::<String>::new());
        assert_eq!(writing(&[(WRITTEN, "/m/app.log")]), Vec::<String>::new(), "not a manifest");
    }

    #[test]
    fn what_need_not_be_waited_for_is_forgotten() {
        let reports = reports(&[(WRITTEN, "/m/a.yaml"), (WRITTEN, "/m/b.yaml")]);
        reports.wait_only_for(|name| **name == *"/m/b.yaml");
        assert_eq!(reports.writing().len(), 1);
    }

    #[test]
    fn a_folder_that_is_moved_or_removed_is_lost_and_what_lies_in_it_is_not() {
        let lost = |kind, path| reports(&[(kind, path)]).shared.is_lost.load(Ordering::Relaxed);
        assert!(lost(EventKind::Remove(RemoveKind::Folder), "/m"));
        assert!(lost(EventKind::Modify(ModifyKind::Name(RenameMode::From)), "/m"));
        assert!(!lost(EventKind::Remove(RemoveKind::File), "/m/a.yaml"));
    }

    #[test]
    fn reading_a_file_is_no_change_of_it() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Read)));
        assert!(is_change(CLOSED));
        assert!(is_change(EventKind::Any));
    }

    #[test]
    fn the_nearest_folder_is_what_is_there_of_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(nearest_folder(&folder.path().join("x/y/z.yaml")), folder.path());
        assert_eq!(nearest_folder(Path::new("no-such-file.yaml")), Path::new("."));
    }
}
