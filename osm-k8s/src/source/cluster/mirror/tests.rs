//! The mirror, told what watches see: what it says, as a table of small stories.

mod flood;

use osm_core::source::SourceEvent;
use osm_core::testing::SourceCheck;
use serde_json::{Value, json};

use super::*;

const KINDS: [ManifestKind; 3] =
    [ManifestKind::Namespace, ManifestKind::ServiceAccount, ManifestKind::TrafficSplit];

/// A mirror, the time, and a check of everything that it says.
struct Story {
    mirror: Mirror,
    now: Instant,
    told: SourceCheck,
}

impl Story {
    fn new() -> Self {
        let mut story =
            Self { mirror: Mirror::new("osm", KINDS), now: Instant::now(), told: SourceCheck::default() };
        assert_eq!(story.says(), ["reset"]);
        story
    }

    /// A mirror of a mesh with a namespace `shop`, in which everything is listed.
    fn begun() -> Self {
        let mut story = Self::new();
        story.list(ManifestKind::Namespace, &[namespace("shop", "osm")]);
        story.list(ManifestKind::ServiceAccount, &[account("shop", "a", 1), account("other", "b", 2)]);
        story.list(ManifestKind::TrafficSplit, &[]);
        assert_eq!(story.says(), ["+Namespace shop", "+ServiceAccount shop/a", "findings 0", "ready"]);
        story
    }

    fn see(&mut self, kind: ManifestKind, seen: Seen) {
        self.mirror.take(Input::Seen(kind, kind.api_version(), seen), self.now);
    }

    fn begin(&mut self, kind: ManifestKind, objects: &[Object]) {
        self.see(kind, Seen::InTouch);
        self.see(kind, Seen::Begin);
        objects.iter().for_each(|object| self.see(kind, Seen::Listed(object.clone())));
    }

    fn list(&mut self, kind: ManifestKind, objects: &[Object]) {
        self.begin(kind, objects);
        self.see(kind, Seen::Done);
    }

    fn load(&mut self, namespace: &str, accounts: &[Object]) {
        let number = self.mirror.namespaces.newest_load().expect("something is being listed");
        self.answer(namespace, number, accounts);
    }

    fn answer(&mut self, namespace: &str, number: LoadNumber, accounts: &[Object]) {
        let lists = vec![(ManifestKind::ServiceAccount, "v1", accounts.to_vec())];
        self.mirror.take(Input::Loaded(namespace.parse().expect("a name"), number, lists), self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
    }

    fn says(&mut self) -> Vec<String> {
        let events = self.mirror.settle(self.now);
        let texts = events.iter().map(text).collect();
        events.into_iter().for_each(|event| self.told.take(event).expect("what a source may say"));
        texts
    }

    fn knows(&self) -> Vec<String> {
        self.told.objects().keys().map(ToString::to_string).collect()
    }
}

fn text(event: &SourceEvent) -> String {
    match event {
        SourceEvent::Reset => "reset".to_owned(),
        SourceEvent::Apply(object) => format!("+{}", object.object_ref()),
        SourceEvent::Delete(object) => format!("-{object}"),
        SourceEvent::Diagnostics(all) => format!("findings {}", all.len()),
        SourceEvent::Ready => "ready".to_owned(),
        other => format!("{other:?}"),
    }
}

fn namespace(name: &str, mesh: &str) -> Object {
    let labels = json!({ crate::manifest::MONITORED_BY_LABEL: mesh });
    Object::new(json!({ "metadata": { "name": name, "labels": labels, "resourceVersion": "1" } }))
}

fn account(namespace: &str, name: &str, version: u64) -> Object {
    labelled(namespace, name, version, json!({}))
}

fn labelled(namespace: &str, name: &str, version: u64, labels: Value) -> Object {
    let version = version.to_string();
    Object::new(json!({
        "metadata": { "name": name, "namespace": namespace, "labels": labels, "resourceVersion": version },
    }))
}

/// An account that does not read.
fn bad_account(namespace: &str, name: &str, version: u64) -> Object {
    labelled(namespace, name, version, json!(3))
}

#[test]
fn everything_is_told_at_once_when_each_kind_is_listed_and_nothing_before() {
    let mut story = Story::new();
    story.list(ManifestKind::ServiceAccount, &[account("shop", "a", 1)]);
    story.list(ManifestKind::Namespace, &[namespace("shop", "osm")]);
    story.see(ManifestKind::ServiceAccount, Seen::Applied(account("shop", "b", 2)));
    assert!(story.says().is_empty() && !story.mirror.is_told());
    story.list(ManifestKind::TrafficSplit, &[]);
    assert_eq!(
        story.says(),
        ["+Namespace shop", "+ServiceAccount shop/a", "+ServiceAccount shop/b", "findings 0", "ready"]
    );
}

#[test]
fn a_change_is_told_as_it_comes_and_no_change_is_not() {
    let mut story = Story::begun();
    story.see(ManifestKind::ServiceAccount, Seen::Applied(account("shop", "a", 5)));
    assert!(story.says().is_empty(), "the same says nothing new");
    story.see(ManifestKind::ServiceAccount, Seen::Applied(account("shop", "c", 6)));
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("shop", "a", 7)));
    assert_eq!(story.says(), ["+ServiceAccount shop/c", "-ServiceAccount shop/a"]);
}

#[test]
fn what_is_in_another_namespace_is_not_kept() {
    let mut story = Story::begun();
    story.see(ManifestKind::ServiceAccount, Seen::Applied(account("other", "a", 5)));
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("other", "a", 6)));
    assert!(story.says().is_empty());
    assert_eq!(story.mirror.kinds[&ManifestKind::ServiceAccount].told.len(), 1);
}

#[test]
fn a_watch_that_breaks_takes_nothing_away() {
    let mut story = Story::begun();
    for kind in KINDS {
        story.see(kind, Seen::Lost("reset".to_owned()));
    }
    story.after(Duration::from_secs(600));
    assert!(story.says().is_empty());
    assert_eq!(story.knows(), ["Namespace shop", "ServiceAccount shop/a"]);
}

#[test]
fn lists_that_were_read_again_are_told_together_between_reset_and_ready() {
    let mut story = Story::begun();
    for kind in KINDS {
        story.see(kind, Seen::Lost("reset".to_owned()));
    }
    story.list(ManifestKind::ServiceAccount, &[account("shop", "b", 9)]);
    story.see(ManifestKind::ServiceAccount, Seen::Applied(account("shop", "c", 10)));
    story.see(ManifestKind::Namespace, Seen::InTouch);
    assert!(story.says().is_empty(), "one kind is not back yet");
    story.begin(ManifestKind::TrafficSplit, &[]);
    assert!(story.says().is_empty(), "one kind is not listed yet");
    story.see(ManifestKind::TrafficSplit, Seen::Done);
    assert_eq!(
        story.says(),
        [
            "reset",
            "+Namespace shop",
            "+ServiceAccount shop/b",
            "+ServiceAccount shop/c",
            "findings 0",
            "ready"
        ]
    );
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("shop", "c", 11)));
    assert_eq!(story.says(), ["-ServiceAccount shop/c"]);
}

fn split(generation: i64) -> Object {
    Object::new(json!({
        "metadata": {
            "name": "s", "namespace": "shop", "generation": generation, "resourceVersion": "9",
        },
        "spec": { "service": "root", "backends": [{ "service": "leaf", "weight": 1 }] },
    }))
}

#[test]
fn a_policy_is_shown_as_it_was_told_and_not_as_it_was_listed() {
    let mut story = Story::begun();
    let shown = |story: &mut Story| {
        let policies = story.mirror.take_policies()?;
        Some(policies.values().map(|policy| policy.generation).collect::<Vec<_>>())
    };
    story.see(ManifestKind::TrafficSplit, Seen::Applied(split(1)));
    assert_eq!((story.says().len(), shown(&mut story)), (1, Some(vec![1])));
    // One kind is lost, so that what others list waits for it.
    story.see(ManifestKind::ServiceAccount, Seen::Lost("reset".to_owned()));
    story.list(ManifestKind::TrafficSplit, &[split(2)]);
    story.see(ManifestKind::TrafficSplit, Seen::Applied(split(3)));
    assert!(story.says().is_empty());
    assert_eq!(shown(&mut story), None, "nobody has been told of another generation");
    story.list(ManifestKind::ServiceAccount, &[account("shop", "a", 1)]);
    assert!(!story.says().is_empty());
    assert_eq!(shown(&mut story), Some(vec![3]));
}

#[test]
fn a_kind_that_stays_away_does_not_hold_up_the_others_for_long() {
    let mut story = Story::begun();
    story.see(ManifestKind::TrafficSplit, Seen::Lost("forbidden".to_owned()));
    story.list(ManifestKind::ServiceAccount, &[account("shop", "b", 9)]);
    assert!(story.says().is_empty());
    assert_eq!(story.mirror.deadline(), Some(story.now + PATIENCE));
    story.after(PATIENCE);
    assert_eq!(story.says(), ["reset", "+Namespace shop", "+ServiceAccount shop/b", "findings 0", "ready"]);
    assert_eq!(story.mirror.deadline(), None);
}

#[test]
fn a_list_that_is_cut_off_takes_nothing_away() {
    let mut story = Story::begun();
    story.begin(ManifestKind::ServiceAccount, &[account("shop", "b", 9)]);
    story.see(ManifestKind::ServiceAccount, Seen::Lost("reset".to_owned()));
    story.after(PATIENCE * 2);
    assert!(story.says().is_empty());
    story.list(ManifestKind::ServiceAccount, &[account("shop", "a", 1), account("shop", "b", 9)]);
    story.says();
    assert_eq!(story.knows(), ["Namespace shop", "ServiceAccount shop/a", "ServiceAccount shop/b"]);
}

#[test]
fn an_object_that_does_not_read_keeps_its_last_good_state_and_is_named() {
    let mut story = Story::begun();
    story.see(ManifestKind::ServiceAccount, Seen::Applied(bad_account("shop", "a", 5)));
    story.see(ManifestKind::ServiceAccount, Seen::Applied(bad_account("shop", "new", 6)));
    assert_eq!(story.says(), ["findings 2"]);
    assert_eq!(story.knows(), ["Namespace shop", "ServiceAccount shop/a"]);
    story.list(ManifestKind::ServiceAccount, &[bad_account("shop", "a", 5)]);
    assert_eq!(story.says(), ["reset", "+Namespace shop", "+ServiceAccount shop/a", "findings 1", "ready"]);
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(bad_account("shop", "a", 7)));
    assert_eq!(story.says(), ["-ServiceAccount shop/a", "findings 0"]);
}

#[test]
fn a_kind_that_is_not_installed_is_empty_and_may_come_later() {
    let mut story = Story::new();
    story.list(ManifestKind::Namespace, &[namespace("shop", "osm")]);
    story.list(ManifestKind::ServiceAccount, &[]);
    story.see(ManifestKind::TrafficSplit, Seen::Absent);
    assert_eq!(story.says(), ["+Namespace shop", "findings 0", "ready"]);
    story.see(ManifestKind::TrafficSplit, Seen::Absent);
    assert!(story.says().is_empty());
    story.list(ManifestKind::TrafficSplit, &[]);
    assert_eq!(story.says().first().map(String::as_str), Some("reset"));
}

#[test]
fn a_kind_that_is_unknown_for_a_moment_loses_nothing() {
    let mut story = Story::begun();
    for _ in 0..3 {
        story.see(ManifestKind::ServiceAccount, Seen::Absent);
        story.after(ABSENCE / 3);
        assert!(story.says().is_empty());
    }
    story.see(ManifestKind::ServiceAccount, Seen::InTouch);
    assert_eq!(story.knows().len(), 2);
    story.see(ManifestKind::ServiceAccount, Seen::Absent);
    assert_eq!(story.says(), ["reset", "+Namespace shop", "findings 0", "ready"], "it is gone for good");
}

#[test]
fn a_namespace_that_comes_to_the_mesh_is_listed_and_one_that_leaves_is_forgotten() {
    let mut story = Story::begun();
    story.see(ManifestKind::Namespace, Seen::Applied(namespace("other", "osm")));
    let loads = story.mirror.take_namespaces_to_load();
    let names: Vec<_> = loads.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["other"]);
    assert_eq!(story.says(), ["+Namespace other"]);
    story.load("other", &[account("other", "b", 2)]);
    assert_eq!(story.says(), ["+ServiceAccount other/b"]);
    story.see(ManifestKind::Namespace, Seen::Deleted(namespace("shop", "osm")));
    assert_eq!(story.says(), ["-Namespace shop", "-ServiceAccount shop/a"]);
    story.see(ManifestKind::Namespace, Seen::Applied(namespace("other", "another-mesh")));
    assert_eq!(story.says(), ["+Namespace other", "-ServiceAccount other/b"]);
    assert!(story.mirror.take_namespaces_to_load().is_empty());
    assert!(story.mirror.kinds[&ManifestKind::ServiceAccount].told.is_empty());
}

#[test]
fn what_a_watch_says_of_a_namespace_that_is_being_listed_counts_where_it_is_newer() {
    let mut story = Story::begun();
    story.see(ManifestKind::Namespace, Seen::Applied(namespace("other", "osm")));
    let watched = [
        Seen::Applied(account("other", "new", 20)),
        Seen::Applied(labelled("other", "changed", 21, json!({ "is": "new" }))),
        Seen::Deleted(account("other", "gone", 22)),
        Seen::Deleted(account("other", "again", 23)),
        Seen::Applied(account("other", "again", 24)),
    ];
    watched.into_iter().for_each(|seen| story.see(ManifestKind::ServiceAccount, seen));
    story.says();
    let listed = ["changed", "gone", "again", "quiet"].map(|name| account("other", name, 10));
    story.load("other", &listed);
    assert_eq!(story.says(), ["+ServiceAccount other/quiet"]);
    // A watch that is behind the list does not turn back time.
    story.see(ManifestKind::ServiceAccount, Seen::Applied(bad_account("other", "quiet", 9)));
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("other", "quiet", 9)));
    assert!(story.says().is_empty());
    let in_other = story.knows().into_iter().filter(|name| name.contains(" other/")).collect::<Vec<_>>();
    let names = ["again", "changed", "new", "quiet"].map(|name| format!("ServiceAccount other/{name}"));
    assert_eq!(in_other, names);
}

#[test]
fn i9_a_late_list_of_a_namespace_that_left_and_came_again_brings_nothing_back() {
    let mut story = Story::begun();
    let (come, go) = (namespace("other", "osm"), namespace("other", "another-mesh"));
    story.see(ManifestKind::Namespace, Seen::Applied(come.clone()));
    story.see(ManifestKind::Namespace, Seen::Applied(go));
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("other", "gone", 5)));
    story.see(ManifestKind::Namespace, Seen::Applied(come));
    let loads = story.mirror.take_namespaces_to_load();
    let numbers: Vec<LoadNumber> = loads.into_iter().map(|(_, number)| number).collect();
    story.says();
    story.answer("other", numbers[0], &[account("other", "gone", 2), account("other", "kept", 3)]);
    assert!(story.says().is_empty(), "it is the answer of before");
    story.answer("other", numbers[1], &[account("other", "kept", 3)]);
    assert_eq!(story.says(), ["+ServiceAccount other/kept"]);
}

#[test]
fn i9_what_is_deleted_while_it_is_listed_is_gone() {
    let mut story = Story::begun();
    story.begin(ManifestKind::ServiceAccount, &[account("shop", "a", 1), account("shop", "b", 2)]);
    story.see(ManifestKind::ServiceAccount, Seen::Deleted(account("shop", "b", 3)));
    story.see(ManifestKind::ServiceAccount, Seen::Done);
    story.says();
    assert!(!story.knows().iter().any(|name| name.ends_with("shop/b")), "{:?}", story.knows());
}

#[test]
fn a_list_that_is_read_while_a_namespace_comes_has_all_of_it() {
    let mut story = Story::begun();
    story.begin(ManifestKind::ServiceAccount, &[account("shop", "a", 1), account("other", "early", 2)]);
    story.see(ManifestKind::Namespace, Seen::Applied(namespace("other", "osm")));
    story.see(ManifestKind::ServiceAccount, Seen::Listed(account("other", "late", 3)));
    story.load("other", &[account("other", "early", 2), account("other", "late", 3)]);
    story.see(ManifestKind::ServiceAccount, Seen::Done);
    story.says();
    assert_eq!(story.knows().iter().filter(|name| name.contains("other/")).count(), 2, "{:?}", story.knows());
}

#[test]
fn a_namespace_that_left_while_nobody_watched_takes_its_objects_along() {
    let mut story = Story::begun();
    story.list(ManifestKind::Namespace, &[namespace("other", "osm")]);
    story.load("other", &[account("other", "b", 2)]);
    story.says();
    assert_eq!(story.knows(), ["Namespace other", "ServiceAccount other/b"]);
}
