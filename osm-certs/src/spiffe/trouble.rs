//! What it means that an agent gives nothing, and what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use osm_core::diagnostic::harmless;
use tonic::{Code, Status};

use super::WorkloadEndpoint;
use super::wire::MAX_MESSAGE;
use crate::issuer::IssuerError;
use crate::manager::{Backoff, Failure, FailureKind};

/// After what may pass by itself.
const SOON: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };
/// After what stays until a person acts.
const RARELY: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(300) };
/// How much is shown of what an agent says, in characters.
const MAX_SHOWN: usize = 300;

/// Why nothing more comes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// How long to wait before the agent is asked again.
    pub(super) pace: Backoff,
    /// Whether the agent has taken back all that it gave (SPIFFE Workload API, section 5.2.1).
    pub(super) withdraws: bool,
}

impl Trouble {
    /// Waiting may help.
    pub(super) fn passing(message: String) -> Self {
        let failure = Failure { kind: FailureKind::Unavailable, message };
        Self { failure, pace: SOON, withdraws: false }
    }

    /// A person has to act.
    fn lasting(message: String) -> Self {
        let failure = Failure { kind: FailureKind::Refused, message };
        Self { failure, pace: RARELY, withdraws: false }
    }

    /// There is no connection.
    pub(super) fn unreachable(at: &WorkloadEndpoint, error: &io::Error) -> Self {
        let mut said = Failure::new(FailureKind::Unavailable, error).message;
        if error.kind() == io::ErrorKind::PermissionDenied {
            said.push_str(": let this process write to the socket");
            return Self {
                pace: SOON,
                ..Self::lasting(format!("the agent at {at} cannot be asked: {said}"))
            };
        }
        Self::passing(format!(
            "the agent at {at} cannot be reached: {said}: start it, or correct the address"
        ))
    }

    /// The agent answered with an error (SPIFFE Workload Endpoint, section 6), or the answer broke off.
    pub(super) fn told(at: &WorkloadEndpoint, status: &Status) -> Self {
        let said = harmless(status.message().trim(), MAX_SHOWN);
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => Self {
                // An entry takes a while to get from the server to its agent.
                pace: SOON,
                withdraws: true,
                ..Self::lasting(format!(
                    "the agent at {at} has no identity for this process ({said}): register the identities that it \
                     is to give out, with selectors that this process fits"
                ))
            },
            Code::Unimplemented => Self::lasting(format!(
                "what listens at {at} is no SPIFFE Workload API ({said}): give the agent's own socket"
            )),
            Code::InvalidArgument => Self::lasting(format!(
                "the agent at {at} does not take the request ({said}): it speaks another form of the SPIFFE Workload API"
            )),
            Code::OutOfRange => Self::lasting(format!(
                "the answer of the agent at {at} has more than {MAX_MESSAGE} bytes: register fewer identities for \
                 this process"
            )),
            code => {
                let beneath =
                    status.source().map(|error| Failure::new(FailureKind::Unavailable, error).message);
                let beneath =
                    beneath.map(|text| format!(": {}", harmless(&text, MAX_SHOWN))).unwrap_or_default();
                Self::passing(format!("the agent at {at} gives nothing more: {code:?}: {said}{beneath}"))
            }
        }
    }
}

/// The same for who asked for a certificate.
pub(super) fn as_error(failure: &Failure) -> IssuerError {
    match failure.kind {
        FailureKind::Refused => IssuerError::refused(failure.message.clone()),
        _ => IssuerError::unavailable(failure.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> WorkloadEndpoint {
        "unix:///run/agent.sock".parse().expect("an endpoint")
    }

    #[test]
    fn each_status_is_told_by_who_can_act() {
        for code in [Code::PermissionDenied, Code::InvalidArgument, Code::Unimplemented, Code::OutOfRange] {
            let trouble = Trouble::told(&at(), &Status::new(code, "said"));
            assert_eq!(trouble.failure.kind, FailureKind::Refused, "{code:?}");
            assert!(trouble.failure.message.contains("unix:///run/agent.sock"), "{trouble:?}");
            assert_eq!(trouble.withdraws, code == Code::PermissionDenied);
        }
        for code in
            [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled, Code::DeadlineExceeded]
        {
            let trouble = Trouble::told(&at(), &Status::new(code, "said"));
            assert_eq!((trouble.failure.kind, trouble.pace), (FailureKind::Unavailable, SOON), "{code:?}");
        }
    }

    #[test]
    fn a_socket_that_may_not_be_opened_is_a_matter_for_a_person() {
        let refused = Trouble::unreachable(&at(), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(refused.failure.kind, FailureKind::Refused);
        let away = Trouble::unreachable(&at(), &io::ErrorKind::NotFound.into());
        assert_eq!(away.failure.kind, FailureKind::Unavailable);
    }

    #[test]
    fn what_an_agent_says_harms_nobody() {
        let text = format!("\u{1b}[2J{}", "x".repeat(5000));
        for code in [Code::PermissionDenied, Code::Internal] {
            let said = Trouble::told(&at(), &Status::new(code, text.clone())).failure.message;
            assert!(said.len() < 1000 && !said.contains('\u{1b}'), "{said}");
        }
    }
}
