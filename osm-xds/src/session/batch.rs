//! A response of a session while it is put together.

use super::in_flight::{Item, Said};
use super::kind::Pending;
use super::order::InUse;

/// For how many names room is made at once.
pub(super) const ROOM: usize = 128;

/// A response that is being put together.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    bytes: usize,
    limit: usize,
    /// Whether nothing more may be added.
    closed: bool,
    /// Whether nothing that was refused may be tried again yet: an earlier
    /// response that this one would repeat is not answered.
    busy: bool,
    /// What may still be in use, once that was asked for.
    pub(super) in_use: Option<InUse>,
}

impl Batch {
    pub(super) fn new(limit: usize, busy: bool, names: usize) -> Self {
        let items = Vec::with_capacity(names.min(ROOM));
        Self { items, bytes: 0, limit, closed: false, busy, in_use: None }
    }

    /// Whether one more of this size fits; the first always does.
    pub(super) fn fits(&self, bytes: usize, alone: bool) -> bool {
        if alone && self.busy {
            return false;
        }
        self.items.is_empty() || (!self.closed && !alone && self.bytes.saturating_add(bytes) <= self.limit)
    }

    pub(super) fn add(&mut self, said: Said, pending: &Pending) {
        self.bytes += match &said {
            Said::Resource(resource) => resource.body.len(),
            Said::Gone(name) => name.as_str().len(),
        };
        self.closed |= pending.alone;
        self.items.push(Item { said, had: pending.has.clone(), doubtful: pending.doubtful });
    }
}
