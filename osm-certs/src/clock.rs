//! The one place where this crate asks what time it is.

use std::fmt;
use std::time::SystemTime;

/// What time it is, as certificates mean it. Asked often, from any task.
///
/// The time may step in both directions, as a machine's clock does.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "all other code of this crate asks a `Clock`")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
