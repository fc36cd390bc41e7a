//! What the authority does when its disk is full or read-only, with real file systems
//! in a mount namespace of the test's own.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::{CaError, InProcessCa};
use osm_certs::issuer::Issuer;
use osm_certs::subject::Subject;

/// The smallest file system: a few pages.
const SIZE: &str = "size=64k";

/// Runs on a thread whose mounts nobody else sees, and which end with it.
fn with_own_mounts(test: impl FnOnce(&Path) + Send) {
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

fn make_read_only(disk: &Path) {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, disk, None::<&str>, flags, None::<&str>).expect("a read-only disk");
}

/// Fills a disk but for so many pages.
fn fill(disk: &Path, pages: u64) {
    let filler = disk.join("filler");
    let mut size = 0;
    while fs::write(&filler, vec![b'x'; size + 4096]).is_ok() {
        size += 4096;
    }
    let left = (size as u64).saturating_sub(pages * 4096);
    fs::File::options().write(true).open(&filler).and_then(|file| file.set_len(left)).expect("it shrinks");
}

fn fault(folder: &Path) -> (ErrorKind, String) {
    match InProcessCa::create_or_load(folder).expect_err("it can't be written") {
        CaError::Storage { source, action, path } => {
            let kind = source.kind();
            let error = CaError::Storage { source, action, path };
            assert!(error.source().is_some());
            (kind, error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The authority still signs.
fn signs(ca: &InProcessCa) {
    let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a principal"));
    let Enrolment { request, .. } = Enrolment::new(subject, Duration::from_secs(60)).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(ca.sign(&request)).expect("it signs");
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_full_disk_leaves_no_half_of_a_root_and_the_next_start_makes_a_whole_one() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        fs::create_dir(&folder).expect("a folder");
        // From no space at all to enough for all but the last file.
        for pages in 0..2 {
            fill(disk, pages);
            let (kind, text) = fault(&folder);
            assert_eq!(kind, ErrorKind::StorageFull, "{text}");
            assert!(text.contains("free some space there and start again, nothing was changed"), "{text}");
            let left: Vec<String> = names(&folder).into_iter().filter(|name| name != "ca.lock").collect();
            assert_eq!(left, Vec::<String>::new(), "with {pages} pages");
            fs::remove_file(disk.join("filler")).expect("space again");
        }
        let ca = InProcessCa::create_or_load(&folder).expect("there is space");
        signs(&ca);
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_root_that_is_there_is_served_from_a_disk_that_is_full_or_read_only() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        let ca = InProcessCa::create_or_load(&folder).expect("it is made");
        let root = ca.root().pem().to_owned();
        fill(disk, 0);
        signs(&ca);
        let again = InProcessCa::create_or_load(&folder).expect("it is loaded from a full disk");
        assert_eq!(again.root().pem(), root);
        make_read_only(disk);
        signs(&ca);
        let again = InProcessCa::create_or_load(&folder).expect("it is loaded from a read-only disk");
        assert_eq!(again.root().pem(), root);
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_read_only_disk_without_a_root_is_named_with_what_to_do() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        make_read_only(disk);
        let (kind, text) = fault(&folder);
        assert_eq!(kind, ErrorKind::ReadOnlyFilesystem, "{text}");
        assert!(text.contains("/ca; make the folder writable until the root is made"), "{text}");
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn half_of_a_root_on_a_full_disk_is_refused_and_not_touched() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        InProcessCa::create_or_load(&folder).expect("it is made");
        fs::remove_file(folder.join("ca.crt")).expect("it is removed");
        let key = fs::read(folder.join("ca.key")).expect("it is there");
        fill(disk, 0);
        let error = InProcessCa::create_or_load(&folder).expect_err("a key alone");
        assert!(matches!(error, CaError::Refused { .. }), "{error}");
        assert_eq!(fs::read(folder.join("ca.key")).expect("it is there"), key);
    });
}
