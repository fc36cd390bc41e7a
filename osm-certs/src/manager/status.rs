//! How certificates are doing, for operators.

use std::time::SystemTime;

use super::failure::Failure;
use crate::subject::Subject;

/// How one subject's certificate is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectStatus {
    /// Whom it is for.
    pub subject: Subject,
    /// The serial number of the certificate that is given out, if there is one.
    pub serial: Option<String>,
    /// When that certificate began to be valid.
    pub not_before: Option<SystemTime>,
    /// When that certificate ends.
    pub not_after: Option<SystemTime>,
    /// When the next one is to be signed, after a failure when that is tried again;
    /// `None` if it is at hand: being signed, or due.
    pub next_rotation: Option<SystemTime>,
    /// Why there is none, or no newer one; `None` if the last attempt succeeded.
    pub failure: Option<Failure>,
    /// How often in a row it has failed.
    pub failures: u32,
    /// How many watch it.
    pub watches: usize,
}
