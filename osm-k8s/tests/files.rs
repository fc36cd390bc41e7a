//! A folder that is edited while it is watched, on a real file system.
//!
//! Time is paused: polls and settling take no real time, and every wait for a
//! change has an end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use osm_core::diagnostic::Diagnostic;
use osm_core::model::MeshObject;
use osm_core::name::ObjectRef;
use osm_core::source::{ConfigSource, SourceEvent};
use osm_core::testing::{SourceCheck, SourceStep, source_conformance};
use osm_k8s::{FileSource, ManifestWatch, Manifests};
use tempfile::TempDir;

/// Longer than any poll, settling and grace together, on the paused clock.
const DEADLINE: Duration = Duration::from_secs(30);

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        write(&folder, name, text);
    }
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, text).expect("a file");
}

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: shop\n")
}

async fn next(watch: &mut ManifestWatch) -> Arc<Manifests> {
    tokio::time::timeout(DEADLINE, watch.next()).await.expect("a change within the deadline")
}

async fn nothing_new(watch: &mut ManifestWatch) {
    let change = tokio::time::timeout(DEADLINE, watch.next()).await;
    assert!(change.is_err(), "{change:#?}");
}

fn names(manifests: &Arc<Manifests>) -> String {
    manifests.entries.keys().map(|name| name.name.to_string()).collect::<Vec<_>>().join(" ")
}

fn said(manifests: &Manifests) -> Vec<String> {
    manifests.all_diagnostics().iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn edits_are_seen_and_named() {
    let folder = folder(&[("a.yaml", &account("a")), ("sub/b.yaml", &account("b"))]);
    let mut watch = FileSource::new(folder.path()).watch();
    assert_eq!(names(&next(&mut watch).await), "a b");
    nothing_new(&mut watch).await;

    write(
        &folder,
        "sub/new/c.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"ServiceAccount\", \"metadata\": {\"name\": \"c\"}}",
    );
    assert_eq!(names(&next(&mut watch).await), "c a b", "default stands before shop");

    fs::remove_file(folder.path().join("a.yaml")).expect("removed");
    assert_eq!(names(&next(&mut watch).await), "c b");

    write(&folder, "sub/b.yaml", &format!("# a comment\n{}", account("b")));
    let now = next(&mut watch).await;
    assert!(now.entries.values().any(|entry| entry.location.line == 2), "the line moved");
}

#[tokio::test(start_paused = true)]
async fn every_bad_edit_is_named_by_file_and_line_and_takes_nothing_away() {
    let good = format!("{}---\n{}", account("a"), account("b"));
    let unknown_field = "---\napiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {name: r}\nspec: {matchs: {}}\n";
    let half = good[..good.len() - 20].to_owned();
    let cases = [
        ("half-saved", half, "a.yaml:"),
        ("malformed", format!("{}---\nkind: [\n", account("a")), "a.yaml:7: error[bad-document]"),
        ("unknown field", format!("{}{unknown_field}", account("a")), "spec.matchs"),
        ("duplicate", format!("{good}---\n{}", account("a")), "a.yaml:13: error[duplicate-object]"),
        ("not text", "\u{0}".to_owned(), "a.yaml:1: error[not-text]"),
    ];
    for (what, bad, want) in cases {
        let folder = folder(&[("a.yaml", &good), ("z.yaml", &account("z"))]);
        let mut watch = FileSource::new(folder.path()).watch();
        assert_eq!(names(&next(&mut watch).await), "a b z");
        write(&folder, "a.yaml", &bad);
        let now = next(&mut watch).await;
        assert_eq!(names(&now), "a b z", "{what}");
        assert!(said(&now).iter().any(|one| one.contains(want)), "{what}: {:#?}", said(&now));
        write(&folder, "a.yaml", &account("a"));
        let now = next(&mut watch).await;
        assert_eq!((names(&now).as_str(), said(&now).len()), ("a z", 0), "{what}: clean again");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_counts_only_after_a_while() {
    let folder = folder(&[("a.yaml", &account("a"))]);
    let mut watch = FileSource::new(folder.path()).watch();
    assert_eq!(names(&next(&mut watch).await), "a");
    write(&folder, "a.yaml", "");
    let start = tokio::time::Instant::now();
    assert_eq!(names(&next(&mut watch).await), "");
    assert!(start.elapsed() >= osm_k8s::source::files::WRITE_GRACE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_that_is_written_again_changes_only_what_changed() {
    let folder = folder(&[("a.yaml", &account("a"))]);
    let mut watch = FileSource::new(folder.path()).watch();
    next(&mut watch).await;
    write(&folder, "a.yaml", "");
    let half_the_grace = osm_k8s::source::files::WRITE_GRACE / 2;
    assert!(tokio::time::timeout(half_the_grace, watch.next()).await.is_err(), "empty is not yet believed");
    write(&folder, "a.yaml", &account("b"));
    assert_eq!(names(&next(&mut watch).await), "b");
}

#[tokio::test(start_paused = true)]
async fn editors_that_rename_and_mounts_that_swap_a_link_are_followed() {
    let folder = folder(&[("..v1/a.yaml", &account("a")), ("b.yaml", &account("b"))]);
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path().join(at)).expect("a link");
    link("..v1", "..data");
    link("..data/a.yaml", "a.yaml");
    let mut watch = FileSource::new(folder.path()).watch();
    assert_eq!(names(&next(&mut watch).await), "a b");

    write(&folder, "..v2/a.yaml", &account("a2"));
    link("..v2", "..data_tmp");
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).expect("swapped");
    assert_eq!(names(&next(&mut watch).await), "a2 b");

    write(&folder, ".b.yaml.swp", &account("b2"));
    fs::rename(folder.path().join(".b.yaml.swp"), folder.path().join("b.yaml")).expect("renamed");
    assert_eq!(names(&next(&mut watch).await), "a2 b2");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_vanishes_is_an_outage_and_its_return_is_seen() {
    let outer = tempfile::tempdir().expect("a folder");
    let (root, away) = (outer.path().join("root"), outer.path().join("away"));
    let mut watch = FileSource::new(&root).watch();
    let before = next(&mut watch).await;
    assert!(!before.is_complete && before.diagnostics[0].code == "unreadable-file");

    fs::create_dir(&root).expect("a folder");
    fs::write(root.join("a.yaml"), account("a")).expect("a file");
    let now = next(&mut watch).await;
    assert!(now.is_complete && names(&now) == "a");

    fs::rename(&root, &away).expect("moved");
    let now = next(&mut watch).await;
    assert_eq!((names(&now).as_str(), now.diagnostics[0].code), ("a", "unreadable-file"));

    fs::rename(&away, &root).expect("moved");
    let now = next(&mut watch).await;
    assert_eq!((names(&now).as_str(), now.diagnostics.len()), ("a", 0));
}

#[tokio::test(start_paused = true)]
async fn one_file_is_watched_alone() {
    let folder = folder(&[("mesh.manifest", &account("a")), ("other.yaml", &account("o"))]);
    let mut watch = FileSource::new(folder.path().join("mesh.manifest")).watch();
    assert_eq!(names(&next(&mut watch).await), "a");
    write(&folder, "other.yaml", &account("p"));
    nothing_new(&mut watch).await;
    write(&folder, "mesh.manifest", &account("b"));
    assert_eq!(names(&next(&mut watch).await), "b");
}

#[tokio::test]
async fn a_change_is_seen_long_before_the_next_poll() {
    let folder = folder(&[("sub/a.yaml", &account("a"))]);
    let mut watch = FileSource::new(folder.path()).watch();
    assert_eq!(names(&watch.next().await), "a");
    write(&folder, "sub/a.yaml", &account("b"));
    let soon = osm_k8s::source::files::POLL_INTERVAL / 2;
    let now = tokio::time::timeout(soon, watch.next()).await.expect("the file system reported it");
    assert_eq!(names(&now), "b");
}

#[tokio::test]
async fn watching_a_folder_that_rests_looks_at_it_only_when_it_polls() {
    let folder = folder(&[("a.yaml", &account("a"))]);
    let mut watch = FileSource::new(folder.path()).watch();
    watch.next().await;
    // Reports of our own reading would make it look again and again.
    let looks = watch.looks();
    assert!(tokio::time::timeout(Duration::from_millis(500), watch.next()).await.is_err());
    assert!(watch.looks() <= looks + 1, "{} looks instead of {looks}", watch.looks());
}

/// The sum of events, as a catalog keeps it.
#[derive(Default, Debug, PartialEq)]
struct Sum {
    objects: BTreeMap<ObjectRef, MeshObject>,
    diagnostics: Vec<Diagnostic>,
    ready: usize,
}

impl Sum {
    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Reset => self.objects.clear(),
            SourceEvent::Apply(object) => drop(self.objects.insert(object.object_ref(), *object)),
            SourceEvent::Delete(name) => {
                assert!(self.objects.remove(&name).is_some(), "{name} was deleted without having been told");
            }
            SourceEvent::Diagnostics(diagnostics) => self.diagnostics = diagnostics,
            SourceEvent::Ready => self.ready += 1,
            other => panic!("{other:?}"),
        }
    }

    async fn until(&mut self, events: &mut BoxStream<'static, SourceEvent>, done: impl Fn(&Self) -> bool) {
        let all = async {
            while !done(self) {
                let event = events.next().await.expect("the stream does not end");
                self.take(event);
            }
        };
        tokio::time::timeout(DEADLINE, all).await.expect("in time");
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_tells_what_is_there_then_what_changes() {
    let folder = folder(&[("a.yaml", &account("a")), ("b.yaml", &account("b"))]);
    let mut events = Box::new(FileSource::new(folder.path())).into_events();
    assert_eq!(events.next().await, Some(SourceEvent::Reset));
    let mut sum = Sum::default();
    sum.until(&mut events, |sum| sum.ready == 1).await;
    assert_eq!(sum.objects.len(), 2);
    let (name, object) = sum.objects.iter().next().expect("an object");
    assert_eq!(name.to_string(), "ServiceAccount shop/a");
    let place = object.meta().location.as_ref().expect("a place");
    assert_eq!(
        (Path::new(&*place.file).file_name().expect("a name").to_str(), place.line),
        (Some("a.yaml"), 1)
    );

    write(&folder, "a.yaml", "kind: [");
    sum.until(&mut events, |sum| sum.diagnostics.len() == 1).await;
    assert_eq!(sum.objects.len(), 2);

    write(&folder, "a.yaml", &account("c"));
    sum.until(&mut events, |sum| sum.diagnostics.is_empty()).await;
    let names: Vec<_> = sum.objects.keys().map(|name| name.name.to_string()).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(sum.ready, 1, "a change is no new beginning");
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_folder_was_never_there_is_not_ready() {
    let outer = tempfile::tempdir().expect("a folder");
    let root = outer.path().join("root");
    let mut events = Box::new(FileSource::new(&root)).into_events();
    let mut sum = Sum::default();
    sum.until(&mut events, |sum| !sum.diagnostics.is_empty()).await;
    assert!(tokio::time::timeout(DEADLINE, events.next()).await.is_err(), "there is nothing more to say");
    fs::create_dir(&root).expect("a folder");
    sum.until(&mut events, |sum| sum.ready == 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_file_source_conforms() {
    let folder = folder(&[("a.yaml", &account("a")), ("b.yaml", &account("b"))]);
    let (root, away) = (folder.path().join("mesh"), folder.path().join("away"));
    fs::create_dir(&root).expect("a folder");
    let names =
        |told: &SourceCheck| told.objects().keys().map(|object| object.name.to_string()).collect::<Vec<_>>();
    let write = |file: &str, text: &str| fs::write(root.join(file), text).expect("a file");
    write("a.yaml", &account("a"));
    let steps = vec![
        SourceStep::new("a new file", || write("b.yaml", &account("b")), |told| names(told) == ["a", "b"]),
        SourceStep::new(
            "a file that does not parse",
            || write("a.yaml", "kind: ["),
            |told| names(told) == ["a", "b"] && !told.diagnostics().is_empty(),
        ),
        SourceStep::new(
            "a file that is clean again",
            || write("a.yaml", &account("a2")),
            |told| names(told) == ["a2", "b"] && told.diagnostics().is_empty(),
        ),
        SourceStep::new(
            "an object that moves to another file",
            || {
                write("c.yaml", &format!("{}---\n{}", account("a2"), account("b")));
                fs::remove_file(root.join("b.yaml")).expect("removed");
                write("a.yaml", &account("c"));
            },
            |told| names(told) == ["a2", "b", "c"] && told.diagnostics().is_empty(),
        ),
        SourceStep::new(
            "a folder that is gone",
            || fs::rename(&root, &away).expect("moved"),
            |told| names(told) == ["a2", "b", "c"] && !told.diagnostics().is_empty(),
        ),
        SourceStep::new(
            "a folder that is back",
            || {
                fs::rename(&away, &root).expect("moved");
                write("d.yaml", &account("d"));
            },
            |told| names(told) == ["a2", "b", "c", "d"] && told.diagnostics().is_empty(),
        ),
        SourceStep::new(
            "a file that is deleted",
            || fs::remove_file(root.join("c.yaml")).expect("removed"),
            |told| names(told) == ["c", "d"],
        ),
    ];
    let source = Box::new(FileSource::new(&root));
    tokio::time::timeout(20 * DEADLINE, source_conformance(source, steps))
        .await
        .expect("in time")
        .expect("it conforms");
}
