//! Small disks: real file systems in a mount namespace of the test's own.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The smallest file system: a few pages.
const SIZE: &str = "size=64k";

/// Runs on a thread whose mounts nobody else sees, and which end with it.
pub(crate) fn with_own_mounts(test: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        let own = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
            let nothing = None::<&str>;
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(nothing, "/", nothing, private, nothing).expect("mounts that nobody else sees");
            let flags = MsFlags::empty();
            mount(Some("none"), folder.path(), Some("tmpfs"), flags, Some(SIZE)).expect("a small disk");
            test(folder.path());
        };
        scope.spawn(own).join().expect("the test ends well");
    });
}

#[allow(dead_code, reason = "not all tests need it")]
pub(crate) fn make_read_only(disk: &Path) {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, disk, None::<&str>, flags, None::<&str>).expect("a read-only disk");
}

/// Fills a disk but for so many pages.
pub(crate) fn fill(disk: &Path, pages: u64) {
    let filler = disk.join("filler");
    let mut size = 0;
    while fs::write(&filler, vec![b'x'; size + 4096]).is_ok() {
        size += 4096;
    }
    let left = (size as u64).saturating_sub(pages * 4096);
    fs::File::options().write(true).open(&filler).and_then(|file| file.set_len(left)).expect("it shrinks");
}
