//! Where facts come from.
//!
//! A [`ConfigSource`] is the door by which facts enter. It speaks in
//! [`SourceEvent`]s; what they mean is decided elsewhere.

mod memory;
mod merge;

use futures::stream::BoxStream;

pub use memory::{MemorySource, MemoryWriter};
pub use merge::merge;

use crate::diagnostic::Diagnostic;
use crate::model::MeshObject;
use crate::name::ObjectRef;

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// The source tells everything anew from here to the next `Ready`. What was
    /// known stays in force until then; what is not told again is gone then.
    Reset,
    /// An object exists, and is like this.
    Apply(Box<MeshObject>),
    /// An object is gone.
    Delete(ObjectRef),
    /// What could not be read, all of it: the list replaces the last one.
    Diagnostics(Vec<Diagnostic>),
    /// Everything that there is has been told.
    Ready,
}

impl SourceEvent {
    /// An object exists, and is like this.
    #[must_use]
    pub fn apply(object: impl Into<MeshObject>) -> Self {
        Self::Apply(Box::new(object.into()))
    }

    /// What a source says that tells all its objects at once: these, and no others.
    pub fn round(objects: impl IntoIterator<Item = impl Into<MeshObject>>) -> impl Iterator<Item = Self> {
        let told = objects.into_iter().map(Self::apply);
        [Self::Reset].into_iter().chain(told).chain([Self::Ready])
    }
}

/// A source of facts.
///
/// [`into_events`](Self::into_events) is called once, by the catalog. The
/// stream starts with `Reset`, then `Apply` for each object, then `Ready`;
/// after that, changes as they happen. It ends only when nothing can ever
/// change again; the last facts then stay in force.
///
/// A source that loses its upstream says nothing, retries by itself and then
/// plays a new `Reset … Ready`. It never reports an outage as deletions. An
/// object that does not parse goes into `Diagnostics`, and its last good state
/// stays: it is neither applied nor deleted.
///
/// ```
/// use futures::stream::{self, BoxStream, StreamExt};
/// use osm_core::source::{ConfigSource, SourceEvent};
///
/// /// A mesh in which nothing exists.
/// struct Nothing;
///
/// impl ConfigSource for Nothing {
///     fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
///         stream::iter([SourceEvent::Reset, SourceEvent::Ready]).boxed()
///     }
/// }
/// ```
pub trait ConfigSource: Send + 'static {
    /// The events of this source.
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent>;
}

impl<S: ConfigSource + ?Sized> ConfigSource for Box<S> {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        (*self).into_events()
    }
}
