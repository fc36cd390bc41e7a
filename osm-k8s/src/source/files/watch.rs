//! When to look again, and at what.
//!
//! Most changes name a file, and only that one is looked at. Where a report is
//! not so clear, where there are links, and where nothing is reported, everything
//! is looked at until two looks are equal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use osm_core::source::SourceEvent;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Manifests;
use super::diff;
use super::doubt::{doubt, hold_back, steady};
use super::memory::Memory;
use super::pending::{Pending, SETTLE_TIME, Wait};
use super::reports::{Report, Reports};
use super::scan::{Found, Look, MAX_FILES, MAX_TOTAL_BYTES, look, look_at, shown};
use super::state::FileState;
use super::store::{FileSet, FileText, ManifestStore, Step};

/// How often contents are compared where nothing was reported: some file
/// systems report nothing.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The settle time of a change that polling found: nobody reported whether the
/// file is still being written.
pub const POLL_SETTLE_TIME: Duration = Duration::from_millis(250);
/// How often every file is read, whatever it looks like: some file systems do
/// not tell that a file has changed in any way.
pub const FULL_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How many looks a change may take to settle; what still changes then stays as
/// it was, and is looked at again.
const MAX_LOOKS: usize = 50;
/// A change so soon after the last is one of many, which are taken together: once
/// there was no other for the second of these, or after the third.
const BURST: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(8), Duration::from_millis(100)];

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
    /// The bytes of those that were found.
    bytes: usize,
    /// Files in doubt that a look at everything found: since when and until when.
    held: BTreeMap<Arc<str>, (Instant, Instant)>,
    /// Paths that were reported.
    pending: Pending,
    told: Told,
    /// Whether anything was reported to have changed, or has not settled.
    everything: bool,
    look_again: bool,
    looks: u64,
    files_looked_at: u64,
    /// What files were when they were read last, and when all were.
    memory: Memory,
    read_all_at: Option<Instant>,
    looked_at: Instant,
    changed_at: Option<Instant>,
    reports: Reports,
}

/// What was told so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Incomplete,
    Complete,
}

/// What to look at.
enum Next {
    /// Everything, until it looks the same for so long.
    Everything(Duration),
    /// These paths.
    Paths(Vec<(PathBuf, Wait)>),
}

impl ManifestWatch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            reports: Reports::about(path.clone()),
            path,
            store: ManifestStore::default(),
            found: FileSet::default(),
            taken: FileSet::default(),
            bytes: 0,
            held: BTreeMap::new(),
            pending: Pending::default(),
            told: Told::Nothing,
            everything: false,
            look_again: true,
            looks: 0,
            files_looked_at: 0,
            memory: Memory::default(),
            read_all_at: None,
            looked_at: Instant::now(),
            changed_at: None,
        }
    }

    /// The manifests, as soon as there is something new to say: at once the
    /// first time, then after each change that has settled. Never ends. May be
    /// dropped at any time without losing a change. Costs as much as there are
    /// objects; [`FileSource`](super::FileSource) as a source does not.
    pub async fn next(&mut self) -> Arc<Manifests> {
        self.step().await;
        self.tell();
        Arc::new(self.store.manifests())
    }

    /// The events that lead to the next state: all of it as long as it is not
    /// complete.
    pub(super) async fn next_events(&mut self) -> Vec<SourceEvent> {
        let step = self.step().await;
        match self.tell() {
            Told::Complete => self.store.events(&step),
            Told::Nothing | Told::Incomplete => diff::all(&self.store.manifests()),
        }
    }

    /// How many times everything was looked at so far. Only files that look
    /// different from before are read.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// How many files were looked at so far, in all looks: what watching costs.
    #[must_use]
    pub fn files_looked_at(&self) -> u64 {
        self.files_looked_at
    }

    /// Notes that all is told now; what had been before.
    fn tell(&mut self) -> Told {
        let now = if self.store.is_complete() { Told::Complete } else { Told::Incomplete };
        std::mem::replace(&mut self.told, now)
    }

    /// The next step that changes something, or the first.
    async fn step(&mut self) -> Step {
        loop {
            let step = match self.wait().await {
                Next::Everything(settle_time) => self.look_at_everything(settle_time).await,
                Next::Paths(paths) => self.look_at(paths).await,
            };
            if self.told == Told::Nothing || !step.is_empty() {
                self.changed_at = Some(Instant::now());
                return step;
            }
        }
    }

    /// Takes in what was reported by now.
    fn hear(&mut self) -> Instant {
        let (news, now) = (self.reports.take(), Instant::now());
        self.everything |= news.everything;
        self.pending.note(news.paths, now);
        now
    }

    /// Waits for a report, for the next poll, or until a file in doubt counts.
    async fn wait(&mut self) -> Next {
        loop {
            let now = self.hear();
            if self.look_again || self.everything {
                return Next::Everything(SETTLE_TIME);
            }
            let ready = self.pending.ready(now);
            if !ready.is_empty() {
                if self.changed_at.is_some_and(|last| now.duration_since(last) < BURST[0]) {
                    self.end_of_burst(now + BURST[2]).await;
                    self.changed_at = None;
                    continue;
                }
                return Next::Paths(ready);
            }
            let poll = self.looked_at + POLL_INTERVAL;
            let held = self.held.values().map(|(_, until)| *until).min();
            let look = held.map_or(poll, |held| held.min(poll));
            if look <= now {
                return Next::Everything(POLL_SETTLE_TIME);
            }
            let until = self.pending.next().map_or(look, |path| path.min(look));
            tokio::select! {
                () = self.reports.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Waits until nothing is reported for a moment.
    async fn end_of_burst(&self, latest: Instant) {
        while Instant::now() < latest && timeout(BURST[1], self.reports.changed()).await.is_ok() {}
    }

    /// Looks at some paths, and takes what is in no doubt.
    async fn look_at(&mut self, paths: Vec<(PathBuf, Wait)>) -> Step {
        let names = paths.iter().map(|(path, _)| path.clone()).collect();
        let found = look_at(self.path.clone(), names).await;
        // What was reported meanwhile decides about what was read meanwhile.
        let now = self.hear();
        let mut changed = BTreeMap::new();
        for ((path, wait), found) in paths.into_iter().zip(found) {
            self.files_looked_at += 1;
            let is_open = self.pending.get(&path).is_some_and(|wait| wait.report == Report::Written);
            if is_open && wait.report != Report::Written {
                continue;
            }
            let name = shown(&path);
            match found {
                Found::File(text) => {
                    let until = wait.since + doubt(self.taken.files.get(&name), &text, is_open);
                    let (state, lacks) = self.store.read(&name, &text);
                    // What is missing may be about to stand in another file.
                    let until = if lacks { until.max(wait.since + SETTLE_TIME) } else { until };
                    if until > now {
                        self.pending.put_off(&path, wait, until);
                        continue;
                    }
                    changed.insert(name, Some(state));
                }
                // It may be about to be there again.
                Found::Nothing if now < wait.since + SETTLE_TIME => {
                    self.pending.put_off(&path, wait, wait.since + SETTLE_TIME);
                    continue;
                }
                Found::Nothing if !self.everything && !self.was_folder(&path) => {
                    changed.insert(name, None);
                }
                Found::Other => {}
                Found::Nothing | Found::Unclear => self.look_again = true,
            }
            self.pending.done(&path, wait);
        }
        self.take(changed)
    }

    /// Takes files as they were read now.
    fn take(&mut self, mut changed: BTreeMap<Arc<str>, Option<FileState>>) -> Step {
        for (name, state) in &changed {
            let before = set(&mut self.found, name, state.as_ref());
            self.bytes += state.as_ref().map_or(0, |state| size(&state.text));
            self.bytes -= before.as_ref().map_or(0, size);
        }
        if self.found.files.len() > MAX_FILES || self.bytes > MAX_TOTAL_BYTES {
            // A look at everything says so, and which are too many.
            self.look_again = true;
            return Step::default();
        }
        changed.retain(|name, state| {
            let before = set(&mut self.taken, name, state.as_ref());
            before.as_ref() != state.as_ref().map(|state| &state.text)
        });
        self.store.take(changed)
    }

    /// Whether all that differs was reported, so that it will be looked at anyway.
    fn is_reported(&mut self, now: &FileSet) -> bool {
        self.hear();
        let (mut now, mut before) = (now.clone(), self.found.clone());
        for name in self.pending.names() {
            now.files.remove(&name);
            before.files.remove(&name);
        }
        self.told != Told::Nothing && !self.everything && self.held.is_empty() && now == before
    }

    /// Whether a path that is gone was a folder, or the root.
    fn was_folder(&self, folder: &Path) -> bool {
        let below: Arc<str> = format!("{}/", folder.to_string_lossy()).into();
        let mut after = self.found.files.range(below.clone()..);
        folder == self.path || after.next().is_some_and(|(path, _)| path.starts_with(&*below))
    }

    /// Looks at everything until two looks are equal, and takes what is in no doubt.
    async fn look_at_everything(&mut self, settle_time: Duration) -> Step {
        // Stays so if this is dropped while it looks.
        self.look_again = true;
        self.everything = false;
        if self.reports.set() {
            self.pending.clear();
        }
        let mut last = self.look().await;
        if settle_time == POLL_SETTLE_TIME && last != self.found && self.is_reported(&last) {
            self.looked_at = Instant::now();
            self.look_again = false;
            return Step::default();
        }
        let mut is_settled = last == self.found && self.told != Told::Nothing;
        let mut looks = 0;
        while !is_settled && looks < MAX_LOOKS {
            sleep(settle_time).await;
            let next = self.look().await;
            looks += 1;
            is_settled = next == last;
            let give_up = !is_settled && looks == MAX_LOOKS;
            last = if give_up { steady(&self.taken, &last, next) } else { next };
        }
        self.found = last;
        self.bytes = self.found.files.values().map(size).sum();
        self.pending.done_with_closed();
        let now = self.hear();
        self.taken = hold_back(&self.taken, &self.found, &self.pending.open(), &mut self.held, now);
        self.looked_at = now;
        self.look_again = !is_settled;
        self.store.take_all(&self.taken)
    }

    async fn look(&mut self) -> FileSet {
        self.looks += 1;
        let now = Instant::now();
        let is_due = self.read_all_at.is_none_or(|last| now.duration_since(last) >= FULL_LOOK_INTERVAL);
        if is_due {
            self.memory = Memory::default();
            self.read_all_at = Some(now);
        }
        // Without its memory a look that is cut short costs a full one, and nothing else.
        let Look { set, memory, has_links } = look(self.path.clone(), std::mem::take(&mut self.memory)).await;
        self.memory = memory;
        self.files_looked_at += set.files.len() as u64;
        // What is said about the tree may follow from any file.
        let is_plain =
            set.is_root_readable && set.unreadable_folders.is_empty() && set.diagnostics.is_empty();
        self.reports.set_tangled(has_links || !is_plain);
        set
    }
}

/// Sets what a file holds, `None` if it is gone; gives what it held.
fn set(files: &mut FileSet, name: &Arc<str>, state: Option<&FileState>) -> Option<FileText> {
    match state {
        Some(state) => files.files.insert(Arc::clone(name), state.text.clone()),
        None => files.files.remove(name),
    }
}

fn size(text: &FileText) -> usize {
    match text {
        FileText::Bytes(bytes) => bytes.len(),
        FileText::Unreadable(_) => 0,
    }
}
