//! Certificates that somebody else made together with their keys: whether one serves.
//!
//! Where they come from, and what is said when one does not, is the caller's.

use crate::certificate::{Leaf, PrivateKey};
use crate::enrolment::{self, EnrolmentError};
use crate::subject::{AlternativeName, Subject};
use crate::verify::Unusable;

/// How well names have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They are the subject's, as an issuer promises.
    Exact,
    /// They say who it is and nobody else: others who issue leave dotted names away, or give a server
    /// of the control plane more than it asks for.
    Enough,
}

/// Whether a key is a certificate's.
pub(crate) fn is_key_of(key: &PrivateKey, leaf: &Leaf) -> Result<bool, EnrolmentError> {
    Ok(enrolment::public_key(key)? == leaf.public_key)
}

/// Whether a certificate's names are a subject's.
pub(crate) fn check_names(subject: &Subject, leaf: &Leaf, fit: Fit) -> Result<(), Unusable> {
    let asked = subject.names();
    let given = leaf.names.as_ref().map_err(|reason| Unusable::Invalid(reason.clone()))?;
    let fits = match (fit, subject) {
        (Fit::Exact, _) => *given == asked,
        (Fit::Enough, Subject::ControlPlane { .. }) => given.is_superset(&asked),
        (Fit::Enough, _) => {
            given.is_subset(&asked) && given.iter().any(|name| matches!(name, AlternativeName::Uri(_)))
        }
    };
    if fits && !asked.is_empty() { Ok(()) } else { Err(Unusable::other_names(&asked, given)) }
}
