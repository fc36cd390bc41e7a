//! The documents of a YAML or JSON file, each with its line.
//!
//! A file is cut at its document markers first, so that one document that does
//! not parse says nothing about the others. JSON is read as the YAML that it is.
//! Everything is bounded: bytes, documents, depth, and what aliases expand to.
//!
//! What becomes of the objects is decided elsewhere; this knows only text.

mod group;
mod split;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt;

use osm_core::name::ObjectRef;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::manifest::{Manifest, ManifestKind, ManifestRef};

pub use split::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_FILE_BYTES};

/// One document of a file, or one item of a `List`.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The line at which it starts, from 1.
    pub line: u32,
    /// What it is.
    pub outcome: Outcome,
}

/// What a document is.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An object of a kind that the mesh reads.
    Manifest(Manifest),
    /// An object of another kind, as `apiVersion kind`: none of the mesh's business.
    Other(String),
    /// An object of a kind that meshes have and this one does not carry yet, as
    /// `apiVersion kind`: what it asks for does not happen.
    NotYet(String),
    /// No object that can be read.
    Unreadable(Problem),
}

/// Why a document does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for it, in kebab case.
    pub code: &'static str,
    /// The line of the mistake, from 1.
    pub line: u32,
    /// The object, as far as its kind and name could be read.
    pub object: Option<ObjectRef>,
    /// The path of the field; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.field, self.message)
    }
}

/// Reads the documents of a file. Never fails: what does not read is
/// [`Outcome::Unreadable`]. Documents without content are left out.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Document> {
    let chunks = match split::chunks(bytes) {
        Ok(chunks) => chunks,
        Err(problem) => return vec![unreadable(problem)],
    };
    let mut documents = Vec::new();
    for chunk in chunks {
        match chunk {
            Ok(chunk) => read_chunk(chunk, &mut documents),
            Err(problem) => documents.push(unreadable(problem)),
        }
    }
    documents
}

/// Reads one object that was parsed already, such as an item of a list or an
/// object of an API server.
#[must_use]
pub fn read_value(value: &Value, line: u32) -> Document {
    let header = match Header::deserialize(value) {
        Ok(header) => header,
        Err(error) => {
            let message = yaml::plain(&error.to_string());
            return unreadable(Problem {
                code: "bad-object",
                line,
                object: None,
                field: String::new(),
                message,
            });
        }
    };
    match header.role() {
        Role::Known(kind) => {
            let mut track = serde_path_to_error::Track::new();
            let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
            let result = Manifest::read(kind, tracked);
            let outcome = result.map(Outcome::Manifest).unwrap_or_else(|error| {
                Outcome::Unreadable(Problem {
                    code: "bad-object",
                    line,
                    object: header.object(kind),
                    field: yaml::path(&track.path()),
                    message: yaml::plain(&error.to_string()),
                })
            });
            Document { line, outcome }
        }
        Role::Other(text) => Document { line, outcome: Outcome::Other(text) },
        Role::NotYet(text) => Document { line, outcome: Outcome::NotYet(text) },
        Role::List => {
            let message = "a List within a List is not read; write its items one by one".to_owned();
            unreadable(Problem { code: "nested-list", line, object: None, field: String::new(), message })
        }
        Role::Wrong { code, field, message } => {
            let object = header.known().and_then(|kind| header.object(kind));
            unreadable(Problem { code, line, object, field: field.to_owned(), message })
        }
    }
}

fn unreadable(problem: Problem) -> Document {
    Document { line: problem.line, outcome: Outcome::Unreadable(problem) }
}

fn read_chunk(chunk: split::Chunk<'_>, documents: &mut Vec<Document>) {
    let line = chunk.line;
    let header = match yaml::parse::<Option<Header>, _>(&chunk, std::marker::PhantomData) {
        Ok(Some(header)) => header,
        Ok(None) => return,
        Err(problem) => {
            let object = split::guess(chunk.text);
            return documents
                .push(Document { line, outcome: Outcome::Unreadable(Problem { object, ..problem }) });
        }
    };
    match header.role() {
        Role::Known(kind) => {
            let outcome = match yaml::parse(&chunk, kind) {
                Ok(manifest) => Outcome::Manifest(manifest),
                Err(problem) => Outcome::Unreadable(Problem { object: header.object(kind), ..problem }),
            };
            documents.push(Document { line, outcome });
        }
        Role::Other(text) => documents.push(Document { line, outcome: Outcome::Other(text) }),
        Role::NotYet(text) => documents.push(Document { line, outcome: Outcome::NotYet(text) }),
        Role::List => read_list(&chunk, documents),
        Role::Wrong { code, field, message } => {
            let object = header.known().and_then(|kind| header.object(kind));
            let problem = Problem { code, line, object, field: field.to_owned(), message };
            documents.push(unreadable(problem));
        }
    }
}

/// A `List`, whose items are objects.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Spanned<Value>>,
}

fn read_list(chunk: &split::Chunk<'_>, documents: &mut Vec<Document>) {
    match yaml::parse::<List, _>(chunk, std::marker::PhantomData) {
        Ok(list) => documents.extend(list.items.iter().map(|item| {
            let line = u32::try_from(item.referenced.line()).unwrap_or(0);
            read_value(&item.value, chunk.line_of(line))
        })),
        Err(problem) => documents.push(unreadable(problem)),
    }
}

/// What says which object a document is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: Option<HeaderMetadata>,
}

#[derive(Debug, Default, Deserialize)]
struct HeaderMetadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
}

/// What is to be done with a document.
enum Role {
    Known(ManifestKind),
    Other(String),
    NotYet(String),
    List,
    Wrong { code: &'static str, field: &'static str, message: String },
}

fn other_name(version: &str, kind: &str) -> String {
    yaml::plain(&format!("{version} {kind}"))
}

impl Header {
    fn known(&self) -> Option<ManifestKind> {
        ManifestKind::from_name(self.kind.as_deref()?)
    }

    fn role(&self) -> Role {
        let version = self.api_version.as_deref().unwrap_or_default();
        let Some(name) = self.kind.as_deref().filter(|name| !name.is_empty()) else {
            let message = "the document is no object: it has no `kind`".to_owned();
            return Role::Wrong { code: "no-kind", field: "kind", message };
        };
        let other = || Role::Other(other_name(version, name));
        let Some(kind) = ManifestKind::from_name(name) else {
            return match group::is_of_meshes(version) {
                _ if name == "List" && version == "v1" => Role::List,
                true if group::is_known_elsewhere(version, name) => Role::NotYet(other_name(version, name)),
                true => Role::Wrong {
                    code: "unknown-kind",
                    field: "kind",
                    message: group::no_such_kind(version, name),
                },
                false => other(),
            };
        };
        if kind.api_versions().contains(&version) {
            return Role::Known(kind);
        }
        // Other projects have kinds of this name as well, such as Knative.
        if kind == ManifestKind::Service && version.contains('/') {
            return other();
        }
        let message = format!(
            "{kind} of `{}` is not read; the supported apiVersion is {}",
            yaml::plain(version),
            kind.api_versions().iter().map(|version| format!("`{version}`")).collect::<Vec<_>>().join(" or ")
        );
        Role::Wrong { code: "unsupported-version", field: "apiVersion", message }
    }

    fn object(&self, kind: ManifestKind) -> Option<ObjectRef> {
        let metadata = self.metadata.as_ref()?;
        let namespace = match metadata.namespace.as_deref() {
            _ if !kind.is_namespaced() => None,
            None | Some("") => Some(crate::manifest::DEFAULT_NAMESPACE.parse().ok()?),
            Some(namespace) => Some(namespace.parse().ok()?),
        };
        ManifestRef { kind, namespace, name: metadata.name.as_deref()?.parse().ok()? }.object_ref()
    }
}
