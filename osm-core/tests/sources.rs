//! The conformance kit on the sources of this crate, and on sources that break a rule.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use osm_core::diagnostic::{Diagnostic, Location, Severity};
use osm_core::model::{MeshObject, Namespace};
use osm_core::name::ObjectRef;
use osm_core::source::{ConfigSource, MemorySource, MemoryWriter, SourceEvent, merge};
use osm_core::testing::{SourceCheck, SourceStep, source_conformance};

fn namespace(name: &str, mesh: &str) -> MeshObject {
    Namespace::monitored(name.parse().expect("a name"), mesh).into()
}

fn names(told: &SourceCheck) -> String {
    told.objects().keys().map(|object| object.name.to_string()).collect::<Vec<_>>().join(" ")
}

async fn checked(source: Box<dyn ConfigSource>, steps: Vec<SourceStep<'_>>) -> Result<SourceCheck, String> {
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, source_conformance(source, steps)).await.expect("within the deadline")
}

fn finding() -> Diagnostic {
    let location = Location { file: "a.yaml".into(), line: 1 };
    Diagnostic::in_file(Severity::Error, "bad-document", location, "planted")
}

/// Every kind of change that a program can make to a memory source.
fn edits(writer: &MemoryWriter) -> Vec<SourceStep<'_>> {
    vec![
        SourceStep::new("a new object", || writer.apply(namespace("b", "osm")), |told| names(told) == "a b"),
        SourceStep::new(
            "another content",
            || writer.apply(namespace("a", "other")),
            |told| told.objects().values().any(|object| *object == namespace("a", "other")),
        ),
        SourceStep::new(
            "a bad object",
            || writer.send(SourceEvent::Diagnostics(vec![finding()])),
            |told| told.diagnostics().len() == 1 && names(told) == "a b",
        ),
        SourceStep::new(
            "everything anew",
            || writer.replace([namespace("b", "osm"), namespace("c", "osm")]),
            |told| names(told) == "b c",
        ),
        SourceStep::new(
            "an outage, then everything anew",
            || {
                writer.send(SourceEvent::Reset);
                writer.replace([namespace("b", "osm"), namespace("c", "osm"), namespace("d", "osm")]);
            },
            |told| names(told) == "b c d",
        ),
        SourceStep::new(
            "an object that goes",
            || writer.delete(namespace("c", "osm").object_ref()),
            |told| names(told) == "b d",
        ),
    ]
}

#[tokio::test]
async fn a_memory_source_conforms() {
    let (source, writer) = MemorySource::new([namespace("a", "osm")]);
    let told = checked(Box::new(source), edits(&writer)).await.expect("it conforms");
    assert_eq!((names(&told).as_str(), told.diagnostics().len()), ("b d", 1));
}

#[tokio::test]
async fn merged_sources_conform() {
    let (first, writer) = MemorySource::new([namespace("a", "osm")]);
    let (second, _second) = MemorySource::new([]);
    checked(merge(vec![Box::new(first), Box::new(second)]), edits(&writer)).await.expect("it conforms");

    let (first, writer) = MemorySource::new([namespace("a", "one")]);
    let (second, other) = MemorySource::new([namespace("a", "two"), namespace("b", "two")]);
    let mesh_of = |told: &SourceCheck, name: &str, mesh: &str| {
        told.objects().values().any(|object| *object == namespace(name, mesh))
    };
    let steps = vec![
        SourceStep::new(
            "the first lets go of what both have",
            || writer.replace([]),
            |told| mesh_of(told, "a", "two"),
        ),
        SourceStep::new(
            "the first takes it back",
            || writer.apply(namespace("a", "one")),
            |told| mesh_of(told, "a", "one") && told.diagnostics().len() == 1,
        ),
        SourceStep::new(
            "the second tells everything anew",
            || other.replace([namespace("b", "three")]),
            |told| mesh_of(told, "b", "three") && told.diagnostics().is_empty(),
        ),
    ];
    let told = checked(merge(vec![Box::new(first), Box::new(second)]), steps).await.expect("it conforms");
    assert_eq!(names(&told), "a b");
}

#[tokio::test]
async fn merging_nothing_conforms() {
    assert_eq!(checked(merge(Vec::new()), Vec::new()).await.expect("it conforms").objects().len(), 0);
}

/// A source that says what it is told to say.
struct Script(Vec<SourceEvent>);

impl ConfigSource for Script {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        stream::iter(self.0).boxed()
    }
}

#[tokio::test]
async fn a_source_that_breaks_a_rule_is_named_with_the_rule() {
    let a = || SourceEvent::apply(namespace("a", "osm"));
    let gone = || SourceEvent::Delete(namespace("a", "osm").object_ref());
    let unknown = SourceEvent::Delete(
        "shop/x".parse().map(|name| ObjectRef::namespaced(osm_core::name::Kind::Pod, &name)).expect("a name"),
    );
    let reset = || SourceEvent::Reset;
    let ready = || SourceEvent::Ready;
    let cases: Vec<(&str, Vec<SourceEvent>)> = vec![
        ("a source starts with Reset", vec![a(), ready()]),
        ("a source starts with Reset", vec![ready()]),
        ("ended before it was ready", vec![reset(), a()]),
        ("nobody was told that it exists", vec![reset(), ready(), unknown.clone()]),
        ("nobody was told that it exists", vec![reset(), unknown, ready()]),
        ("Ready came twice", vec![reset(), ready(), ready()]),
        (
            "it should have stayed",
            vec![reset(), a(), ready(), gone(), a(), SourceEvent::Diagnostics(vec![finding()])],
        ),
        ("ended without a word", vec![reset(), a(), ready()]),
    ];
    for (rule, events) in cases {
        let shown = format!("{events:?}");
        let step = SourceStep::new("a finding", || {}, |told| !told.diagnostics().is_empty());
        let broken = checked(Box::new(Script(events)), vec![step]).await.expect_err(&shown);
        assert!(broken.contains(rule), "{shown}: {broken}");
    }
}
