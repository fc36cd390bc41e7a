//! Several sources as one.

use std::collections::BTreeMap;

use futures::stream::{self, BoxStream, StreamExt};

use super::{ConfigSource, SourceEvent};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::MeshObject;
use crate::name::ObjectRef;

/// Joins sources into one.
///
/// The merged source is ready once each of them is. Where two say something of
/// the same object, the one that stands earlier in the list wins and a
/// diagnostic names the other.
#[must_use]
pub fn merge(sources: Vec<Box<dyn ConfigSource>>) -> Box<dyn ConfigSource> {
    Box::new(Merged { sources })
}

struct Merged {
    sources: Vec<Box<dyn ConfigSource>>,
}

impl ConfigSource for Merged {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        let mut state = MergeState::new(self.sources.len());
        let streams = self
            .sources
            .into_iter()
            .enumerate()
            .map(|(index, source)| source.into_events().map(move |event| (index, event)).boxed());
        let first = stream::iter([SourceEvent::Reset]);
        let none_to_wait_for = if state.ready.is_empty() { vec![SourceEvent::Ready] } else { Vec::new() };
        first
            .chain(stream::iter(none_to_wait_for))
            .chain(
                stream::select_all(streams)
                    .flat_map(move |(index, event)| stream::iter(state.on_event(index, event))),
            )
            .boxed()
    }
}

/// What each source said last.
struct MergeState {
    objects: BTreeMap<ObjectRef, Vec<Option<MeshObject>>>,
    /// Objects told since a source's `Reset`, while it is telling.
    telling: Vec<Option<BTreeMap<ObjectRef, MeshObject>>>,
    diagnostics: Vec<Vec<Diagnostic>>,
    ready: Vec<bool>,
}

impl MergeState {
    fn new(count: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            telling: vec![None; count],
            diagnostics: vec![Vec::new(); count],
            ready: vec![false; count],
        }
    }

    fn on_event(&mut self, index: usize, event: SourceEvent) -> Vec<SourceEvent> {
        match event {
            SourceEvent::Reset => {
                self.telling[index] = Some(BTreeMap::new());
                Vec::new()
            }
            SourceEvent::Apply(object) => match &mut self.telling[index] {
                Some(told) => {
                    told.insert(object.object_ref(), *object);
                    Vec::new()
                }
                None => self.set(index, object.object_ref(), Some(*object)),
            },
            SourceEvent::Delete(object) => match &mut self.telling[index] {
                Some(told) => {
                    told.remove(&object);
                    Vec::new()
                }
                None => self.set(index, object, None),
            },
            SourceEvent::Diagnostics(diagnostics) => {
                self.diagnostics[index] = diagnostics;
                vec![self.all_diagnostics()]
            }
            SourceEvent::Ready => self.on_ready(index),
        }
    }

    fn on_ready(&mut self, index: usize) -> Vec<SourceEvent> {
        let mut told = self.telling[index].take().unwrap_or_default();
        let known: Vec<ObjectRef> =
            self.objects.iter().filter(|(_, by)| by[index].is_some()).map(|(name, _)| name.clone()).collect();
        let mut events = Vec::new();
        for name in known {
            let object = told.remove(&name);
            events.extend(self.set(index, name, object));
        }
        for (name, object) in told {
            events.extend(self.set(index, name, Some(object)));
        }
        if !self.ready[index] {
            self.ready[index] = true;
            if self.ready.iter().all(|ready| *ready) {
                events.push(SourceEvent::Ready);
            }
        }
        events
    }

    /// Records what one source says of an object, and tells what that changes.
    fn set(&mut self, index: usize, name: ObjectRef, object: Option<MeshObject>) -> Vec<SourceEvent> {
        let count = self.ready.len();
        let by = self.objects.entry(name.clone()).or_insert_with(|| vec![None; count]);
        let before = by.iter().flatten().next().cloned();
        let contested_before = by.iter().flatten().count() > 1;
        by[index] = object;
        let after = by.iter().flatten().next().cloned();
        let contested = by.iter().flatten().count() > 1;
        if after.is_none() {
            self.objects.remove(&name);
        }
        let mut events = Vec::new();
        match after {
            Some(object) if before.as_ref() != Some(&object) => {
                events.push(SourceEvent::Apply(Box::new(object)))
            }
            None if before.is_some() => events.push(SourceEvent::Delete(name)),
            _ => {}
        }
        if contested || contested_before {
            events.push(self.all_diagnostics());
        }
        events
    }

    fn all_diagnostics(&self) -> SourceEvent {
        let contested = self.objects.values().flat_map(|by| by.iter().flatten().skip(1)).map(|loser| {
            Diagnostic::new(
                Severity::Warning,
                "duplicate-object",
                loser.object_ref(),
                "another source defines this object as well and wins; remove one of the two",
            )
            .located(loser.meta().location.clone())
        });
        SourceEvent::Diagnostics(self.diagnostics.iter().flatten().cloned().chain(contested).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Namespace;
    use crate::source::MemorySource;

    fn namespace(name: &str, mesh: &str) -> MeshObject {
        Namespace::monitored(name.parse().expect("a valid name"), mesh).into()
    }

    fn drain(stream: &mut BoxStream<'static, SourceEvent>) -> Vec<SourceEvent> {
        let mut events = Vec::new();
        while let Some(Some(event)) = futures::FutureExt::now_or_never(stream.next()) {
            events.push(event);
        }
        events
    }

    #[test]
    fn the_merged_source_is_ready_once_each_of_its_sources_is() {
        let (first, first_writer) = MemorySource::new([namespace("a", "osm")]);
        let (second, second_writer) = MemorySource::new([]);
        second_writer.send(SourceEvent::Reset);
        let mut events = merge(vec![Box::new(first), Box::new(second)]).into_events();
        let told = drain(&mut events);
        assert_eq!(told.first(), Some(&SourceEvent::Reset));
        assert_eq!(told.iter().filter(|event| **event == SourceEvent::Ready).count(), 1);
        drop((first_writer, second_writer));
    }

    #[test]
    fn the_earlier_source_wins_and_the_later_one_takes_over_when_it_leaves() {
        let (first, first_writer) = MemorySource::new([namespace("a", "one")]);
        let (second, _second_writer) = MemorySource::new([namespace("a", "two")]);
        let mut events = merge(vec![Box::new(second), Box::new(first)]).into_events();
        let told = drain(&mut events);
        assert!(told.contains(&SourceEvent::apply(namespace("a", "two"))));
        assert!(told.iter().any(|event| matches!(event, SourceEvent::Diagnostics(all) if all.len() == 1)));
        first_writer.replace([]);
        let told = drain(&mut events);
        assert_eq!(told, [SourceEvent::Diagnostics(Vec::new())]);
    }

    #[test]
    fn a_source_that_tells_everything_anew_does_not_make_its_objects_blink() {
        let (only, writer) = MemorySource::new([namespace("a", "osm"), namespace("b", "osm")]);
        let mut events = merge(vec![Box::new(only)]).into_events();
        drain(&mut events);
        writer.replace([namespace("a", "osm")]);
        let gone = namespace("b", "osm").object_ref();
        assert_eq!(drain(&mut events), [SourceEvent::Delete(gone)]);
    }
}
