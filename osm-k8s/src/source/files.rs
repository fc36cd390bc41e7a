//! Files as a source: a file or a folder tree of manifests, watched.
//!
//! A bad edit never takes anything away: a file with a document that does not
//! parse keeps the objects that it provided before, until it is clean again.
//! Reading, reports and watching are in `scan`, `reports` and `watch`. When a file
//! is looked at and believed is pure, in `pending` and `doubt`; so is what a change
//! means, in `state`, `store` and `diff`.

mod diff;
mod doubt;
mod memory;
mod pending;
mod reports;
mod scan;
mod state;
mod store;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use osm_core::diagnostic::{Diagnostic, Location};
use osm_core::source::{ConfigSource, SourceEvent};

use crate::manifest::{Conversion, Manifest, ManifestRef};

pub use doubt::{OPEN_GRACE, WRITE_GRACE};
pub use pending::SETTLE_TIME;
pub use scan::{MAX_FILES, MAX_FOLDER_DEPTH};
pub use store::{FileSet, FileText, ManifestStore};
pub use watch::{FULL_LOOK_INTERVAL, ManifestWatch, POLL_INTERVAL, POLL_SETTLE_TIME};

/// All manifests of a file or folder at one moment.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The objects by name; each once.
    pub entries: BTreeMap<ManifestRef, Arc<Entry>>,
    /// What could not be read, what stands there twice, and what is ignored.
    /// What the objects themselves say wrongly is in [`Entry::facts`].
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the path could ever be read. Until then nothing is known, which
    /// is not the same as that there is nothing.
    pub is_complete: bool,
}

impl PartialEq for Manifests {
    /// Costs little where entries are shared, as they are from one state to the next.
    fn eq(&self, other: &Self) -> bool {
        let Self { entries, diagnostics, is_complete } = self;
        let same = |(one, other): (&Arc<Entry>, &Arc<Entry>)| Arc::ptr_eq(one, other) || one == other;
        *is_complete == other.is_complete
            && *diagnostics == other.diagnostics
            && entries.keys().eq(other.entries.keys())
            && entries.values().zip(other.entries.values()).all(same)
    }
}

/// One manifest, where it stands, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The manifest.
    pub manifest: Manifest,
    /// Its file and line.
    pub location: Location,
    /// What it says about the mesh, with the location set.
    pub facts: Conversion,
}

impl Manifests {
    /// The events that a catalog needs to know all of this, `Reset` to `Ready`;
    /// without `Ready` while this is not complete.
    #[must_use]
    pub fn events(&self) -> Vec<SourceEvent> {
        diff::all(self)
    }

    /// The events that lead from an earlier state to this one. Empty when a
    /// catalog would see no difference.
    #[must_use]
    pub fn events_since(&self, before: &Self) -> Vec<SourceEvent> {
        diff::between(before, self)
    }

    /// Every finding: about files, and about the objects in them.
    #[must_use]
    pub fn all_diagnostics(&self) -> Vec<Diagnostic> {
        let of_objects = self.entries.values().flat_map(|entry| entry.facts.diagnostics.iter().cloned());
        self.diagnostics.iter().cloned().chain(of_objects).collect()
    }
}

/// A file or a folder tree of manifests (`.yaml`, `.yml`, `.json`).
///
/// Names that start with a dot are left out, and so are links that lead back
/// into the tree. Give it to a catalog as a source, or [`watch`](Self::watch)
/// the manifests themselves.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use osm_k8s::FileSource;
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(
///     folder.path().join("shop.yaml"),
///     "{apiVersion: v1, kind: ServiceAccount, metadata: {name: buyer, namespace: shop}}",
/// )?;
/// let manifests = FileSource::new(folder.path()).load_once().await;
/// assert_eq!(manifests.entries.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// The manifests at a path. Nothing is read yet.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// Watches the manifests. Needs a tokio runtime, first when it is asked for
    /// the next state.
    #[must_use]
    pub fn watch(self) -> ManifestWatch {
        ManifestWatch::new(self.path)
    }

    /// Reads everything once, without waiting for files to settle. A path that
    /// can't be read is a diagnostic.
    pub async fn load_once(&self) -> Arc<Manifests> {
        let look = scan::look(self.path.clone(), memory::Memory::default()).await;
        ManifestStore::default().update(&look.set)
    }
}

impl ConfigSource for FileSource {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        let batches = stream::unfold(self.watch(), |mut watch| async move {
            let events = watch.next_events().await;
            Some((stream::iter(events), watch))
        });
        batches.flatten().boxed()
    }
}
