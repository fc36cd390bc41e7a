//! Which of an agent's documents is a subject's, and what is said when there is none.

use std::time::SystemTime;

use super::WorkloadEndpoint;
use super::offers::{Offer, Offers, Proof};
use crate::given_certificate::{self, Fit};
use crate::issuer::IssuerError;
use crate::subject::{AlternativeName, Subject};
use crate::verify::{self, Unusable};

/// How many IDs are listed.
const MAX_LISTED: usize = 8;

impl Offers {
    /// The first document that proves a subject: by its ID, or for the control plane, which has none, by its names.
    pub(super) fn find(
        &self,
        subject: &Subject,
        fit: Fit,
        at: &WorkloadEndpoint,
        now: SystemTime,
    ) -> Result<&Proof, IssuerError> {
        let offers: Vec<&Offer> = match id(subject) {
            Some(id) => self.of_id(&id).collect(),
            None => self.list.iter().filter(|offer| offer.proves(subject)).collect(),
        };
        let mut failed = None;
        for offer in offers {
            match offer.check(subject, fit, now) {
                Ok(proof) => return Ok(proof),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| self.not_offered(subject, at)))
    }

    fn not_offered(&self, subject: &Subject, at: &WorkloadEndpoint) -> IssuerError {
        let mut listed: Vec<&str> = self.list.iter().map(|offer| offer.id.as_str()).collect();
        listed.sort_unstable();
        listed.dedup();
        let more = listed.len().saturating_sub(MAX_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let listed = listed.iter().take(MAX_LISTED).copied().collect::<Vec<_>>().join(", ");
        let id = id(subject).unwrap_or_else(|| "ID".to_owned());
        IssuerError::refused(format!(
            "the agent at {at} offers this process no document for {subject}, but {listed}{more}: register it with \
             `spire-server entry create -spiffeID {id}{}`, and parent and selectors of this process",
            dns_flags(subject)
        ))
    }
}

impl Offer {
    /// Whether it is for the control plane by its names.
    fn proves(&self, subject: &Subject) -> bool {
        let proof = self.outcome.as_ref();
        proof.is_ok_and(|proof| given_certificate::check_names(subject, &proof.leaf, Fit::Enough).is_ok())
    }

    fn check(&self, subject: &Subject, fit: Fit, now: SystemTime) -> Result<&Proof, IssuerError> {
        let id = &self.id;
        let proof = self.outcome.as_ref().map_err(|failure| {
            IssuerError::unavailable(format!("the agent's document for {id} is not used"))
                .because(failure.message.clone())
        })?;
        given_certificate::check_names(subject, &proof.leaf, fit).map_err(|error| {
            IssuerError::refused(format!(
                "the agent's document for {id} has other names than an issuer has to give: register it with{}, or \
                 take it from the provider, which asks for the ID alone",
                dns_flags(subject)
            ))
            .because(error)
        })?;
        if verify::is_ending(&proof.leaf, now) {
            let message = format!("the agent has not renewed its document for {id}");
            return Err(IssuerError::unavailable(message).because(Unusable::Ended));
        }
        Ok(proof)
    }
}

/// The SPIFFE ID of a subject that has one.
fn id(subject: &Subject) -> Option<String> {
    subject.names().into_iter().find_map(|name| match name {
        AlternativeName::Uri(uri) => Some(uri),
        _ => None,
    })
}

/// What has a document have a subject's names besides its ID.
fn dns_flags(subject: &Subject) -> String {
    let flag = |name| match name {
        AlternativeName::Dns(name) => Some(format!(" -dns {name}")),
        _ => None,
    };
    subject.names().into_iter().filter_map(flag).collect()
}
