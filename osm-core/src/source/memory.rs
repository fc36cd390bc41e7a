//! A source that a program writes to.

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{self, BoxStream, StreamExt};

use super::{ConfigSource, SourceEvent};
use crate::model::MeshObject;
use crate::name::ObjectRef;

/// A source whose facts are given by a program.
///
/// ```
/// use osm_core::model::Namespace;
/// use osm_core::source::MemorySource;
///
/// let (source, writer) = MemorySource::new([Namespace::monitored("shop".parse()?, "osm").into()]);
/// writer.apply(Namespace::monitored("bank".parse()?, "osm"));
/// # drop(source);
/// # Ok::<(), osm_core::name::InvalidName>(())
/// ```
#[derive(Debug)]
pub struct MemorySource {
    events: UnboundedReceiver<Vec<SourceEvent>>,
}

/// The hand that writes to a [`MemorySource`]. Writing never blocks and never
/// fails; when the source is gone, nothing happens.
#[derive(Debug, Clone)]
pub struct MemoryWriter {
    events: UnboundedSender<Vec<SourceEvent>>,
}

impl MemorySource {
    /// A source that starts with these objects.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = MeshObject>) -> (Self, MemoryWriter) {
        let (sender, events) = unbounded();
        let writer = MemoryWriter { events: sender };
        writer.replace(objects);
        (Self { events }, writer)
    }
}

impl MemoryWriter {
    /// Adds an object, or replaces the one of the same kind and name.
    pub fn apply(&self, object: impl Into<MeshObject>) {
        self.send(SourceEvent::apply(object));
    }

    /// Removes an object.
    pub fn delete(&self, object: ObjectRef) {
        self.send(SourceEvent::Delete(object));
    }

    /// Replaces everything.
    pub fn replace(&self, objects: impl IntoIterator<Item = MeshObject>) {
        self.send_all(SourceEvent::round(objects));
    }

    /// Says any event.
    pub fn send(&self, event: SourceEvent) {
        self.send_all([event]);
    }

    /// Says events that belong together. They are read at once, so that no
    /// snapshot is made of a part of them (of up to 4,096; between `Reset` and
    /// `Ready`, of any number).
    pub fn send_all(&self, events: impl IntoIterator<Item = SourceEvent>) {
        // The receiver ends with the catalog, after which nobody listens.
        drop(self.events.unbounded_send(events.into_iter().collect()));
    }
}

impl ConfigSource for MemorySource {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        self.events.flat_map(stream::iter).boxed()
    }
}
