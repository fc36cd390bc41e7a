//! Meshes that are there at once, to be compared with those that became so.

use std::sync::Arc;

use crate::model::MeshObject;
use crate::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use crate::source::SourceEvent;

/// A builder that was told these objects and no others, and has built nothing yet.
#[must_use]
pub fn told(objects: impl IntoIterator<Item = MeshObject>) -> SnapshotBuilder {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    SourceEvent::round(objects).for_each(|event| builder.apply(event));
    builder
}

/// The snapshot of these objects and no others.
#[must_use]
pub fn from_scratch(objects: impl IntoIterator<Item = MeshObject>) -> Arc<MeshSnapshot> {
    let mut builder = told(objects);
    builder.build();
    Arc::clone(builder.current())
}
