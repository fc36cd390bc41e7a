//! What goes wrong with cert-manager and with issuers behind it: told by its kind, served through, and over without a restart.
//! Denials and silence are those of the real cert-manager; bad certificates are those of an issuer of somebody else's, which
//! answers on the same real API server.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, FailureKind};
use osm_certs::request::SigningRequest;
use osm_certs::subject::Subject;
use osm_certs::testing::{Behaviour, FakeIssuer};
use osm_k8s::cert_manager::IssuerRef;
use osm_k8s::objects::ObjectKey;
use parking_lot::Mutex;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::fixture::{Fixture, MESH, REQUESTS};
use crate::serving::{Serving, impatient, till};

/// How long the issuer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often is looked for requests.
const LOOK: Duration = Duration::from_millis(50);

/// What comes of the mesh's requests.
#[derive(Debug, Clone, Copy)]
enum Answers {
    Nothing,
    Denial,
    Approval,
    /// What the issuer of somebody else's gives.
    Certificates,
}

/// A mesh, and who answers it.
struct Site {
    fixture: Fixture,
    issuer: IssuerRef,
    answers: Mutex<Answers>,
    /// The issuer of somebody else's.
    foreign: FakeIssuer,
}

impl Site {
    /// The real cert-manager, which somebody else approves for.
    async fn of_cert_manager() -> Self {
        let fixture = Fixture::start(false).await;
        Self::new(fixture, IssuerRef::issuer("osm-ca"), Answers::Approval).await
    }

    /// An issuer of somebody else's.
    async fn of_another() -> Self {
        let fixture = Fixture::bare().await;
        fixture.define().await;
        Self::new(fixture, IssuerRef::external("ours", "Pool", "ca.example.org"), Answers::Certificates).await
    }

    async fn new(fixture: Fixture, issuer: IssuerRef, answers: Answers) -> Self {
        fixture.permit().await;
        let foreign = FakeIssuer::new().expect("an authority");
        Self { fixture, issuer, answers: Mutex::new(answers), foreign }
    }

    /// Runs a test of a certificate that is served, with roots that are given if there are any.
    async fn serve(&self, roots: Option<TrustBundle>, test: impl AsyncFnOnce(&Serving)) {
        let served = async {
            if self.issuer.group == "cert-manager.io" {
                self.fixture.make_issuer(&self.issuer).await;
            }
            let (issuer, requests) = self.fixture.asking_with(&self.issuer, PATIENCE, roots).await;
            let (manager, driver) = CertificateManager::new(Arc::new(issuer), impatient());
            tokio::select! {
                () = async { test(&Serving::by(manager).await).await } => {}
                () = driver.run() => unreachable!("it never returns"),
                () = requests.run() => unreachable!("it never returns"),
            }
        };
        tokio::select! {
            () = served => {}
            () = self.answer() => unreachable!("it never returns"),
        }
    }

    /// Has one thing come of requests, for which a renewal fails, then the other, for which it succeeds.
    async fn is_served_through(&self, fault: Answers, kind: FailureKind, said: &str) {
        let good = *self.answers.lock();
        self.serve(None, async |serving| {
            *self.answers.lock() = fault;
            serving.fails(kind, said).await;
            *self.answers.lock() = good;
            serving.renews().await;
        })
        .await;
    }

    /// The same of certificates.
    async fn certificates_are_refused(&self, fault: Behaviour, roots: Option<TrustBundle>, said: &str) {
        self.serve(roots, async |serving| {
            self.foreign.otherwise(fault);
            serving.fails(FailureKind::Refused, said).await;
            self.foreign.otherwise(Behaviour::Right);
            serving.renews().await;
        })
        .await;
    }

    /// Answers requests that nobody has answered.
    async fn answer(&self) {
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            let objects = &self.fixture.objects;
            let all = objects.list(REQUESTS, Some(MESH), "").await.expect("an answer");
            for request in all.iter().filter(|one| one.pointer("/status/conditions").is_none()) {
                let Some(status) = self.status(request).await else { continue };
                let key = ObjectKey::of(request).expect("an object");
                match objects.merge_status(&key, &status).await {
                    Err(error) if error.is_not_found() => {}
                    answered => answered.expect("who approves and who signs may do that"),
                }
            }
        }
    }

    async fn status(&self, request: &Value) -> Option<Value> {
        let answers = *self.answers.lock();
        let condition =
            |name: &str| json!([{ "type": name, "status": "True", "reason": "test", "message": "so it is" }]);
        match answers {
            Answers::Nothing => None,
            Answers::Denial => Some(json!({ "conditions": condition("Denied") })),
            Answers::Approval => Some(json!({ "conditions": condition("Approved") })),
            Answers::Certificates => {
                let chain = self.foreign.sign(&read(request)).await.expect("a chain");
                let roots = self.foreign.trust_bundle().await.expect("roots");
                let [certificate, ca] = [chain.pem(), roots.pem()].map(|text| STANDARD.encode(text));
                Some(json!({ "conditions": condition("Ready"), "certificate": certificate, "ca": ca }))
            }
        }
    }
}

/// What a request asks for: the certificate that is served, or the one by which roots are learnt.
fn read(object: &Value) -> SigningRequest {
    let text = |member: &str| object["spec"][member].as_str().expect("a text");
    let pem = STANDARD.decode(text("request")).expect("base64");
    let csr = CertificateSigningRequestDer::from_pem_slice(&pem).expect("a certification request");
    let validity = text("duration").strip_suffix('s').and_then(|seconds| seconds.parse().ok());
    let validity = Duration::from_secs(validity.expect("seconds"));
    let probe = Subject::control_plane([format!("init-cert.{MESH}.svc").parse().expect("a name")]);
    let mut read = [till(), probe].into_iter().map(|one| SigningRequest::new(one, csr.clone(), validity));
    read.find_map(Result::ok).expect("a subject of these tests")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn a_denial_is_told_with_its_reason_and_served_through_until_requests_are_approved_again() {
    let said = "it was denied: so it is";
    Site::of_cert_manager().await.is_served_through(Answers::Denial, FailureKind::Refused, said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn requests_that_nobody_answers_are_given_up_and_served_through_until_somebody_does() {
    let said = "nobody has approved or denied the request";
    Site::of_cert_manager().await.is_served_through(Answers::Nothing, FailureKind::Unavailable, said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn a_chain_for_another_key_is_not_used_and_the_next_one_is() {
    let site = Site::of_another().await;
    site.certificates_are_refused(Behaviour::WrongKey, None, "the certificate is for another key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn a_chain_for_other_names_is_not_used_and_the_next_one_is() {
    let site = Site::of_another().await;
    site.certificates_are_refused(Behaviour::WrongNames, None, "the certificate has other names").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager, etcd and kube-apiserver: built by `cargo xtask test`"]
async fn a_chain_of_an_authority_that_is_not_in_the_bundle_is_not_used_and_its_root_not_trusted() {
    let site = Site::of_another().await;
    let named = "the certificate leads to no root of the trust bundle";
    site.certificates_are_refused(Behaviour::WrongRoot, None, named).await;
    let given = site.foreign.trust_bundle().await.expect("roots");
    let said = "leads to none of the roots in the mesh's settings";
    site.certificates_are_refused(Behaviour::WrongRoot, Some(given), said).await;
}
