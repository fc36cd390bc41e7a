//! What could be stolen, with a control plane that runs as a process of its own at a real API
//! server: tokens and certificates that prove nothing get nothing, and nothing that it prints or
//! serves has a token or a key in it.
#![allow(clippy::disallowed_methods, reason = "the tests are told by the environment where programs are")]

mod door;
mod hunt;
mod plane;
mod pod_secrets;
#[path = "../../../osm-k8s/tests/support/within.rs"]
mod within;

use std::time::Duration;

use tonic::Code;

use door::Door;
use hunt::Secrets;
use plane::{AUDIENCE, Plane};
use within::within;

/// How long a control plane may take to hear of a pod, and to forget one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is left alone between questions.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks until the answer is of this kind.
async fn eventually(
    what: &str,
    door: &Door,
    token: Option<&str>,
    node: &str,
    wanted: fn(&Result<String, Code>) -> bool,
) -> String {
    within(PATIENCE, PAUSE, what, async || {
        let answer = door.ask(token, node).await;
        match wanted(&answer) {
            true => Ok(answer.unwrap_or_default()),
            false => Err(format!("{:?}", answer.map(|_| "a key"))),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn stolen_tokens_get_no_certificate_and_nothing_printed_or_served_has_a_token_or_a_key() {
    let mut plane = Plane::start("token");
    let door = plane.door();
    let (till, bank) = (plane.node("till"), plane.node("bank"));
    let good = plane.token("till", AUDIENCE);
    let other = plane.token("bank", AUDIENCE);
    let mut secrets = Secrets::default();

    // Each gets the certificate of its own account.
    for (what, token, node) in [("till", &good, &till), ("bank", &other, &bank)] {
        let key = eventually(&format!("{what} gets its key"), &door, Some(token), node, Result::is_ok).await;
        assert!(key.contains("PRIVATE KEY"), "a proxy is sent its key");
        secrets.add_key(&key);
        secrets.add_token(token);
    }
    // What was stolen elsewhere, or is none.
    let for_the_server = plane.token("till", "https://kubernetes.default.svc");
    let unbound = plane.unbound_token(AUDIENCE);
    let mut forged = good.clone();
    forged.replace_range(good.len() - 8.., "AAAAAAAA");
    for (what, token, node) in [
        ("another pod's proxy", Some(good.as_str()), &bank),
        ("a proxy of nobody", Some(good.as_str()), &plane.node("nobody")),
        ("a token for the API server", Some(for_the_server.as_str()), &till),
        ("a token that is no pod's", Some(unbound.as_str()), &till),
        ("a forged token", Some(forged.as_str()), &till),
        ("no token at all", None, &till),
        ("what is no token", Some("hunter2-hunter2-hunter2"), &till),
    ] {
        let refused = door.ask(token, node).await.expect_err(what);
        assert!(matches!(refused, Code::Unauthenticated | Code::PermissionDenied), "{what}: {refused:?}");
        token.into_iter().for_each(|token| secrets.add_token(token));
    }
    // A pod that is gone: its token lives on, and is of no use.
    plane.delete_pod("bank");
    eventually("the token of a pod that is gone gets nothing", &door, Some(&other), &bank, Result::is_err)
        .await;
    // The proxy of the other is served all the same.
    eventually("till is served", &door, Some(&good), &till, Result::is_ok).await;

    let password = "correct-horse-battery-staple";
    plane.admit(password).await;
    secrets.add(password);
    secrets.add_key(&plane.root_key());
    let pages = plane.pages();
    assert!(pages.contains("osm_xds_"), "the metrics are among them");
    secrets.hunt("a page", &pages);
    let log = plane.stop();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "everything is logged");
    secrets.hunt("the log", &log);
}
