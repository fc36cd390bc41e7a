//! What the issuer gave, judged before anybody has it. Pure.

use std::time::SystemTime;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::issuer::IssuerError;
use osm_certs::request::SigningRequest;
use osm_certs::verify::{self, Unusable};

use super::options::CertManagerOptions;
use super::request::Issued;

/// The longest text that is read: sixteen certificates with keys of RSA have less than half of it.
const LONGEST: usize = 64 * 1024;
/// The most certificates in a chain or among roots.
const MOST: usize = 16;

/// An answer that may be used.
#[derive(Debug)]
pub(super) struct Judged {
    /// Without the roots.
    pub(super) chain: CertificateChain,
    /// The roots that the issuer named, where they are not given.
    pub(super) learnt: Option<TrustBundle>,
}

/// Checks an answer: by the roots that are given, else by those that came with it.
pub(super) fn judge(
    request: &SigningRequest,
    issued: &Issued,
    options: &CertManagerOptions,
    now: SystemTime,
) -> Result<Judged, IssuerError> {
    let issuer = &options.issuer;
    let unreadable = || IssuerError::refused(format!("{issuer} gave a certificate that cannot be read"));
    let text = bounded(&issued.certificate).ok_or_else(unreadable)?;
    let all = CertificateChain::from_pem(text).map_err(|error| unreadable().because(error))?;
    let learnt = match &options.roots {
        Some(_) => None,
        None => Some(named(issued, options)?),
    };
    let trust = options.roots.as_ref().or(learnt.as_ref()).ok_or_else(unreadable)?;
    let (leaf, above) = all.der().split_first().filter(|_| all.der().len() <= MOST).ok_or_else(unreadable)?;
    let above = above.iter().filter(|one| !trust.der().contains(one));
    let chain = CertificateChain::from_der([leaf].into_iter().chain(above).cloned())
        .map_err(|error| unreadable().because(error))?;
    verify::verify(request, &chain, trust, now).map_err(|error| unusable(error, options))?;
    Ok(Judged { chain, learnt })
}

/// The roots that the issuer names.
fn named(issued: &Issued, options: &CertManagerOptions) -> Result<TrustBundle, IssuerError> {
    let refused = |what: &str| {
        IssuerError::refused(format!(
            "{} {what}: give the mesh the roots of this issuer in its settings",
            options.issuer
        ))
    };
    if issued.authority.trim_ascii().is_empty() {
        return Err(refused("names no authority beside its certificates (`status.ca` is empty)"));
    }
    let unreadable = || refused("names an authority that cannot be read");
    let text = bounded(&issued.authority).ok_or_else(unreadable)?;
    let roots = TrustBundle::from_pem(text).map_err(|error| unreadable().because(error))?;
    if roots.der().len() > MOST || !roots.is_of_roots() {
        return Err(refused("names an authority that is no root (`status.ca` is an intermediate)"));
    }
    Ok(roots)
}

fn bounded(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST)
}

fn unusable(error: Unusable, options: &CertManagerOptions) -> IssuerError {
    let issuer = &options.issuer;
    match &error {
        Unusable::NotValidYet | Unusable::Ended => IssuerError::unavailable(format!(
            "the certificate of {issuer} is not valid now: the clocks of this machine and of cert-manager's differ"
        )),
        Unusable::UnknownRoot if options.roots.is_some() => IssuerError::refused(format!(
            "the certificate of {issuer} leads to none of the roots in the mesh's settings: correct these, or the issuer"
        )),
        _ => IssuerError::refused(format!("{issuer} gave a certificate that must not be used")),
    }
    .because(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use osm_certs::enrolment::Enrolment;
    use osm_certs::in_process::{BACKDATING, InProcessCa};
    use osm_certs::issuer::Issuer;
    use osm_certs::subject::Subject;

    use super::*;
    use crate::cert_manager::IssuerRef;

    /// What an authority answers a request, and when about that is.
    async fn answered(ca: &InProcessCa) -> (SigningRequest, Issued, SystemTime) {
        let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"));
        let made = Enrolment::new(subject, Duration::from_secs(3600)).expect("a request");
        let chain = ca.sign(&made.request).await.expect("a chain");
        let (certificate, authority) = (chain.pem().as_bytes().to_vec(), ca.root().pem().as_bytes().to_vec());
        (made.request, Issued { certificate, authority }, SystemTime::now())
    }

    fn options() -> CertManagerOptions {
        CertManagerOptions::new("mesh".parse().expect("a name"), "osm", IssuerRef::issuer("osm-ca"))
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_valid_by_this_clock_may_be_later_and_is_no_refusal() {
        let ca = InProcessCa::ephemeral().expect("an authority");
        let (request, issued, now) = answered(&ca).await;
        for clock in [now - BACKDATING - Duration::from_secs(60), now + Duration::from_secs(3600)] {
            let error = judge(&request, &issued, &options(), clock).expect_err("it is not valid");
            assert!(matches!(error, IssuerError::Unavailable { .. }), "{error:?}");
            assert!(
                error.to_string().contains("clocks of this machine and of cert-manager's differ"),
                "{error}"
            );
        }
        judge(&request, &issued, &options(), now).expect("the clock is right again");
    }

    #[tokio::test]
    async fn where_roots_are_given_what_the_issuer_names_is_not_looked_at() {
        let ca = InProcessCa::ephemeral().expect("an authority");
        let (request, mut issued, now) = answered(&ca).await;
        issued.authority = InProcessCa::ephemeral().expect("an authority").root().pem().as_bytes().to_vec();
        let given = options().with_roots(ca.root().clone());
        let judged = judge(&request, &issued, &given, now).expect("it leads to what is given");
        assert_eq!(judged.learnt, None);
        issued.authority.clear();
        judge(&request, &issued, &given, now).expect("it need name none");
    }
}
