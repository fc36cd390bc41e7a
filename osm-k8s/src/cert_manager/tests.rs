//! The issuer before an API server that is made up: for what the real ones can't be made to do.

mod fake;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::FutureExt;
use http::StatusCode;
use k8s_openapi::ByteString;
use osm_certs::certificate::CertificateChain;
use osm_certs::in_process::InProcessCa;
use osm_certs::subject::Subject;
use osm_certs::testing::{Behaviour, FakeIssuer};
use parking_lot::Mutex;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::testing::{Answer, Asked, Log};
use fake::Fake;

const VALIDITY: Duration = Duration::from_secs(3600);

/// The request of an object, for whichever of the subjects of these tests it is.
fn read(object: &Value) -> SigningRequest {
    let pem: ByteString = serde_json::from_value(object["spec"]["request"].clone()).expect("base64");
    let csr = CertificateSigningRequestDer::from_pem_slice(&pem.0).expect("a certification request");
    let control_plane = Subject::control_plane(["init-cert.mesh.svc".parse().expect("a name")]);
    let mut read = [workload(), control_plane]
        .into_iter()
        .map(|subject| SigningRequest::new(subject, csr.clone(), VALIDITY));
    read.find_map(Result::ok).expect("a subject of these tests")
}

fn workload() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"))
}

fn enrolment() -> Enrolment {
    Enrolment::new(workload(), VALIDITY).expect("a request")
}

fn options() -> CertManagerOptions {
    CertManagerOptions::new("mesh".parse().expect("a name"), "osm", IssuerRef::issuer("osm-ca"))
}

fn condition(name: &str, status: &str, reason: &str) -> Value {
    json!({ "conditions": [{ "type": name, "status": status, "reason": reason, "message": "so it is" }] })
}

fn issued(certificate: &str, authority: &str) -> Value {
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut status = condition("Ready", "True", "Issued");
    status["certificate"] = json!(text(certificate));
    status["ca"] = json!(text(authority));
    status
}

/// What an issuer with these roots gives.
async fn signed(ca: &FakeIssuer, request: &SigningRequest) -> (CertificateChain, TrustBundle) {
    (ca.sign(request).await.expect("a chain"), ca.trust_bundle().await.expect("roots"))
}

fn deletions(log: &Log) -> usize {
    log.times("DELETE").len()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_asked_for_and_its_request_goes() {
    let ca = FakeIssuer::new().expect("an authority");
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let fake = Fake::new(move |asked| {
        if asked.method == "POST" {
            seen.lock().push(asked.body.clone());
        }
        None
    });
    let controller = async |request: &SigningRequest| {
        let (chain, roots) = signed(&ca, request).await;
        Some(issued(&format!("{}{}", chain.pem(), roots.pem()), roots.pem()))
    };
    let test = async |issuer: CertManagerIssuer| issuer.sign(&enrolment().request).await;
    let (chain, log) = fake.run(options(), controller, test).await;
    assert_eq!(chain.expect("a chain").der().len(), 1, "the root is not in it");
    let path = "/apis/cert-manager.io/v1/namespaces/mesh/certificaterequests";
    assert_eq!(log.times(&format!("POST {path}")).len(), 1);
    assert_eq!(log.times(&format!("DELETE {path}/osm-0")).len(), 1);
    let body = &bodies.lock()[0];
    assert_eq!(body["metadata"]["generateName"], "osm-");
    assert_eq!(body["metadata"]["labels"]["app.kubernetes.io/instance"], "osm");
    assert_eq!(body["spec"]["duration"], "3600s");
    assert_eq!(body["spec"]["usages"], json!(["digital signature", "client auth", "server auth"]));
    let issuer = json!({ "name": "osm-ca", "kind": "Issuer", "group": "cert-manager.io" });
    assert_eq!(body["spec"]["issuerRef"], issuer);
}

/// Has requests answered with a status, then as it should be: the first is refused with these words, the second
/// signed, and no root is believed but the right one.
async fn refuses(
    options: CertManagerOptions,
    ca: &FakeIssuer,
    bad: impl AsyncFn(&SigningRequest) -> Value,
    words: &str,
) {
    let count = AtomicU64::new(0);
    let controller = async |request: &SigningRequest| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Some(bad(request).await);
        }
        let (chain, roots) = signed(ca, request).await;
        Some(issued(chain.pem(), roots.pem()))
    };
    let test = async |issuer: CertManagerIssuer| {
        let error = issuer.sign(&enrolment().request).await.expect_err("it must not be used");
        assert!(matches!(error, IssuerError::Refused { .. }), "{words}: {error:?}");
        let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(words), "{words}: {text}");
        issuer.sign(&enrolment().request).await.expect("a chain");
        issuer.trust_bundle().await.expect("roots")
    };
    let (roots, log) = Fake::new(|_| None).run(options, controller, test).await;
    assert_eq!(roots, ca.trust_bundle().await.expect("roots"), "{words}");
    assert_eq!(deletions(&log), 2, "{words}");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_used_is_refused_and_its_authority_not_believed() {
    let ca = FakeIssuer::new().expect("an authority");
    let stranger = InProcessCa::ephemeral().expect("an authority");
    for (behaviour, words) in [
        (Behaviour::WrongKey, "for another key"),
        (Behaviour::WrongNames, "has other names"),
        (Behaviour::WrongRoot, "leads to no root"),
    ] {
        let bad = async |request: &SigningRequest| {
            ca.then([behaviour]);
            let (chain, roots) = signed(&ca, request).await;
            issued(chain.pem(), &format!("{}{}", roots.pem(), roots.pem()))
        };
        refuses(options(), &ca, bad, words).await;
    }
    let given = options().with_roots(ca.trust_bundle().await.expect("roots"));
    let foreign = async |request: &SigningRequest| {
        let chain = stranger.sign(request).await.expect("a chain");
        issued(chain.pem(), stranger.root().pem())
    };
    refuses(given, &ca, foreign, "leads to none of the roots in the mesh's settings").await;
    let nameless = async |request: &SigningRequest| issued(signed(&ca, request).await.0.pem(), "");
    refuses(options(), &ca, nameless, "`status.ca` is empty").await;
    let no_root = async |request: &SigningRequest| {
        let (chain, _) = signed(&ca, request).await;
        issued(chain.pem(), chain.pem())
    };
    refuses(options(), &ca, no_root, "names an authority that is no root").await;
    let garbage = async |_: &SigningRequest| issued("garbage", "garbage");
    refuses(options(), &ca, garbage, "cannot be read").await;
    let huge = async |request: &SigningRequest| {
        let (chain, roots) = signed(&ca, request).await;
        issued(&chain.pem().repeat(200), roots.pem())
    };
    refuses(options(), &ca, huge, "cannot be read").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_failed_or_invalid_is_refused_with_the_reason() {
    let ca = FakeIssuer::new().expect("an authority");
    let table = [
        (condition("Denied", "True", "policy"), "it was denied: so it is"),
        (condition("Ready", "False", "Failed"), "it failed: so it is"),
        (condition("InvalidRequest", "True", ""), "it was said to be invalid: so it is"),
    ];
    for (status, words) in table {
        refuses(options(), &ca, async |_| status.clone(), words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_answers_is_given_up_with_who_may_be_missing() {
    let begun = Instant::now();
    let test = async |issuer: CertManagerIssuer| issuer.sign(&enrolment().request).await;
    let (signed, log) = Fake::new(|_| None).run(options(), async |_| None, test).await;
    let error = signed.expect_err("nobody signs");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("has not shown the request"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "sooner than the manager gives up");
    assert_eq!(deletions(&log), 1);
    let pending = async |_: &SigningRequest| Some(condition("Ready", "False", "Pending"));
    let (signed, _) = Fake::new(|_| None).run(options(), pending, test).await;
    let error = signed.expect_err("nobody signs");
    assert!(error.to_string().contains("Issuer osm-ca is not ready: so it is"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_watch_is_told_what_is_needed() {
    let fake = Fake::new(|asked| (asked.method == "GET").then(|| Answer::refusal(StatusCode::FORBIDDEN)));
    let test = async |issuer: CertManagerIssuer| issuer.sign(&enrolment().request).await;
    let (signed, _) = fake.run(options(), async |_| None, test).await;
    let error = signed.expect_err("nobody is heard");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("create, list, watch and delete"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_installation_that_comes_later_is_used_with_the_first_request_that_is_taken() {
    let is_there = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&is_there);
    let absent =
        move |_: &Asked| (!known.load(Ordering::Relaxed)).then(|| Answer::refusal(StatusCode::NOT_FOUND));
    let ca = FakeIssuer::new().expect("an authority");
    let controller = async |request: &SigningRequest| {
        let (chain, roots) = signed(&ca, request).await;
        Some(issued(chain.pem(), roots.pem()))
    };
    let test = async |issuer: CertManagerIssuer| {
        // Long enough for the watch to be tried rarely.
        tokio::time::sleep(Duration::from_secs(100)).await;
        let error = issuer.sign(&enrolment().request).await.expect_err("nobody is there");
        assert!(error.to_string().contains("install cert-manager"), "{error}");
        is_there.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        issuer.sign(&enrolment().request).await.expect("a chain");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    };
    Fake::new(absent).run(options(), controller, test).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_no_request() {
    let test = async |issuer: CertManagerIssuer| {
        let request = enrolment().request;
        timeout(Duration::from_secs(1), issuer.sign(&request)).await.expect_err("nobody signs");
        assert!(issuer.sign(&request).now_or_never().is_none(), "of this one there is no request either");
    };
    let ((), log) = Fake::new(|_| None).run(options(), async |_| None, test).await;
    assert_eq!((log.times("POST").len(), deletions(&log)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_left_goes_when_nobody_can_wait_for_it_any_more() {
    let left = |name: &str, status: Value| {
        let labels = json!({ "openservicemesh.io/requester": "dead" });
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest", "spec": {}, "status": status,
            "metadata": { "name": name, "uid": name, "resourceVersion": "1", "labels": labels },
        })
    };
    let items = [left("finished", condition("Ready", "False", "Failed")), left("open", json!({}))];
    let fake = Fake::new(move |asked| {
        let list = || {
            json!({
                "kind": "CertificateRequestList", "apiVersion": "cert-manager.io/v1",
                "metadata": { "resourceVersion": "1" }, "items": items,
            })
        };
        (asked.method == "GET").then(|| Answer::ok(list()))
    });
    let log = fake.log.clone();
    let gone = |name: &str| {
        let path = format!("DELETE /apis/cert-manager.io/v1/namespaces/mesh/certificaterequests/{name}");
        !log.times(&path).is_empty()
    };
    let test = async |_: CertManagerIssuer| {
        for (seconds, expected) in
            [(50, (false, false)), (20, (true, false)), (500, (true, false)), (60, (true, true))]
        {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!((gone("finished"), gone("open")), expected, "{seconds} s later");
        }
    };
    fake.run(options(), async |_| None, test).await;
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_a_number_wait_for_others() {
    let mut few = options();
    few.at_once = 3;
    let under_way = Arc::new(Mutex::new((0_usize, 0_usize)));
    let counted = Arc::clone(&under_way);
    let fake = Fake::new(move |asked| {
        let mut counted = counted.lock();
        match asked.method.as_str() {
            "POST" => counted.0 += 1,
            "DELETE" => counted.0 -= 1,
            _ => {}
        }
        counted.1 = counted.1.max(counted.0);
        None
    });
    let ca = FakeIssuer::new().expect("an authority");
    let controller = async |request: &SigningRequest| {
        let (chain, roots) = signed(&ca, request).await;
        Some(issued(chain.pem(), roots.pem()))
    };
    let test = async |issuer: CertManagerIssuer| {
        let made: Vec<Enrolment> = (0..20).map(|_| enrolment()).collect();
        futures::future::join_all(made.iter().map(|made| issuer.sign(&made.request))).await
    };
    let (signed, _) = fake.run(few, controller, test).await;
    assert!(signed.iter().all(Result::is_ok), "{signed:?}");
    // One that is answered may be deleted a moment after the next one is made.
    assert!(under_way.lock().1 <= 6, "{under_way:?}");
}

#[tokio::test(start_paused = true)]
async fn the_roots_of_an_issuer_are_learnt_and_a_new_one_is_known_with_the_first_certificate_under_it() {
    let ca = FakeIssuer::new().expect("an authority");
    let controller = async |request: &SigningRequest| {
        let (chain, roots) = signed(&ca, request).await;
        Some(issued(chain.pem(), roots.pem()))
    };
    let test = async |issuer: CertManagerIssuer| {
        let old = issuer.trust_bundle().await.expect("roots");
        assert_eq!(old, ca.trust_bundle().await.expect("roots"));
        issuer.trust_bundle().await.expect("roots");
        ca.replace_root().expect("a root");
        issuer.sign(&enrolment().request).await.expect("a chain");
        let both = issuer.trust_bundle().await.expect("roots");
        let new = ca.trust_bundle().await.expect("roots");
        assert_eq!(both.der(), [old.der()[0].clone(), new.der()[0].clone()]);
    };
    let ((), log) = Fake::new(|_| None).run(options(), controller, test).await;
    assert_eq!(log.times("POST").len(), 2, "what is known is not asked for again at once");
}
