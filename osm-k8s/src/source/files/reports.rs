//! What the file system reports: which paths may hold something else now, and
//! which manifests are being written at present.
//!
//! Reports only make things faster and surer. Without any, polling finds every change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::scan::is_manifest;

/// What was reported about a path last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// What is there is whole: who wrote it has closed it, or renamed it into place.
    Whole,
    /// Somebody has written to it and not closed it since.
    Written,
    /// Something else, such as that it is gone. Nobody tells whether that was all.
    Touched,
}

/// What was reported since somebody asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Paths that may hold something else, as the user would name them.
    pub(super) paths: BTreeMap<PathBuf, Report>,
    /// Whether anything may.
    pub(super) everything: bool,
}

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
    /// The path as the user names it, and absolute, as reports have it.
    path: PathBuf,
    root: PathBuf,
    changed: Notify,
    news: Mutex<News>,
    /// Whether a report about any path may mean other contents of any file.
    is_tangled: AtomicBool,
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
            path: path.clone(),
            changed: Notify::new(),
            news: Mutex::default(),
            is_tangled: AtomicBool::new(true),
            is_lost: AtomicBool::new(false),
        };
        Self { path, shared: Arc::new(shared), watched: None }
    }

    /// Waits for the next report. One that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// What was reported since the last call.
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.shared.news())
    }

    /// Says whether there are links, so that what a report names need not be all
    /// that it is about.
    pub(super) fn set_tangled(&self, is_tangled: bool) {
        self.shared.is_tangled.store(is_tangled, Ordering::Relaxed);
    }

    /// Sets a watcher on the path, or on what is there of the way to it; again
    /// if that is another folder by now. Says whether it is a new watcher, which
    /// has not seen what the old one saw opened.
    pub(super) fn set(&mut self) -> bool {
        let is_folder = self.path.is_dir();
        let folder = if is_folder { self.path.clone() } else { nearest_folder(&self.path) };
        let identity = std::fs::metadata(&folder).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let is_lost = self.shared.is_lost.swap(false, Ordering::Relaxed);
        if !is_lost && identity.is_some() && identity == self.watched.as_ref().map(|watched| watched.folder) {
            return false;
        }
        self.watched = None;
        let mode = if is_folder { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        self.watched = identity.and_then(|identity| {
            watcher(&folder, mode, Arc::clone(&self.shared))
                .map(|watcher| Watched { _watcher: watcher, folder: identity })
                .inspect_err(|error| {
                    tracing::debug!(folder = %folder.display(), %error, "files are polled, watching failed");
                })
                .ok()
        });
        true
    }
}

impl Shared {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: notify::Result<Event>, folder: &Path) {
        let is_news = match event {
            Ok(event) if !is_change(event.kind) => false,
            Ok(event) if event.need_rescan() || event.paths.is_empty() => self.note_everything(),
            Ok(event) => self.note(&event, folder),
            Err(_) => self.note_everything(),
        };
        if is_news {
            self.changed.notify_one();
        }
    }

    /// Notes an event, and says whether it is about anything that counts.
    fn note(&self, event: &Event, folder: &Path) -> bool {
        let is_gone = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_));
        if is_gone && event.paths.first().is_some_and(|path| path == folder) {
            self.is_lost.store(true, Ordering::Relaxed);
            return self.note_everything();
        }
        // Both are reported one by one as well.
        if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            return false;
        }
        let of_folder = matches!(
            event.kind,
            EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder)
        );
        let mut is_news = self.is_tangled.load(Ordering::Relaxed) && self.note_everything();
        for path in &event.paths {
            let Some(named) = self.named(path) else {
                // Something on the way to the path is no news about what else is there.
                is_news |= self.root.starts_with(path) && self.note_everything();
                continue;
            };
            is_news |= match report(event.kind) {
                _ if is_hidden(path, &self.root) => false,
                _ if of_folder || *path == self.root && event.kind.is_remove() => self.note_everything(),
                // That of a folder is never its contents.
                Report::Whole | Report::Written if !is_manifest(path) && *path != self.root => {
                    is_rename(event.kind) && self.note_path(named, Report::Touched)
                }
                report => self.note_path(named, report),
            };
        }
        is_news
    }

    fn note_everything(&self) -> bool {
        self.news().everything = true;
        true
    }

    fn note_path(&self, path: PathBuf, report: Report) -> bool {
        let mut news = self.news();
        let known = news.paths.entry(path).or_insert(report);
        // Other attributes say nothing about an open file.
        if !(*known == Report::Written && report == Report::Touched) {
            *known = report;
        }
        true
    }

    /// A reported path as the user would name it.
    fn named(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.root).ok()?;
        Some(if rest == Path::new("") { self.path.clone() } else { self.path.join(rest) })
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

fn is_rename(kind: EventKind) -> bool {
    matches!(kind, EventKind::Modify(ModifyKind::Name(_)))
}

/// Whether a name below the root starts with a dot: such are not looked at.
fn is_hidden(path: &Path, root: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().any(|component| match component {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    })
}

fn report(kind: EventKind) -> Report {
    match kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Report::Whole,
        EventKind::Modify(ModifyKind::Data(_)) => Report::Written,
        _ => Report::Touched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, MetadataKind};

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const METADATA: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    fn reports(events: &[(EventKind, &str)]) -> Reports {
        let reports = Reports::about(PathBuf::from("/m"));
        reports.set_tangled(false);
        for (kind, path) in events {
            reports.shared.take(Ok(Event::new(*kind).add_path(PathBuf::from(path))), Path::new("/m"));
        }
        reports
    }

    /// The reports about the one path that they are about.
    fn of_a(events: &[EventKind]) -> Report {
        let events: Vec<_> = events.iter().map(|kind| (*kind, "/m/a.yaml")).collect();
        let news = reports(&events).take();
        assert!(!news.everything);
        news.paths[Path::new("/m/a.yaml")]
    }

    #[test]
    fn a_file_is_whole_once_it_is_closed_or_renamed_into_place() {
        assert_eq!(of_a(&[CREATED]), Report::Touched);
        assert_eq!(of_a(&[CREATED, WRITTEN]), Report::Written);
        assert_eq!(of_a(&[CREATED, WRITTEN, METADATA]), Report::Written);
        assert_eq!(of_a(&[CREATED, WRITTEN, CLOSED]), Report::Whole);
        assert_eq!(of_a(&[CLOSED, WRITTEN]), Report::Written, "written again");
        assert_eq!(of_a(&[TO]), Report::Whole);
        assert_eq!(of_a(&[CLOSED, FROM]), Report::Touched, "renamed away");
        assert_eq!(of_a(&[TO, REMOVED]), Report::Touched);
    }

    #[test]
    fn what_is_hidden_or_no_manifest_is_no_news() {
        let names = ["/m/.a.yaml", "/m/.git/a.yaml", "/m/app.log", "/m/a.yaml~", "/m/4913"];
        for path in names {
            assert_eq!(reports(&[(WRITTEN, path), (CLOSED, path)]).take(), News::default(), "{path}");
        }
        assert_eq!(reports(&[(REMOVED, "/m/.a.yaml"), (FROM, "/m/.b.yaml")]).take(), News::default());
        // It may be a folder.
        let renamed = reports(&[(TO, "/m/sub")]).take();
        assert_eq!(renamed.paths[Path::new("/m/sub")], Report::Touched);
    }

    #[test]
    fn folders_lost_reports_and_links_concern_everything() {
        let everything = |reports: Reports| reports.take().everything;
        assert!(everything(reports(&[(EventKind::Create(CreateKind::Folder), "/m/sub")])));
        assert!(everything(reports(&[(EventKind::Remove(RemoveKind::Folder), "/m")])));
        assert!(everything(reports(&[(CREATED, "/")])), "on the way to the path");
        assert!(!everything(reports(&[(CREATED, "/other.yaml")])));
        let overflown = reports(&[]);
        overflown.shared.take(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), Path::new("/m"));
        assert!(everything(overflown));
        let failed = reports(&[]);
        failed.shared.take(Err(notify::Error::generic("lost")), Path::new("/m"));
        assert!(everything(failed));
        let tangled = reports(&[]);
        tangled.set_tangled(true);
        tangled.shared.take(Ok(Event::new(TO).add_path("/m/..data".into())), Path::new("/m"));
        assert!(everything(tangled));
    }

    #[test]
    fn a_folder_that_is_moved_or_removed_is_lost_and_what_lies_in_it_is_not() {
        let lost = |kind, path| reports(&[(kind, path)]).shared.is_lost.load(Ordering::Relaxed);
        assert!(lost(EventKind::Remove(RemoveKind::Folder), "/m"));
        assert!(lost(FROM, "/m"));
        assert!(!lost(REMOVED, "/m/a.yaml"));
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
