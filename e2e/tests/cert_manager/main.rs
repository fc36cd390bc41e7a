//! The issuer by the real cert-manager on a real API server: that it conforms with the rights that are documented, and
//! what it says of refusals, of what is missing and of outages.

#[path = "../../../osm-k8s/tests/support/eventually.rs"]
mod eventually;
mod faults;
mod fixture;
#[path = "../../../osm-certs/tests/support/serving.rs"]
mod serving;

use std::sync::Arc;
use std::time::Duration;

use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_certs::testing::conformance;
use osm_certs::verify;
use osm_k8s::cert_manager::{CertManagerIssuer, IssuerRef};
use osm_k8s::objects::ObjectKey;
use serde_json::json;

use eventually::{eventually, within};
use fixture::{Fixture, MESH, REQUESTS, assert_refused, assert_unavailable, run};

/// As long as the issuer waits unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(25);
/// Enough for a request of which nothing comes.
const BRIEF: Duration = Duration::from_secs(3);

fn workload() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"))
}

fn enrolment() -> Enrolment {
    Enrolment::new(workload(), Duration::from_secs(3600)).expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn issuers_of_a_namespace_and_of_the_cluster_conform_with_the_rights_that_are_documented() {
    let fixture = Fixture::start(true).await;
    fixture.permit().await;
    for issuer in [IssuerRef::issuer("osm-ca"), IssuerRef::cluster_issuer("osm-cluster-ca")] {
        fixture.make_issuer(&issuer).await;
        let test = async |issuer: CertManagerIssuer| {
            conformance::assert_conforms(&issuer).await;
            fixture.no_request_is_left().await;
        };
        run(fixture.asking(&issuer, PATIENCE).await, test).await;
    }
    an_authority_that_is_replaced(&fixture).await;
    an_issuer_that_is_missing(&fixture).await;
}

/// Its certificates serve when it is trusted, and the certificates of the one before are trusted still.
async fn an_authority_that_is_replaced(fixture: &Fixture) {
    let test = async |issuer: CertManagerIssuer| {
        let (manager, driver) = CertificateManager::new(Arc::new(issuer), ManagerOptions::default());
        let replaced = async {
            let (mut certificates, trust) = (manager.watch(&workload()), manager.trust());
            let old = certificates.ready().await.expect("a certificate");
            let before = trust.current().expect("roots");
            renew(fixture, "osm-ca").await;
            let after = eventually("there is another root", async || {
                manager.rotate_now();
                let now = trust.current().expect("roots");
                let certificate = certificates.current().expect("a certificate");
                let time = std::time::SystemTime::now();
                for chain in [certificate.chain(), old.chain()] {
                    verify::leads_to(chain, &now, workload().usages(), time).expect("what serves is trusted");
                }
                (now.der().len() == 2).then_some(now)
            })
            .await;
            assert!(after.der().starts_with(before.der()));
            eventually("a certificate is under the other root", async || {
                let certificate = certificates.current().expect("a certificate");
                let time = std::time::SystemTime::now();
                verify::leads_to(certificate.chain(), &before, workload().usages(), time)
                    .is_err()
                    .then_some(())
            })
            .await;
        };
        tokio::select! {
            () = replaced => {}
            () = driver.run() => unreachable!("it never returns"),
        }
        // One that was under way is deleted by the issuer's driver, as long as that runs.
        fixture.no_request_is_left().await;
    };
    run(fixture.asking(&IssuerRef::issuer("osm-ca"), PATIENCE).await, test).await;
}

/// Has cert-manager make a root anew, with another key, as `cmctl renew` does.
async fn renew(fixture: &Fixture, certificate: &str) {
    let key = ObjectKey::namespaced("cert-manager.io/v1", "Certificate", MESH, certificate);
    let condition =
        json!({ "type": "Issuing", "status": "True", "reason": "Test", "message": "another one" });
    fixture.objects.merge_status(&key, &json!({ "conditions": [condition] })).await.expect("it is there");
}

/// It is named with what cert-manager says, and serves as soon as somebody makes it.
async fn an_issuer_that_is_missing(fixture: &Fixture) {
    let missing = IssuerRef::issuer("later");
    let test = async |issuer: CertManagerIssuer| {
        assert_unavailable(
            issuer.sign(&enrolment().request).await,
            "Issuer later is not ready: Referenced \"Issuer\" not found",
        );
        assert_eq!(conformance::check_unavailable(&issuer).await, None);
        fixture.make_issuer(&missing).await;
        issuer.sign(&enrolment().request).await.expect("a chain");
    };
    run(fixture.asking(&missing, BRIEF).await, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn what_an_approver_denies_is_refused_and_what_none_approves_is_given_up() {
    let fixture = Fixture::start(false).await;
    fixture.permit().await;
    let test = async |issuer: CertManagerIssuer| {
        assert_unavailable(
            issuer.sign(&enrolment().request).await,
            "nobody has approved or denied the request",
        );
        fixture.no_request_is_left().await;
        let denied = async {
            let request = enrolment();
            assert_refused(issuer.sign(&request.request).await, "it was denied: not for the likes of you");
            assert_eq!(conformance::check_refused(&issuer).await, None);
        };
        tokio::select! {
            () = denied => {}
            () = deny(&fixture) => unreachable!("it never returns"),
        }
    };
    run(fixture.asking(&IssuerRef::issuer("osm-ca"), BRIEF).await, test).await;
}

/// An approver that denies every request of the mesh.
async fn deny(fixture: &Fixture) {
    loop {
        let request = eventually("there is a request", async || {
            let all = fixture.objects.list(REQUESTS, Some(MESH), "").await.expect("an answer");
            all.into_iter().find(|one| one.pointer("/status/conditions").is_none())
        })
        .await;
        let status = json!({ "conditions": [{
            "type": "Denied", "status": "True", "reason": "test", "message": "not for the likes of you",
        }] });
        let key = ObjectKey::of(&request).expect("an object");
        match fixture.objects.merge_status(&key, &status).await {
            Err(error) if error.is_not_found() => {}
            denied => denied.expect("an approver may do that"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn what_is_missing_in_a_cluster_is_named_and_an_api_server_that_is_away_is_an_outage() {
    let fixture = Fixture::bare().await;
    let asking = fixture.asking(&IssuerRef::issuer("osm-ca"), BRIEF).await;
    let test = async |issuer: CertManagerIssuer| {
        assert_refused(
            issuer.sign(&enrolment().request).await,
            "give the mesh's service account create, list, watch",
        );
        fixture.permit().await;
        assert_refused(issuer.sign(&enrolment().request).await, "install cert-manager");
        assert_eq!(conformance::check_refused(&issuer).await, None);
        fixture.define().await;
        eventually("requests are made and watched", async || {
            let error = issuer.sign(&enrolment().request).await.expect_err("nobody signs");
            error.to_string().contains("nobody has approved or denied the request").then_some(())
        })
        .await;
        drop(fixture);
        assert_unavailable(issuer.sign(&enrolment().request).await, "the API server cannot be asked");
        assert_eq!(conformance::check_unavailable(&issuer).await, None);
    };
    run(asking, test).await;
}
