//! What a report names is all that is looked at, and what is whole is taken at
//! once; in real time, on a real file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::stream::StreamExt;
use osm_core::source::{ConfigSource, SourceEvent};
use osm_k8s::source::files::{POLL_INTERVAL, SETTLE_TIME, WRITE_GRACE};
use osm_k8s::{FileSource, ManifestWatch};

/// Half a poll: what is seen by then was reported.
const SOON: Duration = Duration::from_millis(2_500);

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n")
}

fn write(folder: &Path, file: &str, names: &[&str]) {
    let texts: Vec<_> = names.iter().map(|name| account(name)).collect();
    fs::write(folder.join(file), texts.join("---\n")).expect("a file");
}

/// Puts a file in place as a whole.
fn swap(folder: &Path, file: &str, names: &[&str]) {
    let draft = format!(".{file}");
    write(folder, &draft, names);
    fs::rename(folder.join(draft), folder.join(file)).expect("renamed into place");
}

async fn next(watch: &mut ManifestWatch) -> Vec<String> {
    assert!(SOON < POLL_INTERVAL);
    let now = tokio::time::timeout(SOON, watch.next()).await.expect("a change is reported");
    now.entries.keys().map(|name| name.name.to_string()).collect()
}

#[tokio::test]
async fn a_change_looks_at_the_files_that_are_named_and_at_no_others() {
    for count in [10, 1000] {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..count {
            write(folder.path(), &format!("f{number}.yaml"), &[&format!("a{number}")]);
        }
        let mut watch = FileSource::new(folder.path()).watch();
        assert_eq!(next(&mut watch).await.len(), count);
        let looks = watch.looks();
        let before = watch.files_looked_at();
        swap(folder.path(), "f3.yaml", &["a3", "renamed"]);
        assert_eq!(next(&mut watch).await.len(), count + 1);
        write(folder.path(), "f4.yaml", &["a4", "written"]);
        assert_eq!(next(&mut watch).await.len(), count + 2);
        swap(folder.path(), "new.yaml", &["new"]);
        assert_eq!(next(&mut watch).await.len(), count + 3);
        fs::remove_file(folder.path().join("new.yaml")).expect("removed");
        assert_eq!(next(&mut watch).await.len(), count + 2);
        // A poll may fall into this time.
        let polled = (watch.looks() - looks) * (count as u64 + 1);
        let looked_at = watch.files_looked_at() - before;
        assert!(looked_at <= 8 + polled, "{looked_at} files looked at for 4 changes among {count}");
    }
}

#[tokio::test]
async fn a_file_that_is_renamed_into_place_or_closed_is_taken_without_settling() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.yaml", &["a"]);
    for how in [swap, write] {
        let mut watch = FileSource::new(folder.path()).watch();
        next(&mut watch).await;
        let mut times = Vec::new();
        for round in 0..20 {
            // Not so soon after the last that it would be one of many.
            tokio::time::sleep(SETTLE_TIME).await;
            let begin = Instant::now();
            how(folder.path(), "a.yaml", &["a", &format!("round{round}"), "kept"]);
            next(&mut watch).await;
            // The object of the last round is gone, which is waited for.
            times.push(begin.elapsed());
            how(folder.path(), "a.yaml", &["a", "kept"]);
            next(&mut watch).await;
        }
        let shortest = times.iter().min().expect("a time");
        assert!(*shortest < SETTLE_TIME / 2, "{times:?}");
    }
}

#[tokio::test]
async fn a_burst_of_changes_is_taken_in_a_few_steps() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FileSource::new(folder.path()).watch();
    watch.next().await;
    let path = folder.path().to_owned();
    let writer = tokio::task::spawn_blocking(move || {
        (0..300).for_each(|number| swap(&path, &format!("f{number}.yaml"), &[&format!("a{number}")]));
    });
    let mut steps = 0;
    while next(&mut watch).await.len() < 300 {
        steps += 1;
    }
    writer.await.expect("written");
    println!("300 changes are taken in {} steps", steps + 1);
    // Two, where the writer is not held up.
    assert!(steps < 30, "{steps}");
}

#[tokio::test]
async fn a_file_that_is_cut_at_a_line_break_and_still_open_is_not_an_edit() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.yaml", &["a", "b"]);
    let mut watch = FileSource::new(folder.path()).watch();
    assert_eq!(next(&mut watch).await, ["a", "b"]);
    let mut file = File::create(folder.path().join("a.yaml")).expect("truncated");
    file.write_all(account("a").as_bytes()).expect("the first half");
    let half = tokio::time::timeout(WRITE_GRACE + WRITE_GRACE / 2, watch.next()).await;
    assert!(half.is_err(), "{half:#?}");
    file.write_all(format!("---\n{}---\n{}", account("b"), account("c")).as_bytes()).expect("the rest");
    drop(file);
    assert_eq!(next(&mut watch).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_object_that_moves_to_another_file_is_never_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.yaml", &["a", "moving"]);
    write(folder.path(), "b.yaml", &["b"]);
    let mut events = Box::new(FileSource::new(folder.path())).into_events();
    while events.next().await.expect("it does not end") != SourceEvent::Ready {}
    swap(folder.path(), "a.yaml", &["a"]);
    swap(folder.path(), "b.yaml", &["b", "moving", "last"]);
    loop {
        let event = tokio::time::timeout(SOON, events.next()).await.expect("a change is reported");
        match event.expect("it does not end") {
            SourceEvent::Delete(name) => panic!("{name} was gone"),
            SourceEvent::Apply(object) if object.object_ref().name.as_str() == "last" => break,
            _ => {}
        }
    }
    let later = tokio::time::timeout(3 * SETTLE_TIME, events.next()).await;
    assert!(!matches!(later, Ok(Some(SourceEvent::Delete(_)))), "{later:?}");
}

#[tokio::test]
async fn a_file_that_is_removed_and_written_anew_is_never_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.yaml", &["a"]);
    let mut watch = FileSource::new(folder.path()).watch();
    next(&mut watch).await;
    // As an editor does that keeps a backup.
    fs::rename(folder.path().join("a.yaml"), folder.path().join("a.yaml~")).expect("renamed away");
    write(folder.path(), "a.yaml", &["a", "b"]);
    assert_eq!(next(&mut watch).await, ["a", "b"]);
}
