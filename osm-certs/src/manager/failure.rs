//! What went wrong, for people and for counting.

use std::error::Error;
use std::fmt;

use super::rotation::Hope;
use crate::issuer::IssuerError;
use crate::verify::Unusable;

/// Why an attempt to get a certificate or the trust bundle failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Who can act.
    pub kind: FailureKind,
    /// What went wrong, with what led to it.
    pub message: String,
}

/// The kinds of failure, by who can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The issuer did not answer, or said that it can't now.
    Unavailable,
    /// The issuer won't.
    Refused,
    /// The issuer gave something that must not be used.
    Unusable,
    /// This process could not make a request.
    Internal,
}

impl FailureKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 4] = [Self::Unavailable, Self::Refused, Self::Unusable, Self::Internal];

    /// The kind as a word, as in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
            Self::Internal => "internal",
        }
    }

    pub(super) fn hope(self) -> Hope {
        match self {
            Self::Unavailable | Self::Internal => Hope::Soon,
            Self::Refused | Self::Unusable => Hope::Rarely,
        }
    }
}

impl Failure {
    /// A failure with the errors beneath it in its message.
    pub(crate) fn new(kind: FailureKind, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut beneath = error.source();
        while let Some(error) = beneath {
            message.push_str(": ");
            message.push_str(&error.to_string());
            beneath = error.source();
        }
        Self { kind, message }
    }
}

impl From<IssuerError> for Failure {
    fn from(error: IssuerError) -> Self {
        let kind = match error {
            IssuerError::Unavailable { .. } => FailureKind::Unavailable,
            IssuerError::Refused { .. } => FailureKind::Refused,
        };
        Self::new(kind, &error)
    }
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Self {
        Self::new(FailureKind::Unusable, &error)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
