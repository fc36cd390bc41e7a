//! What strangers can send, played against the code that reads it.
//!
//! Each target is a function from bytes to nothing that panics when a promise is
//! broken. The fuzzer (`cargo xtask fuzz`) calls it with bytes of its own making;
//! the test `fuzzing` with the corpus that lies in `fuzz/corpus`, so that what was
//! found once stays found without a fuzzer.

mod discovery;
mod encoding;
mod identities;
mod manifests;
mod script;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use discovery::discovery;
pub use encoding::encoding;
pub use identities::identities;
pub use manifests::manifests;

/// A target: what reads the bytes of a stranger.
pub type Target = fn(&[u8]);

/// The targets by name; `fuzz/fuzz_targets` has a program for each.
pub const TARGETS: [(&str, Target); 4] =
    [("discovery", discovery), ("manifests", manifests), ("identities", identities), ("encoding", encoding)];

/// The folder of the fuzzer: programs, corpus, dictionaries.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The files of a target's corpus, by name.
///
/// # Errors
/// When there is none, or one can't be read.
pub fn corpus(target: &str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = folder().join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context("listing a corpus")?.path();
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        files.push((path, bytes));
    }
    files.sort();
    Ok(files)
}
