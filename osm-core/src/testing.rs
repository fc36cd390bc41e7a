//! What tests of this and other crates share (feature `test-util`): random
//! meshes, a regular one of any size, meshes made at once, checks of the invariants, and the
//! conformance kit for sources.

mod bazaar;
mod conformance;
mod fleet;
pub mod invariant;
mod random;
mod regex;
mod scratch;

pub use conformance::{SourceCheck, SourceStep, source_conformance};
pub use fleet::Fleet;
pub use random::{Step, history, object, play, proxies, seeded_history};
pub use regex::{REGEXES, RegexVerdict};
pub use scratch::{from_scratch, told};
