//! What the contents of files mean: pure, without reading any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Location, Severity};
use osm_core::source::SourceEvent;

use super::state::{FileState, unreadable_file};
use super::{Entry, Manifests, diff};
use crate::manifest::{Manifest, ManifestRef};

/// What was found at a path: the files by name, and what could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSet {
    /// The files, by path as the user would name them.
    pub files: BTreeMap<Arc<str>, FileText>,
    /// Folders that could not be listed, and why. Files known to be in them are
    /// taken to be as before: an outage is not a deletion.
    pub unreadable_folders: BTreeMap<Arc<str>, String>,
    /// Whether the path itself could be read.
    pub is_root_readable: bool,
    /// What else there is to say, such as that there are too many files.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileText {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// Nobody knows, for this reason.
    Unreadable(String),
}

/// The manifests of a set of files, kept up to date.
///
/// A file is parsed again only when its content changed. A file with anything
/// that does not read keeps the objects that it provided before and that are
/// missing now; once it is clean, what is missing is gone. A file that is cut off
/// within a line does not read, whatever is left of it.
#[derive(Debug, Default)]
pub struct ManifestStore {
    files: BTreeMap<Arc<str>, FileState>,
    /// The files that name an object.
    named_in: BTreeMap<ManifestRef, BTreeSet<Arc<str>>>,
    /// The objects in force.
    entries: BTreeMap<ManifestRef, Arc<Entry>>,
    /// Those of them about which there is something to say.
    wrong: BTreeSet<ManifestRef>,
    /// What there is to say of the tree, and of each file if there is anything.
    of_tree: Vec<Diagnostic>,
    of_files: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    is_complete: bool,
}

/// What some changes of files changed.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Objects, as they were.
    before: BTreeMap<ManifestRef, Option<Arc<Entry>>>,
    /// Whether there is something else to say.
    findings: bool,
    /// Whether the path could be read for the first time.
    completed: bool,
}

impl Step {
    /// Whether nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        let Self { before, findings, completed } = self;
        before.is_empty() && !findings && !completed
    }
}

impl ManifestStore {
    /// Takes the files as they are now and tells what they say. Equal contents
    /// keep the same entries (`Arc::ptr_eq`).
    pub fn update(&mut self, files: &FileSet) -> Arc<Manifests> {
        self.take_all(files);
        Arc::new(self.manifests())
    }

    /// Takes the files as they are now.
    pub(super) fn take_all(&mut self, files: &FileSet) -> Step {
        let gone = self.files.keys().filter(|path| !files.files.contains_key(*path));
        let (unknown, gone): (Vec<_>, Vec<_>) = gone
            .cloned()
            .partition(|path| files.unreadable_folders.keys().any(|folder| is_within(path, folder)));
        let mut concerned = Concerned::default();
        for path in unknown {
            if let Some(state) = self.files.get_mut(&path) {
                state.diagnostics.clear();
                concerned.files.insert(path);
            }
        }
        gone.into_iter().for_each(|path| self.set(path, None, &mut concerned));
        for (path, text) in &files.files {
            let old = self.files.get(path);
            if old.is_none_or(|old| old.text != *text) {
                let state = FileState::read(path, text, old);
                self.set(path.clone(), Some(state), &mut concerned);
            }
        }
        let mut of_tree = files.diagnostics.clone();
        for (folder, reason) in &files.unreadable_folders {
            let message = format!("the folder can't be read ({reason}); what was known of it stays in force");
            of_tree.push(unreadable_file(folder, &message));
        }
        let mut step = self.settle(concerned);
        step.findings |= of_tree != self.of_tree;
        self.of_tree = of_tree;
        step.completed = files.is_root_readable && !self.is_complete;
        self.is_complete |= files.is_root_readable;
        step
    }

    /// What a file would say, and whether an object would be missing then.
    pub(super) fn read(&self, path: &Arc<str>, text: &FileText) -> (FileState, bool) {
        let old = self.files.get(path);
        let state = FileState::read(path, text, old);
        let lacks = old.is_some_and(|old| state.lacks(old));
        (state, lacks)
    }

    /// Takes some files as they were read now, `None` for one that is gone. Costs
    /// what stands in them.
    pub(super) fn take(&mut self, files: impl IntoIterator<Item = (Arc<str>, Option<FileState>)>) -> Step {
        let mut concerned = Concerned::default();
        files.into_iter().for_each(|(path, state)| self.set(path, state, &mut concerned));
        self.settle(concerned)
    }

    /// All objects, each once: the first by path and order wins. What a broken
    /// file keeps has the place of that file, so that breaking it brings no
    /// object into force that stood behind it.
    pub(super) fn manifests(&self) -> Manifests {
        Manifests {
            entries: self.entries.clone(),
            diagnostics: self.of_tree.iter().chain(self.of_files.values().flatten()).cloned().collect(),
            is_complete: self.is_complete,
        }
    }

    /// Whether the path could ever be read.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// A step as events.
    pub(super) fn events(&self, step: &Step) -> Vec<SourceEvent> {
        let changed = step.before.iter().map(|(name, before)| (before.as_ref(), self.entries.get(name)));
        let mut events = diff::of_entries(changed);
        if step.findings {
            let of_objects = self.wrong.iter().filter_map(|name| self.entries.get(name));
            let of_objects = of_objects.flat_map(|entry| &entry.facts.diagnostics);
            let all = self.of_tree.iter().chain(self.of_files.values().flatten()).chain(of_objects);
            events.push(SourceEvent::Diagnostics(all.cloned().collect()));
        }
        events
    }

    /// Sets what a file says.
    fn set(&mut self, path: Arc<str>, state: Option<FileState>, concerned: &mut Concerned) {
        let old = self.files.remove(&path);
        let before: Vec<ManifestRef> = old.iter().flat_map(|state| state.offered.keys()).cloned().collect();
        let offers =
            |name: &ManifestRef| state.as_ref().is_some_and(|state| state.offered.contains_key(name));
        for name in before.into_iter().filter(|name| !offers(name)) {
            if let Some(files) = self.named_in.get_mut(&name) {
                files.remove(&path);
            }
            concerned.names.insert(name);
        }
        for name in state.iter().flat_map(|state| state.offered.keys()) {
            self.named_in.entry(name.clone()).or_default().insert(path.clone());
            concerned.names.insert(name.clone());
        }
        if let Some(state) = state {
            self.files.insert(path.clone(), state);
        }
        concerned.files.insert(path);
    }

    /// Finds the objects in force anew, and what there is to say.
    fn settle(&mut self, mut concerned: Concerned) -> Step {
        let mut step = Step::default();
        for name in concerned.names {
            let files = self.named_in.get(&name);
            let first = files.and_then(|files| files.first()).and_then(|path| self.files.get(path));
            let now = first.and_then(|state| state.offered.get(&name)).cloned();
            concerned.files.extend(files.into_iter().flatten().cloned());
            if now.is_none() {
                self.named_in.remove(&name);
            }
            self.put(name, now, &mut step);
        }
        for path in concerned.files {
            let found = self.findings(&path);
            let before = match found.is_empty() {
                true => self.of_files.remove(&path).unwrap_or_default(),
                false => self.of_files.insert(path, found.clone()).unwrap_or_default(),
            };
            step.findings |= found != before;
        }
        step
    }

    fn put(&mut self, name: ManifestRef, now: Option<Arc<Entry>>, step: &mut Step) {
        let wrong = now.as_ref().map_or(&[][..], |entry| &entry.facts.diagnostics);
        let before = self.entries.get(&name);
        step.findings |= wrong != before.map_or(&[][..], |entry| &entry.facts.diagnostics);
        match wrong.is_empty() {
            true => self.wrong.remove(&name),
            false => self.wrong.insert(name.clone()),
        };
        let is_same = before.zip(now.as_ref()).is_some_and(|(before, now)| Arc::ptr_eq(before, now));
        if !is_same && before != now.as_ref() {
            step.before.insert(name.clone(), before.cloned());
        }
        match now {
            Some(entry) => self.entries.insert(name, entry),
            None => self.entries.remove(&name),
        };
    }

    /// What there is to say of a file: what it says wrongly, and what stands
    /// elsewhere before.
    fn findings(&self, path: &Arc<str>) -> Vec<Diagnostic> {
        let Some(state) = self.files.get(path) else { return Vec::new() };
        let mut findings = state.diagnostics.clone();
        for (name, entry) in &state.found {
            if let Some(first) = self.entries.get(name).filter(|first| !Arc::ptr_eq(first, entry)) {
                findings.push(duplicate(name, first, entry));
            }
        }
        findings
    }
}

/// What has to be looked at again after files changed.
#[derive(Default)]
struct Concerned {
    names: BTreeSet<ManifestRef>,
    files: BTreeSet<Arc<str>>,
}

impl Entry {
    /// A manifest at a place, and what it says.
    #[must_use]
    pub fn new(manifest: Manifest, location: Location) -> Self {
        let mut facts = manifest.facts();
        for object in &mut facts.objects {
            object.meta_mut().location = Some(location.clone());
        }
        for diagnostic in &mut facts.diagnostics {
            diagnostic.location = Some(location.clone());
        }
        Self { manifest, location, facts }
    }
}

fn duplicate(name: &ManifestRef, first: &Entry, second: &Entry) -> Diagnostic {
    let message =
        format!("{name} stands here and at {}; only that one counts, remove one of them", first.location);
    let location = second.location.clone();
    let mut diagnostic = Diagnostic::in_file(Severity::Error, "duplicate-object", location, message);
    diagnostic.object = name.object_ref();
    diagnostic
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'))
}

#[cfg(test)]
mod tests;
