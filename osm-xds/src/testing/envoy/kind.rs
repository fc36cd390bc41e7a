//! What the model has and asks for, of one kind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The state of one kind.
#[derive(Default)]
pub(super) struct Kind {
    /// Whether it was asked for, in this stream or an earlier one.
    pub(super) started: bool,
    /// Whether it was asked for in this stream.
    pub(super) begun: bool,
    /// Whether any response came, ever.
    pub(super) told: bool,
    pub(super) names: BTreeSet<String>,
    pub(super) applied: BTreeMap<String, Vec<u8>>,
    /// The versions that it will report when it connects anew (incremental).
    pub(super) versions: BTreeMap<String, String>,
    /// The version of the last response that it accepted.
    pub(super) version_info: String,
    /// Whether it has good parts of a response that it refused since then.
    pub(super) partial: bool,
    /// The nonce of the last response.
    pub(super) nonce: String,
    /// The nonce of the last response that was answered.
    pub(super) answered: String,
    /// What is to be answered still, oldest first.
    pub(super) answers: VecDeque<Answer>,
    pub(super) received: usize,
    pub(super) repeated: usize,
}

/// The answer to a response.
pub(super) struct Answer {
    pub(super) nonce: String,
    pub(super) version_info: String,
    pub(super) refusal: Option<String>,
}

impl Kind {
    /// Forgets what belongs to a stream.
    pub(super) fn disconnect(&mut self) {
        self.begun = false;
        self.nonce.clear();
        self.answered.clear();
        self.answers.clear();
    }

    /// Forgets what is no longer asked for.
    pub(super) fn forget(&mut self, name: &str) {
        self.names.remove(name);
        self.applied.remove(name);
        self.versions.remove(name);
    }
}
