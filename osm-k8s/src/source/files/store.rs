//! What the contents of files mean: pure, without reading any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Location, Severity};

use super::{Entry, Manifests};
use crate::document::{self, Document, Outcome, Problem};
use crate::manifest::{Manifest, ManifestRef};

/// The most findings of one kind about one file; more are counted in one.
const MAX_FINDINGS_PER_FILE: usize = 100;

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
    is_complete: bool,
}

/// What is known of one file.
#[derive(Debug)]
struct FileState {
    text: FileText,
    /// The last content that did not look half saved.
    whole: Arc<[u8]>,
    /// What its documents say now, in order; an object may be there twice.
    found: Vec<(ManifestRef, Arc<Entry>)>,
    /// What it said before and could not be read again.
    kept: BTreeMap<ManifestRef, Arc<Entry>>,
    diagnostics: Vec<Diagnostic>,
}

impl ManifestStore {
    /// Takes the files as they are now and tells what they say. Equal contents
    /// keep the same entries (`Arc::ptr_eq`).
    pub fn update(&mut self, files: &FileSet) -> Arc<Manifests> {
        let mut before = std::mem::take(&mut self.files);
        for (path, text) in &files.files {
            let old = before.remove(path);
            let state = match old {
                Some(old) if old.text == *text => old,
                old => FileState::read(path, text, old),
            };
            self.files.insert(path.clone(), state);
        }
        for (path, mut old) in before {
            if files.unreadable_folders.keys().any(|folder| is_within(&path, folder)) {
                old.diagnostics.clear();
                self.files.insert(path, old);
            }
        }
        self.is_complete |= files.is_root_readable;
        Arc::new(self.manifests(files))
    }

    /// All objects, each once: the first by path and order wins. What a broken
    /// file keeps has the place of that file, so that breaking it brings no
    /// object into force that stood behind it.
    fn manifests(&self, files: &FileSet) -> Manifests {
        let mut result = Manifests {
            entries: BTreeMap::new(),
            diagnostics: files.diagnostics.clone(),
            is_complete: self.is_complete,
        };
        for (folder, reason) in &files.unreadable_folders {
            let message = format!("the folder can't be read ({reason}); what was known of it stays in force");
            result.diagnostics.push(unreadable_file(folder, &message));
        }
        for state in self.files.values() {
            result.diagnostics.extend(state.diagnostics.iter().cloned());
            for (name, entry) in &state.kept {
                result.entries.entry(name.clone()).or_insert_with(|| entry.clone());
            }
            for (name, entry) in &state.found {
                match result.entries.get(name) {
                    None => drop(result.entries.insert(name.clone(), entry.clone())),
                    Some(first) => result.diagnostics.push(duplicate(name, first, entry)),
                }
            }
        }
        result
    }
}

impl FileState {
    /// Reads a file, given what was known of it before.
    fn read(path: &Arc<str>, text: &FileText, old: Option<Self>) -> Self {
        let whole = old.as_ref().map_or_else(|| Arc::from([]), |old| old.whole.clone());
        let mut state = Self {
            text: text.clone(),
            whole,
            found: Vec::new(),
            kept: BTreeMap::new(),
            diagnostics: Vec::new(),
        };
        let bytes = match text {
            FileText::Bytes(bytes) if is_half_saved(&state.whole, bytes) => {
                state.diagnostics.push(half_saved(path, bytes));
                state.keep(old);
                return state;
            }
            FileText::Bytes(bytes) => bytes,
            FileText::Unreadable(reason) => {
                state.diagnostics.push(unreadable_file(
                    path,
                    &format!("the file can't be read ({reason}); what was known of it stays in force"),
                ));
                state.keep(old);
                return state;
            }
        };
        state.whole = bytes.clone();
        let documents = document::read(bytes);
        let is_clean = !documents.iter().any(|one| matches!(one.outcome, Outcome::Unreadable(_)));
        documents.into_iter().for_each(|one| state.take(path, one, old.as_ref()));
        if !is_clean {
            state.keep(old);
        }
        state.bound_diagnostics(path);
        state
    }

    fn take(&mut self, path: &Arc<str>, document: Document, old: Option<&Self>) {
        let location = Location { file: path.clone(), line: document.line };
        match document.outcome {
            Outcome::Manifest(manifest) => {
                let name = manifest.reference();
                let known = old.and_then(|old| old.known(&name, &manifest, &location));
                let entry = known.unwrap_or_else(|| Arc::new(Entry::new(manifest, location)));
                self.found.push((name, entry));
            }
            Outcome::Other(kind) => self.diagnostics.push(Diagnostic::in_file(
                Severity::Info,
                "other-kind",
                location,
                format!("`{kind}` is not a kind that the mesh reads; it is ignored"),
            )),
            Outcome::Unreadable(problem) => self.diagnostics.push(unreadable(path, problem)),
        }
    }

    /// The entry of an equal manifest at an equal place.
    fn known(&self, name: &ManifestRef, manifest: &Manifest, location: &Location) -> Option<Arc<Entry>> {
        let all = self.found.iter().map(|(name, entry)| (name, entry)).chain(&self.kept);
        all.filter(|(other, _)| *other == name)
            .map(|(_, entry)| entry)
            .find(|entry| entry.location == *location && entry.manifest == *manifest)
            .cloned()
    }

    /// Keeps what the file provided before and does not provide now.
    fn keep(&mut self, old: Option<Self>) {
        let Some(old) = old else { return };
        let now: BTreeSet<_> = self.found.iter().map(|(name, _)| name.clone()).collect();
        // The first of two equal names was the one in force.
        for (name, entry) in old.found.into_iter().chain(old.kept) {
            if !now.contains(&name) {
                self.kept.entry(name).or_insert(entry);
            }
        }
    }

    fn bound_diagnostics(&mut self, path: &Arc<str>) {
        let more = self.diagnostics.len().saturating_sub(MAX_FINDINGS_PER_FILE);
        if more > 0 {
            // Errors first, so that what is cut off is what matters least.
            self.diagnostics.sort_by_key(|one| std::cmp::Reverse(one.severity));
            self.diagnostics.truncate(MAX_FINDINGS_PER_FILE);
            let location = Location { file: path.clone(), line: 0 };
            let message = format!("{more} more findings are not shown; correct these first");
            self.diagnostics.push(Diagnostic::in_file(
                Severity::Warning,
                "too-many-findings",
                location,
                message,
            ));
        }
    }
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

/// Whether a file stops within a line that it had before, and up to there is what
/// it was: a save that was interrupted, and no edit. Even if it parses, what is
/// cut off may have narrowed what stands before it.
fn is_half_saved(before: &[u8], now: &[u8]) -> bool {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    before.strip_prefix(now).and_then(<[u8]>::first).is_some_and(|next| !is_break(next))
        && now.last().is_some_and(|last| !is_break(last))
}

fn half_saved(path: &Arc<str>, bytes: &[u8]) -> Diagnostic {
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let location = Location { file: path.clone(), line: u32::try_from(line).unwrap_or(u32::MAX) };
    let message = "the file stops in the middle of this line, as if it had been saved by half; what it said \
                   before stays in force. Save it again; if it is meant so, end it with a line break";
    Diagnostic::in_file(Severity::Error, "half-saved", location, message)
}

fn unreadable_file(path: &Arc<str>, message: &str) -> Diagnostic {
    let location = Location { file: path.clone(), line: 0 };
    Diagnostic::in_file(Severity::Error, "unreadable-file", location, message)
}

fn unreadable(path: &Arc<str>, problem: Problem) -> Diagnostic {
    let location = Location { file: path.clone(), line: problem.line };
    let message = format!("{}; until it is corrected, its last good state stays", problem.message);
    let mut diagnostic =
        Diagnostic::in_file(Severity::Error, problem.code, location, message).at(problem.field);
    diagnostic.object = problem.object;
    diagnostic
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
