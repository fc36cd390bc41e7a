//! From a root of one trust domain to one of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_certs::provider::CertificateProvider;
use osm_certs::request::SigningRequest;
use osm_certs::rotation::{Holdup, Progress, Role, Stage, Step, Wanted};
use osm_certs::subject::Subject;
use osm_certs::testing::FakeIssuer;

use crate::around::names;
use crate::mesh::{Mesh, name, wish};

/// The same workload in the trust domain of the other root.
fn renamed() -> Subject {
    Subject::Workload("spiffe://next.example/till/shop".parse().expect("a SPIFFE ID"))
}

fn want(mesh: &Mesh, roles: &[(&str, Role)]) {
    let domains = [("a", "cluster.local"), ("b", "next.example")];
    let domains = domains.map(|(root, domain)| (name(root), domain.parse().expect("a name")));
    let wish = wish(roles).with_domains(domains.into());
    mesh.wish.send_replace(Some(Wanted { wish, patience: None }));
}

#[tokio::test(start_paused = true)]
async fn both_names_are_known_before_one_is_used_and_until_the_other_is_not() {
    let mut mesh = Mesh::start();
    want(&mesh, &[("a", Role::Active)]);
    let status = mesh.settles().await;
    assert_eq!(status.stage.domains.len(), 1, "the trust domain is written down where it was not");
    assert_eq!(mesh.around.domains(), ["unknown", "cluster.local"]);

    want(&mesh, &[("b", Role::Active)]);
    // The workload has its old name still, whoever signs for it.
    let keeps = Holdup::Keeps("this".into());
    let status = mesh.waits_for(&Step::Replace(name("a")), &[keeps]).await;
    assert_eq!(status.stage.trusted, names(&["a", "b"]));
    assert_eq!(
        mesh.around.domains()[2..],
        ["cluster.local, next.example".to_owned(), "next.example, cluster.local".to_owned()]
    );
    mesh.is_of(&mesh.workload, "a").await;

    let renewed = mesh.manager.watch(&renamed());
    mesh.is_of(&renewed, "b").await;
    mesh.workload = renewed;
    let status = mesh.settles().await;
    assert_eq!((status.stage.trusted.clone(), status.stage.domains.len()), (names(&["b"]), 1));
    assert_eq!(mesh.around.domains().last().map(String::as_str), Some("next.example"));
}

/// An issuer that does not allow the names of workloads.
struct OnlyServers(Arc<FakeIssuer>);

#[async_trait]
impl Issuer for OnlyServers {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        match request.subject() {
            Subject::ControlPlane { .. } => self.0.sign(request).await,
            subject => Err(IssuerError::refused(format!("{subject} is not allowed"))),
        }
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.0.trust_bundle().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_allow_the_new_names_is_named_before_anybody_has_one() {
    let mesh = Mesh::start();
    mesh.authorities.set(name("b"), Arc::new(OnlyServers(Arc::clone(&mesh.issuers["b"]))));
    want(&mesh, &[("b", Role::Active)]);
    let status = mesh.eventually("refusing a name", |status| match &status.progress {
        Progress::Waiting(waiting) => matches!(
            &waiting.holdups[..],
            [Holdup::Issuer(_, why)] if why.contains("spiffe://next.example/osm-trial/osm-trial is not allowed")
        ),
        _ => false,
    });
    assert_eq!(status.await.stage.issuing, name("a"));
    // Where names stay as they are, it is not asked for any.
    let domains = ["a", "b"].map(|root| (name(root), "cluster.local".parse().expect("a name")));
    let mesh = Mesh::start();
    mesh.authorities.set(name("b"), Arc::new(OnlyServers(Arc::clone(&mesh.issuers["b"]))));
    let wish = wish(&[("b", Role::Active)]).with_domains(domains.into());
    mesh.wish.send_replace(Some(Wanted { wish, patience: None }));
    mesh.eventually("signing by b", |status| status.stage.issuing == name("b")).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_mind_leads_back_to_the_old_name() {
    let mesh = Mesh::start();
    want(&mesh, &[("a", Role::Active)]);
    mesh.settles().await;
    want(&mesh, &[("b", Role::Active)]);
    let renewed = mesh.manager.watch(&renamed());
    mesh.is_of(&renewed, "b").await;
    want(&mesh, &[("a", Role::Active)]);
    mesh.waits_for(&Step::Replace(name("b")), &[Holdup::Keeps("this".into())]).await;
    drop(renewed);
    let status = mesh.settles().await;
    assert_eq!(status.stage.trusted, names(&["a"]));
    mesh.is_of(&mesh.workload, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_of_an_older_version_that_leaves_trust_domains_out_renames_nobody() {
    let mesh = Mesh::start();
    want(&mesh, &[("b", Role::Active)]);
    let keeps = Holdup::Keeps("this".into());
    mesh.waits_for(&Step::Replace(name("a")), std::slice::from_ref(&keeps)).await;
    let before = mesh.around.domains();
    let stage = mesh.store.stage().expect("one is written");
    let forgetful = Stage { number: stage.number + 1, domains: BTreeMap::new(), ..stage.clone() };
    mesh.store.put(Some(forgetful));
    mesh.eventually("writing them again", |status| status.stage.number == stage.number + 2).await;
    assert_eq!(mesh.store.stage().expect("one is written").domains, stage.domains);
    assert_eq!(mesh.around.domains(), before);
}
