//! Several issuers as one: who signs and makes keys, and what is refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use osm_certs::request::SigningRequest;
use osm_certs::rotation::{Authorities, Stage};
use osm_certs::subject::Subject;
use osm_certs::testing::{Behaviour, FakeIssuer};

use crate::around::names;
use crate::mesh::{ders, name, workload};

const HOUR: Duration = Duration::from_secs(3600);

fn stage() -> Stage {
    Stage::first(name("a"), SystemTime::now())
}

fn fake() -> Arc<FakeIssuer> {
    Arc::new(FakeIssuer::new().expect("an issuer"))
}

/// Signs, and makes keys for workloads besides.
struct Maker(Arc<FakeIssuer>);

#[async_trait]
impl Issuer for Maker {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.0.sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.0.trust_bundle().await
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }

    fn makes_keys_for(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Workload(_))
    }
}

#[async_trait]
impl KeyMaker for Maker {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        let Enrolment { key, request } = Enrolment::new(subject.clone(), validity).expect("a key");
        Ok(Issued { key, chain: self.0.sign(&request).await? })
    }
}

async fn sign(authorities: &Authorities) -> Result<CertificateChain, IssuerError> {
    let request = Enrolment::new(workload(), HOUR).expect("a key").request;
    authorities.sign(&request).await
}

#[tokio::test]
async fn the_stage_says_who_signs_for_whom() {
    let authorities = Authorities::new(stage());
    assert!(matches!(sign(&authorities).await, Err(IssuerError::Unavailable { .. })), "nobody is there yet");
    for root in ["a", "b"] {
        authorities.set(name(root), fake());
    }
    let trusted = names(&["a", "b"]);
    authorities.enter(Stage { issuing: name("b"), trusted, ..stage() });
    let chain = sign(&authorities).await.expect("it signs");
    let known = authorities.known();
    assert_eq!(known.signer(&chain, &name("a"), SystemTime::now()), Some(name("b")));
    let servers = Subject::control_plane(["osm-controller".parse().expect("a name")]);
    assert_eq!((authorities.root_for(&workload()), authorities.root_for(&servers)), (name("b"), name("a")));
}

#[tokio::test]
async fn a_certificate_of_another_root_than_the_issuers_own_is_refused() {
    let (a, b) = (fake(), fake());
    let authorities = Authorities::new(stage());
    authorities.set(name("a"), Arc::clone(&a) as _);
    authorities.set(name("b"), Arc::clone(&b) as _);
    a.then([Behaviour::WrongRoot]);
    let refused = sign(&authorities).await.expect_err("it has another root");
    assert!(
        matches!(refused, IssuerError::Refused { .. })
            && refused.to_string().contains("root a signs by another"),
        "{refused}"
    );
    // That of another member, which is trusted as well, is no better: it may be withdrawn.
    authorities.set(name("a"), Arc::new(Crossed { signs: Arc::clone(&b), tells: Arc::clone(&a) }));
    authorities.enter(Stage { trusted: names(&["a", "b"]), ..stage() });
    let refused = sign(&authorities).await.expect_err("it is of the other one");
    assert!(matches!(refused, IssuerError::Refused { .. }), "{refused}");
    // An issuer that has another root since it was asked last is asked again.
    authorities.set(name("a"), Arc::clone(&a) as _);
    sign(&authorities).await.expect("it signs");
    a.replace_root().expect("a root");
    sign(&authorities).await.expect("it signs");
}

/// Signs by the root of one, and tells that of another.
struct Crossed {
    signs: Arc<FakeIssuer>,
    tells: Arc<FakeIssuer>,
}

#[async_trait]
impl Issuer for Crossed {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.signs.sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.tells.trust_bundle().await
    }
}

#[tokio::test]
async fn who_makes_keys_is_whose_turn_it_is() {
    let authorities = Authorities::new(stage());
    let made = fake();
    authorities.set(name("a"), fake());
    authorities.set(name("b"), Arc::new(Maker(Arc::clone(&made))));
    let maker = authorities.key_maker().expect("one of them may");
    assert!(!authorities.makes_keys_for(&workload()));
    let late = maker.make(&workload(), HOUR).await.expect_err("this one makes none");
    assert!(matches!(late, IssuerError::Unavailable { .. }), "{late}: it is tried again, with a key of ours");
    authorities.enter(Stage { issuing: name("b"), trusted: names(&["a", "b"]), ..stage() });
    assert!(authorities.makes_keys_for(&workload()));
    let servers = Subject::control_plane(["osm-controller".parse().expect("a name")]);
    assert!(!authorities.makes_keys_for(&servers));
    let issued = maker.make(&workload(), HOUR).await.expect("it makes one");
    let signer = authorities.known().signer(&issued.chain, &name("a"), SystemTime::now());
    assert_eq!(signer, Some(name("b")));
    made.then([Behaviour::WrongRoot]);
    let refused = maker.make(&workload(), HOUR).await.expect_err("it has another root");
    assert!(matches!(refused, IssuerError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn two_roots_with_the_same_certificates_are_trusted_once() {
    let issuer = fake();
    let authorities = Authorities::new(Stage { trusted: names(&["a", "b"]), ..stage() });
    for root in ["a", "b"] {
        authorities.set(name(root), Arc::clone(&issuer) as _);
    }
    let own = issuer.trust_bundle().await.expect("it tells");
    assert_eq!(ders(&authorities.trust_bundle().await.expect("they tell")), ders(&own));
    assert_eq!(authorities.known().within(&own), names(&["a", "b"]));
    // The one that is asked about counts.
    let chain = sign(&authorities).await.expect("it signs");
    for root in ["a", "b"] {
        assert_eq!(authorities.known().signer(&chain, &name(root), SystemTime::now()), Some(name(root)));
    }
}

#[tokio::test]
async fn what_is_trusted_stays_and_a_root_that_was_never_known_is_no_part_of_nothing() {
    let (a, b) = (fake(), fake());
    let authorities = Authorities::new(Stage { trusted: names(&["a", "b"]), ..stage() });
    authorities.set(name("a"), Arc::clone(&a) as _);
    authorities.set(name("b"), Arc::clone(&b) as _);
    b.trust(Behaviour::Unavailable);
    authorities.trust_bundle().await.expect_err("without b it would be less than all");
    b.trust(Behaviour::Right);
    let both = authorities.trust_bundle().await.expect("both tell");
    b.trust(Behaviour::Refused);
    assert_eq!(authorities.trust_bundle().await.expect("what was known counts"), both);
    assert!(!authorities.remove(&name("b")), "it is trusted");
    authorities.enter(stage());
    assert!(authorities.remove(&name("b")));
    assert_eq!((authorities.roots(), authorities.known().names()), (names(&["a"]), names(&["a"])));
}
