//! What files were when they were read, so that a look at a thousand of them
//! reads the one that is different.
//!
//! A file is taken to be as it was as long as its place on the disk, its size
//! and its times are the same, and it had rested for a while when it was read:
//! the clock of a file system has ticks, and two writes within one look alike.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a file must not have changed before it was read, to be trusted to
/// look different once it is. The ticks of file systems are 10 ms and less,
/// except for some old ones with 2 s.
const REST: Duration = Duration::from_millis(2_500);

/// The files that a look has read or recalled.
#[derive(Debug, Default)]
pub(super) struct Memory {
    before: BTreeMap<PathBuf, Seen>,
    now: BTreeMap<PathBuf, Seen>,
    /// Files read so far: a measure of work.
    reads: u64,
}

/// A file as it was read.
#[derive(Debug)]
struct Seen {
    looks: Looks,
    /// Whether it had rested, so that its looks can be trusted.
    is_rested: bool,
    bytes: Arc<[u8]>,
}

/// What can be seen of a file without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Looks {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Memory {
    /// What a file holds: as it was if it looks as it did, else as it is read now.
    pub(super) fn recall_or(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<[u8]>> {
        let looks = Looks::of(metadata);
        let known = self.before.remove(path).filter(|seen| seen.is_rested && seen.looks == looks);
        let seen = match known {
            Some(seen) => seen,
            None => {
                let is_rested = looks.has_rested(SystemTime::now());
                self.reads += 1;
                Seen { looks, is_rested, bytes: read()?.into() }
            }
        };
        let bytes = Arc::clone(&seen.bytes);
        self.now.insert(path.to_owned(), seen);
        Ok(bytes)
    }

    /// Ends a look: what was not seen in it is forgotten.
    pub(super) fn forget_others(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

impl Looks {
    fn of(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether its last change is long enough ago. One in the future, by a clock
    /// that was set back, never is.
    fn has_rested(&self, now: SystemTime) -> bool {
        let since_epoch = |(seconds, nanos): (i64, i64)| {
            Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
        };
        [self.modified, self.changed].into_iter().all(|time| {
            let changed = since_epoch(time).and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time));
            changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|rest| rest >= REST)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn looks(path: &Path) -> Looks {
        Looks::of(&fs::metadata(path).expect("it is there"))
    }

    fn recall(memory: &mut Memory, path: &Path) -> Vec<u8> {
        let metadata = fs::metadata(path).expect("it is there");
        let bytes = memory.recall_or(path, &metadata, || fs::read(path)).expect("it can be read");
        bytes.to_vec()
    }

    /// Takes all that was read as having rested, as it has after a while.
    fn rest(memory: &mut Memory) {
        memory.forget_others();
        memory.before.values_mut().for_each(|seen| seen.is_rested = true);
    }

    #[test]
    fn a_file_that_looks_as_it_did_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "1").expect("written");
        fs::write(&other, "1").expect("written");
        let mut memory = Memory::default();
        recall(&mut memory, &one);
        recall(&mut memory, &other);
        rest(&mut memory);
        fs::write(&one, "22").expect("written");
        assert_eq!((recall(&mut memory, &one), recall(&mut memory, &other)), (b"22".to_vec(), b"1".to_vec()));
        assert_eq!(memory.reads, 3, "only the one that changed");
    }

    #[test]
    fn an_edit_that_hides_itself_in_size_and_time_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
        let mut memory = Memory::default();
        recall(&mut memory, &path);
        rest(&mut memory);
        // The time of the last change of the file's entry can't be set by anyone; it
        // differs from the clock's next tick on.
        let before = looks(&path).changed;
        while looks(&path).changed == before {
            fs::write(&path, "two").expect("written");
        }
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(modified))
            .expect("set back");
        assert_eq!(recall(&mut memory, &path), b"two");
    }

    #[test]
    fn a_file_that_was_read_soon_after_a_change_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        let mut memory = Memory::default();
        recall(&mut memory, &path);
        memory.forget_others();
        recall(&mut memory, &path);
        assert_eq!(memory.reads, 2);
        let now = SystemTime::now();
        assert!(!looks(&path).has_rested(now));
        assert!(looks(&path).has_rested(now + 2 * REST));
        assert!(!looks(&path).has_rested(now - 2 * REST), "a change in the future is never long ago");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        let mut memory = Memory::default();
        recall(&mut memory, &path);
        memory.forget_others();
        memory.forget_others();
        assert!(memory.before.is_empty() && memory.now.is_empty());
    }
}
