//! The conformance kit on this crate's issuers, and on planted mistakes.

use std::time::Duration;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_certs::request::SigningRequest;
use osm_certs::testing::{Behaviour, FakeIssuer, conformance};

#[tokio::test]
async fn the_in_process_authority_conforms() {
    conformance::assert_conforms(&InProcessCa::ephemeral().expect("an authority")).await;
}

#[tokio::test]
async fn an_authority_from_a_folder_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    InProcessCa::create_or_load(folder.path()).expect("it is made");
    conformance::assert_conforms(&InProcessCa::create_or_load(folder.path()).expect("it is loaded")).await;
}

#[tokio::test]
async fn the_fake_issuer_conforms_while_it_is_told_nothing() {
    conformance::assert_conforms(&FakeIssuer::new().expect("an issuer")).await;
}

#[tokio::test]
async fn each_wrong_answer_is_found() {
    for (behaviour, expected) in [
        (Behaviour::WrongNames, "has other names: asked for [URI spiffe://cluster.local/till/shop, DNS till"),
        (Behaviour::WrongKey, "is for another key"),
        (Behaviour::Ended, "has ended"),
        (Behaviour::TooLong, "is valid for longer than the 3600 s that were asked for"),
        (Behaviour::WrongRoot, "leads to no root"),
        (Behaviour::Unavailable, "Unavailable"),
    ] {
        let issuer = FakeIssuer::new().expect("an issuer");
        issuer.then([behaviour]);
        let findings = conformance::check(&issuer).await;
        assert_eq!(findings.len(), 1, "{behaviour:?}: {findings:?}");
        assert!(findings[0].to_string().contains(expected), "{behaviour:?}: {}", findings[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_by_who_can_act() {
    let issuer = FakeIssuer::new().expect("an issuer");
    issuer.otherwise(Behaviour::Unavailable);
    assert_eq!(conformance::check_unavailable(&issuer).await, None);
    let wrong = conformance::check_refused(&issuer).await.expect("it is the other kind");
    assert!(wrong.detail.contains("Unavailable"), "{wrong}");
    issuer.otherwise(Behaviour::Refused);
    assert_eq!(conformance::check_refused(&issuer).await, None);
    assert!(conformance::check_unavailable(&issuer).await.is_some());
    issuer.otherwise(Behaviour::Never);
    assert!(conformance::check_unavailable(&issuer).await.is_some());
    issuer.otherwise(Behaviour::Right);
    assert!(conformance::check_refused(&issuer).await.is_some());
}

/// Signs as it should, but remembers its first answer.
struct Forgetful(InProcessCa, tokio::sync::Mutex<Option<CertificateChain>>);

#[async_trait]
impl Issuer for Forgetful {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        // Dropped here, it would leave nothing behind; it must be usable afterwards.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let chain = self.0.sign(request).await?;
        Ok(self.1.lock().await.get_or_insert(chain).clone())
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.0.trust_bundle().await
    }
}

#[tokio::test]
async fn an_answer_to_another_request_is_found() {
    let issuer = Forgetful(InProcessCa::ephemeral().expect("an authority"), Default::default());
    let findings = conformance::check(&issuer).await;
    assert!(findings.iter().any(|finding| finding.check.starts_with("a thousand")), "{findings:?}");
}
