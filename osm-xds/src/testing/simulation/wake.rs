//! Who is to look again: what an executor does, without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;

use super::StreamId;

/// Something that waits to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// The wait of one control plane, the first or a later one, for snapshots.
    Snapshots(u64),
    /// A stream's wait for views.
    Feed(StreamId),
}

/// Those who were woken and have not looked yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Woken(Arc<Mutex<BTreeSet<Task>>>);

impl Woken {
    pub(super) fn add(&self, task: Task) {
        self.0.lock().insert(task);
    }

    pub(super) fn take(&self) -> BTreeSet<Task> {
        std::mem::take(&mut *self.0.lock())
    }

    pub(super) fn waker(&self, task: Task) -> Waker {
        Arc::new(Alarm { task, woken: self.clone() }).into()
    }
}

struct Alarm {
    task: Task,
    woken: Woken,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.woken.add(self.task);
    }
}
