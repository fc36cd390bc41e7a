//! When what stands in a file is not believed yet: it may be half of what its
//! writer is about to say. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::store::{FileSet, FileText};

/// How long a file may be half written before it is taken as it is: one that
/// became empty, and one that was written to and not closed.
pub const WRITE_GRACE: Duration = Duration::from_secs(1);
/// How long that is for a file that is still open and holds the beginning of what
/// it held before: an edit that only takes away is the rarer meaning of it.
pub const OPEN_GRACE: Duration = Duration::from_secs(60);

/// For how long since it was first seen, or opened, a file's content is not
/// believed. Zero: it is, at once.
pub(super) fn doubt(before: Option<&FileText>, now: &FileText, is_open: bool) -> Duration {
    if before == Some(now) {
        return Duration::ZERO;
    }
    let is_emptied = is_blank(now) && before.is_some_and(|before| !is_blank(before));
    match is_open {
        true if before.is_some_and(|before| is_beginning(now, before)) => OPEN_GRACE,
        true => WRITE_GRACE,
        false if is_emptied => WRITE_GRACE,
        false => Duration::ZERO,
    }
}

/// Of two looks that differ, what is sure: files that look the same in both.
/// The others are as they were taken before, or not there yet.
pub(super) fn steady(taken: &FileSet, before: &FileSet, mut now: FileSet) -> FileSet {
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

/// Holds back files that are in doubt, for as long as they are. `held` says since
/// when, and until when.
pub(super) fn hold_back(
    taken: &FileSet,
    found: &FileSet,
    open: &BTreeSet<Arc<str>>,
    held: &mut BTreeMap<Arc<str>, (Instant, Instant)>,
    now: Instant,
) -> FileSet {
    let mut result = found.clone();
    let mut still = BTreeMap::new();
    for (path, text) in &found.files {
        let before = taken.files.get(path);
        let doubt = doubt(before, text, open.contains(path));
        let since = held.get(path).map_or(now, |(since, _)| *since);
        if now.duration_since(since) >= doubt {
            continue;
        }
        still.insert(path.clone(), (since, since + doubt));
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

fn is_beginning(now: &FileText, before: &FileText) -> bool {
    match (now, before) {
        (FileText::Bytes(now), FileText::Bytes(before)) => before.starts_with(now),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FileText {
        FileText::Bytes(text.as_bytes().into())
    }

    fn set(files: &[(&str, &str)]) -> FileSet {
        FileSet {
            files: files.iter().map(|(path, content)| ((*path).into(), text(content))).collect(),
            ..FileSet::default()
        }
    }

    fn none() -> BTreeSet<Arc<str>> {
        BTreeSet::new()
    }

    #[test]
    fn doubt_follows_from_what_is_there_and_whether_its_writer_is() {
        let lines = text("a\nb\n");
        let doubt = |now: &str, is_open| doubt(Some(&lines), &text(now), is_open);
        assert_eq!(doubt("a\nb\n", true), Duration::ZERO, "the same");
        assert_eq!(doubt("a\n", true), OPEN_GRACE, "cut at a line break, and still open");
        assert_eq!(doubt("", true), OPEN_GRACE);
        assert_eq!(doubt("a\n", false), Duration::ZERO, "an edit");
        assert_eq!(doubt(" ", false), WRITE_GRACE, "emptied");
        assert_eq!(doubt("x\n", true), WRITE_GRACE);
        assert_eq!(super::doubt(None, &text("x"), true), WRITE_GRACE);
        assert_eq!(super::doubt(None, &text(""), false), Duration::ZERO, "a new file that is empty");
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
        assert_eq!(held.values().next(), Some(&(start, start + WRITE_GRACE)));
        assert_eq!(hold_back(&held_back, &found, &none(), &mut held, start + WRITE_GRACE), found);
        assert!(held.is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_is_held_back_until_it_is_closed_or_a_second_has_passed() {
        let start = Instant::now();
        let taken = set(&[("a", "x"), ("same", "x")]);
        let found = set(&[("a", "y"), ("new", "y"), ("same", "x"), ("other", "y")]);
        let open: BTreeSet<Arc<str>> = ["a", "new", "same"].map(Arc::from).into();
        let held_back = set(&[("a", "x"), ("same", "x"), ("other", "y")]);
        let mut held = BTreeMap::new();
        assert_eq!(hold_back(&taken, &found, &open, &mut held, start), held_back);
        assert_eq!(held.len(), 2);
        let later = start + WRITE_GRACE / 2;
        assert_eq!(hold_back(&held_back, &found, &none(), &mut held.clone(), later), found, "closed");
        let much_later = start + WRITE_GRACE;
        assert_eq!(hold_back(&held_back, &found, &open, &mut held, much_later), found, "never closed");
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
