//! When to look again, and when a file has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Manifests;
use super::memory::Memory;
use super::reports::Reports;
use super::scan::look;
use super::store::{FileSet, FileText, ManifestStore};

/// How long everything must look the same before a reported change is taken.
/// A file that somebody still writes to is waited for longer, see [`WRITE_GRACE`].
pub const SETTLE_TIME: Duration = Duration::from_millis(20);
/// How often contents are compared where nothing was reported: some file
/// systems report nothing.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The settle time of a change that polling found: nobody reported whether the
/// file is still being written.
pub const POLL_SETTLE_TIME: Duration = Duration::from_millis(250);
/// How long a file may be half written before it is taken as it is: one that
/// became empty, and one that was written to and not closed.
pub const WRITE_GRACE: Duration = Duration::from_secs(1);
/// How often every file is read, whatever it looks like: some file systems do
/// not tell that a file has changed in any way.
pub const FULL_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How many looks a change may take to settle; what still changes then stays as
/// it was, and is looked at again.
const MAX_LOOKS: usize = 50;

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
    /// Files that may be half written, and since when.
    held: BTreeMap<Arc<str>, Instant>,
    told: Option<Arc<Manifests>>,
    look_again: bool,
    looks: u64,
    /// What files were when they were read last, and when all were.
    memory: Memory,
    read_all_at: Option<Instant>,
    reports: Reports,
}

impl ManifestWatch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            reports: Reports::about(path.clone()),
            path,
            store: ManifestStore::default(),
            found: FileSet::default(),
            taken: FileSet::default(),
            held: BTreeMap::new(),
            told: None,
            look_again: true,
            looks: 0,
            memory: Memory::default(),
            read_all_at: None,
        }
    }

    /// The manifests, as soon as there is something new to say: at once the
    /// first time, then after each change that has settled. Never ends. May be
    /// dropped at any time without losing a change.
    pub async fn next(&mut self) -> Arc<Manifests> {
        loop {
            let settle_time = self.wait().await;
            // Stays so if this is dropped while it looks.
            self.look_again = true;
            self.reports.set();
            let (taken, look_again) = self.settle(settle_time).await;
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

    /// How many times everything was looked at so far: what watching costs. Only
    /// files that look different from before are read.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
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
        let (set, memory) = look(self.path.clone(), std::mem::take(&mut self.memory)).await;
        self.memory = memory;
        set
    }

    /// Waits for a report, for the next poll, or until a half-written file
    /// counts. Returns how long what is found then must look the same.
    async fn wait(&self) -> Duration {
        if self.look_again {
            return SETTLE_TIME;
        }
        let now = Instant::now();
        let grace = self.held.values().min().map(|since| *since + WRITE_GRACE);
        let until = grace.map_or(now + POLL_INTERVAL, |grace| grace.min(now + POLL_INTERVAL));
        tokio::select! {
            () = self.reports.changed() => SETTLE_TIME,
            () = sleep_until(until) => POLL_SETTLE_TIME,
        }
    }

    /// Looks until two looks are equal. Returns what is to be taken, and
    /// whether there is more to come.
    async fn settle(&mut self, settle_time: Duration) -> (FileSet, bool) {
        let mut last = self.look().await;
        let mut is_settled = last == self.found && self.told.is_some();
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
        let writing = self.reports.writing();
        let taken = hold_back(&self.taken, &self.found, &writing, &mut self.held, Instant::now());
        self.reports.wait_only_for(|path| self.held.contains_key(path));
        (taken, !is_settled)
    }
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

/// Holds back files that may be half written, for as long as they may be: such
/// that became empty, and such that somebody writes to.
fn hold_back(
    taken: &FileSet,
    found: &FileSet,
    writing: &BTreeSet<Arc<str>>,
    held: &mut BTreeMap<Arc<str>, Instant>,
    now: Instant,
) -> FileSet {
    let mut result = found.clone();
    let mut still = BTreeMap::new();
    for (path, text) in &found.files {
        let before = taken.files.get(path);
        let is_emptied = is_blank(text) && before.is_some_and(|before| !is_blank(before));
        let is_suspect = before != Some(text) && (is_emptied || writing.contains(path));
        let since = held.get(path).copied().unwrap_or(now);
        if !is_suspect || now.duration_since(since) >= WRITE_GRACE {
            continue;
        }
        still.insert(path.clone(), since);
        match before {
            Some(before) => result.files.insert(path.clone(), before.clone()),
            None => result.files.remove(path),
        };
    }
    *held = still;
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

    fn none() -> BTreeSet<Arc<str>> {
        BTreeSet::new()
    }

    #[test]
    fn a_file_that_became_empty_is_held_back_for_a_second() {
        let start = Instant::now();
        let taken = set(&[("a", "x"), ("b", "x")]);
        let found = set(&[("a", " \n"), ("b", "y"), ("c", "")]);
        let held_back = set(&[("a", "x"), ("b", "y"), ("c", "")]);
        let mut held = BTreeMap::new();
        assert_eq!(hold_back(&taken, &found, &none(), &mut held, start), held_back);
        assert_eq!(hold_back(&held_back, &found, &none(), &mut held, start + WRITE_GRACE / 2), held_back);
        assert_eq!(hold_back(&held_back, &found, &none(), &mut held, start + WRITE_GRACE), found);
        assert!(held.is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_is_held_back_until_it_is_closed_or_a_second_has_passed() {
        let start = Instant::now();
        let taken = set(&[("a", "x"), ("same", "x")]);
        let found = set(&[("a", "y"), ("new", "y"), ("same", "x"), ("other", "y")]);
        let writing: BTreeSet<Arc<str>> = ["a", "new", "same"].map(Arc::from).into();
        let held_back = set(&[("a", "x"), ("same", "x"), ("other", "y")]);
        let mut held = BTreeMap::new();
        assert_eq!(hold_back(&taken, &found, &writing, &mut held, start), held_back);
        assert_eq!(held.len(), 2);
        let later = start + WRITE_GRACE / 2;
        assert_eq!(hold_back(&held_back, &found, &none(), &mut held.clone(), later), found, "closed");
        let much_later = start + WRITE_GRACE;
        assert_eq!(hold_back(&held_back, &found, &writing, &mut held, much_later), found, "never closed");
    }

    #[test]
    fn a_file_that_is_written_again_starts_anew() {
        let start = Instant::now();
        let (full, empty) = (set(&[("a", "x")]), set(&[("a", "")]));
        let mut held = BTreeMap::new();
        hold_back(&full, &empty, &none(), &mut held, start);
        hold_back(&full, &full, &none(), &mut held, start + WRITE_GRACE / 2);
        assert_eq!(hold_back(&full, &empty, &none(), &mut held, start + WRITE_GRACE), full);
    }

    #[test]
    fn what_does_not_settle_stays_as_it_was() {
        let taken = set(&[("moving", "old"), ("gone", "old"), ("same", "old")]);
        let before = set(&[("moving", "1"), ("gone", "1"), ("same", "new"), ("fresh", "1")]);
        let now = set(&[("moving", "2"), ("same", "new"), ("fresh", "2")]);
        let want = set(&[("moving", "old"), ("gone", "old"), ("same", "new")]);
        assert_eq!(steady(&taken, &before, now), want);
    }
}
