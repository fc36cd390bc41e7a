//! What becomes of the stage of a mesh's roots when the disk is full.

#[path = "../../osm-certs/tests/support/disk.rs"]
mod disk;

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use osm_bin::rotation::folder::StageFile;
use osm_certs::rotation::{Stage, StageStore};

use disk::{fill, with_own_mounts};

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_stage_that_a_full_disk_does_not_take_is_not_entered_and_is_written_when_there_is_space() {
    with_own_mounts(|disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let file = StageFile::new(disk.join("roots.json"));
        let first = Stage::first("a".parse().expect("a name"), SystemTime::UNIX_EPOCH);
        let second =
            Stage { number: first.number + 1, since: first.since + Duration::from_secs(60), ..first.clone() };
        let swap = |number, stage| runtime.block_on(file.swap(number, stage));
        let load = || runtime.block_on(file.load()).expect("it is read").expect("it is there");
        swap(None, &first).expect("there is space");
        fill(disk, 0);
        for _ in ["at once", "again"] {
            let error = swap(Some(first.number), &second).expect_err("there is no space");
            assert!(
                error.to_string().starts_with("writing ") && error.to_string().contains("roots.json"),
                "{error}"
            );
            let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
            assert_eq!(source.map(std::io::Error::kind), Some(ErrorKind::StorageFull));
            assert_eq!(load(), first);
            assert!(!disk.join("roots.new").exists(), "half of one takes no space");
        }
        fs::remove_file(disk.join("filler")).expect("space again");
        assert!(swap(Some(first.number), &second).expect("there is space"));
        assert_eq!(load(), second);
    });
}
