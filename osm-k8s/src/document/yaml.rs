//! One YAML document into a type, with the path and the line of a mistake.

use osm_core::diagnostic::harmless;
use serde::de::DeserializeSeed;
use serde_saphyr::{MessageFormatter, Options};

use super::Problem;
use super::split::Chunk;
use crate::manifest::{Manifest, ManifestKind};

/// The deepest nesting of a document.
const MAX_DEPTH: usize = 64;
/// The most nodes of a document.
const MAX_NODES: usize = 400_000;
/// The most events that all aliases of a document expand to together.
const MAX_ALIAS_EVENTS: usize = 100_000;
/// The longest message about a document, in characters.
const MAX_MESSAGE: usize = 300;

impl<'de> DeserializeSeed<'de> for ManifestKind {
    type Value = Manifest;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Manifest, D::Error> {
        Manifest::read(self, deserializer)
    }
}

/// Reads a document by a seed.
pub(super) fn parse<'de, T, S>(chunk: &Chunk<'de>, seed: S) -> Result<T, Problem>
where
    S: DeserializeSeed<'de, Value = T>,
{
    let mut field = String::new();
    let result =
        serde_saphyr::with_deserializer_from_str_with_options(chunk.text, options(), |deserializer| {
            let mut track = serde_path_to_error::Track::new();
            let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
            let result = seed.deserialize(tracked);
            if result.is_err() {
                field = path(&track.path());
            }
            result
        });
    result.map_err(|error| {
        let line = error.location().map_or(1, |location| u32::try_from(location.line()).unwrap_or(0));
        let text = serde_saphyr::UserMessageFormatter.format_message(error.without_snippet());
        Problem {
            code: "bad-document",
            line: chunk.line_of(line),
            object: None,
            field: std::mem::take(&mut field),
            message: plain(&text),
        }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIAS_EVENTS,
        },
        with_snippet: false,
    }
}

/// A path within a document; the whole document is empty.
pub(super) fn path(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    // What could not be read is shown as `?`; the way there is what helps.
    let known = text.trim_end_matches(['?', '.']);
    plain(known)
}

/// A text of others as it may stand in a message: short, and on one line.
pub(super) fn plain(text: &str) -> String {
    // Breaks are how parsers wrap their messages, and no more than spaces.
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    harmless(&one_line, MAX_MESSAGE).into_owned()
}
