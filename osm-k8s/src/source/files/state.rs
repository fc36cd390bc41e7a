//! What one file says, given what it said before.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Location, Severity};

use super::Entry;
use super::store::FileText;
use crate::document::{self, Document, Outcome, Problem};
use crate::manifest::{Manifest, ManifestRef};

/// The most findings of one kind about one file; more are counted in one.
pub(super) const MAX_FINDINGS_PER_FILE: usize = 100;

/// What is known of one file.
#[derive(Debug)]
pub(super) struct FileState {
    pub(super) text: FileText,
    /// The last content that did not look half saved.
    whole: Arc<[u8]>,
    /// What its documents say now, in order; an object may be there twice.
    pub(super) found: Vec<(ManifestRef, Arc<Entry>)>,
    /// The first of each of these, and what the file said before and could not be
    /// read again.
    pub(super) offered: BTreeMap<ManifestRef, Arc<Entry>>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl FileState {
    /// Reads a file, given what was known of it before.
    pub(super) fn read(path: &Arc<str>, text: &FileText, old: Option<&Self>) -> Self {
        let whole = old.map_or_else(|| Arc::from([]), |old| old.whole.clone());
        let mut state = Self {
            text: text.clone(),
            whole,
            found: Vec::new(),
            offered: BTreeMap::new(),
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
        documents.into_iter().for_each(|one| state.take(path, one, old));
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
                self.offered.entry(name.clone()).or_insert_with(|| entry.clone());
                self.found.push((name, entry));
            }
            Outcome::Other(kind) => self.diagnostics.push(Diagnostic::in_file(
                Severity::Info,
                "other-kind",
                location,
                format!("`{kind}` is not a kind that the mesh reads; it is ignored"),
            )),
            Outcome::NotYet(kind) => self.diagnostics.push(Diagnostic::in_file(
                Severity::Warning,
                "no-effect-yet",
                location,
                format!("`{kind}` has no effect yet: what it asks for does not happen"),
            )),
            Outcome::Unreadable(problem) => self.diagnostics.push(unreadable(path, problem)),
        }
    }

    /// The entry of an equal manifest at an equal place.
    fn known(&self, name: &ManifestRef, manifest: &Manifest, location: &Location) -> Option<Arc<Entry>> {
        let known = self.offered.get(name);
        known.filter(|entry| entry.location == *location && entry.manifest == *manifest).cloned()
    }

    /// Keeps what the file provided before and does not provide now.
    fn keep(&mut self, old: Option<&Self>) {
        for (name, entry) in old.into_iter().flat_map(|old| &old.offered) {
            self.offered.entry(name.clone()).or_insert_with(|| entry.clone());
        }
    }

    /// Whether an object is missing that the file provided before.
    pub(super) fn lacks(&self, old: &Self) -> bool {
        old.offered.keys().any(|name| !self.offered.contains_key(name))
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

/// Whether a file stops within a line that it had before, and up to there is what
/// it was: a save that was interrupted, and no edit. Even if it parses, what is
/// cut off may have narrowed what stands before it.
pub(super) fn is_half_saved(before: &[u8], now: &[u8]) -> bool {
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

pub(super) fn unreadable_file(path: &Arc<str>, message: &str) -> Diagnostic {
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
