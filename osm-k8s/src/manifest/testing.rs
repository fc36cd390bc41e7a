//! What the tests of the kinds share.

use osm_core::model::MeshObject;

use super::{Conversion, Manifest};
use crate::document::{self, Outcome, Problem};

fn outcome(text: &str) -> Outcome {
    let mut found = document::read(text.as_bytes());
    assert_eq!(found.len(), 1, "one document in {text}");
    found.remove(0).outcome
}

/// Reads one manifest.
pub(crate) fn read(text: &str) -> Manifest {
    match outcome(text) {
        Outcome::Manifest(manifest) => manifest,
        other => panic!("{text}: {other:?}"),
    }
}

/// Reads one manifest that must not read.
pub(crate) fn read_error(text: &str) -> Problem {
    match outcome(text) {
        Outcome::Unreadable(problem) => problem,
        other => panic!("{text}: {other:?}"),
    }
}

/// What a manifest says.
pub(crate) fn convert(text: &str) -> Conversion {
    read(text).facts()
}

/// The one fact of a manifest about which there is nothing to say.
pub(crate) fn fact(text: &str) -> MeshObject {
    let Conversion { mut objects, diagnostics } = convert(text);
    assert_eq!(diagnostics, [], "{text}");
    assert_eq!(objects.len(), 1, "{text}");
    objects.remove(0)
}

/// Code and field of each finding about a manifest.
pub(crate) fn findings(text: &str) -> Vec<String> {
    convert(text).diagnostics.iter().map(|one| format!("{} {}", one.code, one.field)).collect()
}
