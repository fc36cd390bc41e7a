//! When to look again, and when a file has settled.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::Manifests;
use super::scan::look;
use super::store::{FileSet, FileText, ManifestStore};

/// How long a file must look the same before it is read as it is.
pub const SETTLE_TIME: Duration = Duration::from_millis(50);
/// How often contents are compared where nothing was reported: some file
/// systems report nothing.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a file that became empty counts as being written.
pub const EMPTY_FILE_GRACE: Duration = Duration::from_secs(1);
/// How many looks a change may take to settle; what still changes then stays as
/// it was, and is looked at again.
const MAX_LOOKS: usize = 20;

/// The manifests of a file or folder as they change.
///
/// Made by [`FileSource::watch`](super::FileSource::watch). It does nothing
/// between calls of [`next`](Self::next); changes that happen meanwhile are one.
#[derive(Debug)]
pub struct ManifestWatch {
    path: PathBuf,
    store: ManifestStore,
    /// The files as they were found last, and as they were taken.
    found: FileSet,
    taken: FileSet,
    emptied: BTreeMap<Arc<str>, Instant>,
    told: Option<Arc<Manifests>>,
    look_again: bool,
    looks: u64,
    reports: Arc<Notify>,
    watcher: Option<Watched>,
}

/// A watcher, and the folder that it was set on.
#[derive(Debug)]
struct Watched {
    _watcher: RecommendedWatcher,
    folder: (u64, u64),
}

impl ManifestWatch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            store: ManifestStore::default(),
            found: FileSet::default(),
            taken: FileSet::default(),
            emptied: BTreeMap::new(),
            told: None,
            look_again: true,
            looks: 0,
            reports: Arc::new(Notify::new()),
            watcher: None,
        }
    }

    /// The manifests, as soon as there is something new to say: at once the
    /// first time, then after each change that has settled. Never ends. May be
    /// dropped at any time without losing a change.
    pub async fn next(&mut self) -> Arc<Manifests> {
        loop {
            self.wait().await;
            // Stays so if this is dropped while it looks.
            self.look_again = true;
            self.set_watcher();
            let (taken, look_again) = self.settle().await;
            self.look_again = look_again;
            if taken == self.taken && self.told.is_some() {
                continue;
            }
            self.taken = taken;
            let now = self.store.update(&self.taken);
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now.clone());
                return now;
            }
        }
    }

    /// How many times everything was read so far: what watching costs.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
    }

    async fn look(&mut self) -> FileSet {
        self.looks += 1;
        look(self.path.clone()).await
    }

    /// Waits for a report, for the next poll, or until an empty file counts.
    async fn wait(&self) {
        if self.look_again {
            return;
        }
        let now = Instant::now();
        let grace = self.emptied.values().min().map(|since| *since + EMPTY_FILE_GRACE);
        let until = grace.map_or(now + POLL_INTERVAL, |grace| grace.min(now + POLL_INTERVAL));
        tokio::select! {
            () = self.reports.notified() => {}
            () = sleep_until(until) => {}
        }
    }

    /// Looks until two looks are equal. Returns what is to be taken, and
    /// whether there is more to come.
    async fn settle(&mut self) -> (FileSet, bool) {
        let mut last = self.look().await;
        let mut is_settled = last == self.found && self.told.is_some();
        let mut looks = 0;
        while !is_settled && looks < MAX_LOOKS {
            sleep(SETTLE_TIME).await;
            let next = self.look().await;
            looks += 1;
            is_settled = next == last;
            let give_up = !is_settled && looks == MAX_LOOKS;
            last = if give_up { steady(&self.taken, &last, next) } else { next };
        }
        self.found = last;
        let taken = hold_back(&self.taken, &self.found, &mut self.emptied, Instant::now());
        (taken, !is_settled)
    }

    /// Sets a watcher on the folder, again if it is another folder by now.
    /// Without one, polling finds every change, only later.
    fn set_watcher(&mut self) {
        let is_folder = self.path.is_dir();
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = if is_folder { self.path.as_path() } else { parent.unwrap_or(Path::new(".")) };
        let identity = std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if identity.is_some() && identity == self.watcher.as_ref().map(|watched| watched.folder) {
            return;
        }
        let mode = if is_folder { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        self.watcher = identity.and_then(|identity| {
            watcher(folder, mode, self.reports.clone())
                .map(|watcher| Watched { _watcher: watcher, folder: identity })
                .inspect_err(|error| {
                    tracing::debug!(folder = %folder.display(), %error, "files are polled, watching failed");
                })
                .ok()
        });
    }
}

fn watcher(folder: &Path, mode: RecursiveMode, reports: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let report = move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| is_change(event.kind)) {
            reports.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(report)?;
    watcher.watch(folder, mode)?;
    Ok(watcher)
}

/// Whether an event may mean other contents. Our own reading is none.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Of two looks that differ, what is sure: files that look the same in both.
/// The others are as they were taken before, or not there yet.
fn steady(taken: &FileSet, before: &FileSet, mut now: FileSet) -> FileSet {
    let moving: Vec<_> = before
        .files
        .keys()
        .chain(now.files.keys())
        .filter(|path| before.files.get(*path) != now.files.get(*path))
        .cloned()
        .collect();
    for path in moving {
        match taken.files.get(&path) {
            Some(text) => now.files.insert(path, text.clone()),
            None => now.files.remove(&path),
        };
    }
    now
}

/// Holds back files that became empty, for as long as they may be half written.
fn hold_back(
    taken: &FileSet,
    found: &FileSet,
    emptied: &mut BTreeMap<Arc<str>, Instant>,
    now: Instant,
) -> FileSet {
    let mut result = found.clone();
    let mut still = BTreeMap::new();
    for (path, text) in &mut result.files {
        let Some(before) = taken.files.get(path).filter(|before| is_blank(text) && !is_blank(before)) else {
            continue;
        };
        let since = emptied.get(path).copied().unwrap_or(now);
        if now.duration_since(since) < EMPTY_FILE_GRACE {
            still.insert(path.clone(), since);
            *text = before.clone();
        }
    }
    *emptied = still;
    result
}

fn is_blank(text: &FileText) -> bool {
    match text {
        FileText::Bytes(bytes) => bytes.iter().all(u8::is_ascii_whitespace),
        FileText::Unreadable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> FileSet {
        let bytes = |text: &str| FileText::Bytes(text.as_bytes().into());
        FileSet {
            files: files.iter().map(|(path, text)| ((*path).into(), bytes(text))).collect(),
            ..FileSet::default()
        }
    }

    #[test]
    fn a_file_that_became_empty_is_held_back_for_a_second() {
        let start = Instant::now();
        let (taken, found) = (
            set(&[("a", "x"), ("b", "x")]),
            set(&[
                (
                    "a", " 
",
                ),
                ("b", "y"),
                ("c", ""),
            ]),
        );
        let mut emptied = BTreeMap::new();
        let held = set(&[("a", "x"), ("b", "y"), ("c", "")]);
        assert_eq!(hold_back(&taken, &found, &mut emptied, start), held);
        assert_eq!(hold_back(&held, &found, &mut emptied, start + EMPTY_FILE_GRACE / 2), held);
        assert_eq!(hold_back(&held, &found, &mut emptied, start + EMPTY_FILE_GRACE), found);
        assert!(emptied.is_empty());
    }

    #[test]
    fn a_file_that_is_written_again_starts_anew() {
        let start = Instant::now();
        let (full, empty) = (set(&[("a", "x")]), set(&[("a", "")]));
        let mut emptied = BTreeMap::new();
        hold_back(&full, &empty, &mut emptied, start);
        hold_back(&full, &full, &mut emptied, start + EMPTY_FILE_GRACE / 2);
        assert_eq!(hold_back(&full, &empty, &mut emptied, start + EMPTY_FILE_GRACE), full);
    }

    #[test]
    fn what_does_not_settle_stays_as_it_was() {
        let taken = set(&[("moving", "old"), ("gone", "old"), ("same", "old")]);
        let before = set(&[("moving", "1"), ("gone", "1"), ("same", "new"), ("fresh", "1")]);
        let now = set(&[("moving", "2"), ("same", "new"), ("fresh", "2")]);
        let want = set(&[("moving", "old"), ("gone", "old"), ("same", "new")]);
        assert_eq!(steady(&taken, &before, now), want);
    }

    #[test]
    fn reading_a_file_is_no_change_of_it() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Read)));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_change(EventKind::Any));
    }
}
