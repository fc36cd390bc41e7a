//! What edits mean, as a table of states.

use super::*;
use crate::source::files::state::{MAX_FINDINGS_PER_FILE, is_half_saved};

const A: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}";
const B: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: b}}";
const C: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: c}}";
const BROKEN: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: [nam";
const UNKNOWN_FIELD: &str =
    "{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: a}, spec: {port: 1}}";

fn files(contents: &[(&str, &[&str])]) -> FileSet {
    let text = |documents: &[&str]| FileText::Bytes(documents.join("\n---\n").into_bytes().into());
    FileSet {
        files: contents.iter().map(|(path, documents)| ((*path).into(), text(documents))).collect(),
        is_root_readable: true,
        ..FileSet::default()
    }
}

fn names(manifests: &Manifests) -> String {
    manifests.entries.keys().map(|name| name.name.to_string()).collect::<Vec<_>>().join(" ")
}

fn codes(manifests: &Manifests) -> Vec<&'static str> {
    manifests.diagnostics.iter().map(|one| one.code).collect()
}

#[test]
fn a_file_with_a_broken_document_keeps_what_it_provided_until_it_is_clean() {
    type Step = (&'static [&'static str], &'static str, usize);
    let cases: [&[Step]; 6] = [
        // Each step: the documents, the objects in force after it, the number of findings.
        &[(&[A, B], "a b", 0), (&[A, BROKEN], "a b", 1), (&[A], "a", 0)],
        &[(&[A, B], "a b", 0), (&[BROKEN], "a b", 1), (&[BROKEN, C], "a b c", 1), (&[C], "c", 0)],
        &[(&[A, B, C], "a b c", 0), (&[A, BROKEN], "a b c", 1), (&[A, B], "a b", 0)],
        &[(&[BROKEN, A], "a", 1), (&[A, B], "a b", 0)],
        &[(&[A], "a", 0), (&[BROKEN], "a", 1), (&[BROKEN, "x: ["], "a", 2), (&[], "", 0)],
        &[(&[A, B], "a b", 0), (&[A, UNKNOWN_FIELD], "a b", 1), (&[A, "{kind: ConfigMap}"], "a", 1)],
    ];
    for case in cases {
        let mut store = ManifestStore::default();
        for (index, (documents, want, findings)) in case.iter().enumerate() {
            let now = store.update(&files(&[("x.yaml", documents)]));
            assert_eq!(names(&now), *want, "step {index} of {case:?}");
            assert_eq!(now.diagnostics.len(), *findings, "step {index} of {case:?}: {:?}", now.diagnostics);
        }
    }
}

#[test]
fn a_deleted_file_takes_its_objects_with_it_and_an_unreadable_one_does_not() {
    let mut store = ManifestStore::default();
    let both = files(&[("d/x.yaml", &[A]), ("y.yaml", &[B])]);
    assert_eq!(names(&store.update(&both)), "a b");

    let mut unreadable = both.clone();
    unreadable.files.insert("y.yaml".into(), FileText::Unreadable("no permission".to_owned()));
    let now = store.update(&unreadable);
    assert_eq!((names(&now).as_str(), codes(&now)), ("a b", vec!["unreadable-file"]));

    let mut no_folder = files(&[]);
    no_folder.unreadable_folders.insert("d".into(), "no permission".to_owned());
    let now = store.update(&no_folder);
    assert_eq!(
        (names(&now).as_str(), codes(&now)),
        ("a", vec!["unreadable-file"]),
        "y.yaml is gone, d is unknown"
    );

    assert_eq!(names(&store.update(&files(&[]))), "");
}

#[test]
fn a_tree_that_is_gone_as_a_whole_is_an_outage() {
    let mut store = ManifestStore::default();
    store.update(&files(&[("root/x.yaml", &[A])]));
    let mut gone = FileSet::default();
    gone.unreadable_folders.insert("root".into(), "not found".to_owned());
    let now = store.update(&gone);
    assert_eq!(names(&now), "a");
    assert!(now.is_complete, "it was read once");
    assert!(!ManifestStore::default().update(&gone).is_complete);
}

#[test]
fn of_two_equal_names_the_first_by_path_and_order_wins_and_both_places_are_named() {
    let mut store = ManifestStore::default();
    let now = store.update(&files(&[("b.yaml", &[A]), ("a.yaml", &[B, A, A])]));
    assert_eq!(names(&now), "a b");
    let account = now.entries.values().next().expect("an entry");
    assert_eq!(account.location.to_string(), "a.yaml:3");
    let said: Vec<_> = now.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2);
    assert!(
        said[0].starts_with("a.yaml:5: error[duplicate-object]: ServiceAccount default/a"),
        "{}",
        said[0]
    );
    assert!(said[1].starts_with("b.yaml:1: ") && said[1].contains("a.yaml:3"), "{}", said[1]);

    // Without the first, the next one counts.
    let now = store.update(&files(&[("b.yaml", &[A]), ("a.yaml", &[B])]));
    assert_eq!((names(&now).as_str(), now.diagnostics.len()), ("a b", 0));
}

#[test]
fn breaking_a_file_brings_no_duplicate_into_force() {
    let mut store = ManifestStore::default();
    store.update(&files(&[("a.yaml", &[A]), ("b.yaml", &[A])]));
    let now = store.update(&files(&[("a.yaml", &[BROKEN]), ("b.yaml", &[A])]));
    assert_eq!(codes(&now), ["bad-document", "duplicate-object"]);
    let entry = now.entries.values().next().expect("an entry");
    assert_eq!(entry.location.to_string(), "a.yaml:1", "the one that was in force stays");
    let now = store.update(&files(&[("a.yaml", &[]), ("b.yaml", &[A])]));
    let entry = now.entries.values().next().expect("an entry");
    assert_eq!((entry.location.to_string().as_str(), now.diagnostics.len()), ("b.yaml:1", 0));
}

#[test]
fn what_did_not_change_is_the_same_entry() {
    let mut store = ManifestStore::default();
    let before = store.update(&files(&[("a.yaml", &[A, B]), ("b.yaml", &[C])]));
    let now = store.update(&files(&[("a.yaml", &[A, BROKEN]), ("b.yaml", &[C])]));
    for (name, entry) in &now.entries {
        assert!(Arc::ptr_eq(entry, &before.entries[name]), "{name} was read again");
    }
}

#[test]
fn facts_and_findings_have_the_place_of_their_object() {
    let target = "
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: t, namespace: shop}
spec: {destination: {kind: ServiceAccount, name: a, namespace: shop}, sources: [{kind: Group, name: g}], rules: [{kind: TCPRoute, name: r, matches: [x]}]}";
    let now = ManifestStore::default().update(&files(&[("a.yaml", &[A, target])]));
    let entry = now.entries.values().find(|entry| entry.location.line == 4).expect("the target");
    let place = Some(entry.location.clone());
    assert_eq!(entry.facts.objects[0].meta().location, place);
    assert!(entry.facts.diagnostics.iter().all(|one| one.location == place));
    assert_eq!(now.all_diagnostics().len(), 2);
}

#[test]
fn findings_about_one_file_are_bounded_and_errors_come_first() {
    let other = "{kind: ConfigMap}";
    let mut documents = vec![other; MAX_FINDINGS_PER_FILE + 10];
    documents.push(BROKEN);
    let now = ManifestStore::default().update(&files(&[("a.yaml", &documents)]));
    assert_eq!(now.diagnostics.len(), MAX_FINDINGS_PER_FILE + 1);
    assert_eq!(now.diagnostics[0].code, "bad-document");
    assert!(now.diagnostics.last().expect("the count").message.starts_with("11 more"));
}

/// Two objects of which the second allows more the less is left of it.
const ROUTE: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: r}
spec:
  matches:
    ports: [8080]
";

#[test]
fn a_file_that_is_cut_within_a_line_says_what_it_said_before() {
    let text = |text: &str| FileSet {
        files: [("a.yaml".into(), FileText::Bytes(text.as_bytes().into()))].into(),
        is_root_readable: true,
        ..FileSet::default()
    };
    for cut in 0..ROUTE.len() {
        let mut store = ManifestStore::default();
        let before = store.update(&text(ROUTE));
        let now = store.update(&text(&ROUTE[..cut]));
        if cut == 0 || ROUTE[..cut].ends_with('\n') || ROUTE[cut..].starts_with('\n') {
            // Between lines it is an edit like any other.
            assert!(!codes(&now).contains(&"half-saved"), "cut at {cut}");
            continue;
        }
        assert_eq!(before.entries, now.entries, "cut at {cut}");
        assert_eq!(codes(&now), ["half-saved"], "cut at {cut}");
        let line = u32::try_from(ROUTE[..cut].lines().count()).expect("few lines");
        assert_eq!(now.diagnostics[0].location.as_ref().expect("a place").line, line);
        // A second save that again stops halfway is measured by the last whole one.
        let now = store.update(&text(&ROUTE[..ROUTE.len() - 3]));
        assert_eq!((names(&now).as_str(), codes(&now)), ("a r", vec!["half-saved"]), "cut at {cut}");
        let now = store.update(&text(ROUTE));
        assert_eq!((&now.entries, codes(&now)), (&before.entries, vec![]), "cut at {cut}");
    }
}

#[test]
fn a_file_whose_end_was_edited_is_not_half_saved() {
    let before = b"a: 1\nb: 22\n";
    for after in [&b"a: 1\n"[..], b"a: 1\nb: 2\n", b"a: 1", b"", b"a: 1\nb: 22\nc: 3", b"a: 1\nb: 22"] {
        assert!(!is_half_saved(before, after), "{}", String::from_utf8_lossy(after));
    }
    assert!(is_half_saved(before, b"a: 1\nb: 2"));
}
