//! What goes wrong with a server: told by its kind, served through, and over without a restart.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issuer, IssuerError};
use osm_certs::manager::FailureKind;
use osm_certs::testing::SimulatedClock;
use osm_certs::vault::{Login, VaultIssuer, VaultOptions};
use serde_json::{Value, json};

use crate::log::Log;
use crate::mesh::{Mesh, eventually, till};
use crate::openbao::{OpenBao, authority, policy};
use crate::relay::Line;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_sealed_server_is_unavailable_until_it_is_unsealed() {
    let mesh = Mesh::start().await;
    mesh.bao.seal();
    mesh.fails(FailureKind::Unavailable, "sealed: unseal it").await;
    mesh.bao.unseal().await;
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_token_that_has_ended_is_told_until_its_file_has_another() {
    let mesh = Mesh::start().await;
    let short = mesh.bao.make_token(&json!({"ttl": "1s", "renewable": false}));
    fs::write(mesh.file("token"), &short).expect("written");
    let gone = async || {
        mesh.bao
            .try_ask("POST", "auth/token/lookup", &json!({"token": short}))
            .filter(|(status, _)| *status == 403)
    };
    eventually("the end of the token", gone).await;
    mesh.fails(FailureKind::Unavailable, "who writes the file has to write another").await;
    fs::write(mesh.file("token"), mesh.bao.make_token(&json!({}))).expect("written");
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_token_that_was_revoked_is_told_until_its_file_has_another() {
    let mesh = Mesh::start().await;
    let token = fs::read_to_string(mesh.file("token")).expect("it is there");
    mesh.bao.ask("POST", "auth/token/revoke", &json!({"token": token}));
    mesh.fails(FailureKind::Unavailable, "does not take the token in").await;
    fs::write(mesh.file("token"), mesh.bao.make_token(&json!({}))).expect("written");
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_clock_that_steps_an_hour_ends_no_login_and_is_told_while_new_certificates_are_not_valid_by_it() {
    let hour = Duration::from_secs(3600);
    let clock = Arc::new(SimulatedClock::new(SystemTime::now()));
    let mesh = Mesh::start_by(Arc::clone(&clock) as _, |_, _| {}).await;
    clock.step_forward(hour);
    mesh.renews().await;
    clock.step_back(2 * hour);
    mesh.fails(FailureKind::Unusable, "the certificate is not valid yet").await;
    clock.step_forward(hour);
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_role_that_is_gone_is_named() {
    let mesh = Mesh::start().await;
    mesh.bao.ask("DELETE", "pki/roles/mesh", &Value::Null);
    mesh.fails(FailureKind::Refused, "asking pki/sign/mesh: Vault answered 400: unknown role").await;
    mesh.bao.make_role("mesh", &json!({"key_type": "ec"}));
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_policy_that_does_not_allow_the_role_is_named() {
    let mesh = Mesh::start().await;
    mesh.bao.ask("PUT", "sys/policies/acl/mesh", &policy(&["pki/sign/other"]));
    mesh.fails(FailureKind::Refused, "give its policy `update` on that path").await;
    mesh.bao.ask("PUT", "sys/policies/acl/mesh", &policy(&["pki/sign/mesh"]));
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_server_under_another_authority_is_refused_until_the_file_has_it() {
    let mesh = Mesh::start_with(|options, site| {
        let file = site.folder.join("ca.crt");
        fs::copy(site.bao.authority(), &file).expect("copied");
        options.address = format!("https://{}", site.tls.address);
        options.ca_file = Some(file);
    })
    .await;
    fs::write(mesh.file("ca.crt"), authority().1).expect("written");
    mesh.fails(FailureKind::Refused, "does not lead to the authority in `ca_file`").await;
    fs::copy(mesh.bao.authority(), mesh.file("ca.crt")).expect("copied");
    mesh.renews().await;
    // Garbage is no authority: the last good one stays.
    fs::write(mesh.file("ca.crt"), "garbage").expect("written");
    mesh.renews().await;
}

#[tokio::test]
async fn an_authority_of_no_use_is_told_once_and_the_last_good_one_stays() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.subscriber());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.crt");
    // Nobody is there, so that all requests fail for that.
    let mut options = VaultOptions::new("https://127.0.0.1:9", "mesh", Login::token("s.token"));
    options.ca_file = Some(file.clone());
    let issuer = VaultIssuer::new(options).expect("of use");
    let error = issuer.trust_bundle().await.expect_err("there is no file");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error}");
    let good = authority().1;
    let mut told = 0;
    for text in [Some(good.as_str()), Some("garbage"), None, Some(&good), Some("garbage")] {
        match text {
            Some(text) => fs::write(&file, text).expect("written"),
            None => fs::remove_file(&file).expect("removed"),
        }
        told += usize::from(text != Some(&good));
        for _ in 0..3 {
            let error = issuer.trust_bundle().await.expect_err("nobody is there");
            assert!(matches!(error, IssuerError::Unavailable { .. }), "{text:?}: {error}");
            assert_eq!(log.text().matches("stays the last that was good").count(), told, "{text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_server_in_the_place_of_the_right_one_is_told_nothing_and_its_root_is_not_trusted() {
    let mesh = Mesh::start_with(|options, site| {
        options.address = format!("https://{}", site.tls.address);
        options.ca_file = Some(site.bao.authority());
    })
    .await;
    let impostor = OpenBao::start().await;
    mesh.relay.lead_to(impostor.tls);
    mesh.fails(FailureKind::Refused, "does not lead to the authority in `ca_file`").await;
    eventually("a refusal of its root too", async || mesh.manager.trust_failure()).await;
    mesh.relay.lead_to(mesh.bao.tls);
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn an_answer_that_is_cut_short_is_no_answer() {
    let mesh = Mesh::start().await;
    for bytes in [0, 10, 400, 1500] {
        mesh.relay.set(Line::Cut(bytes));
        mesh.fails(FailureKind::Unavailable, "asking pki/sign/mesh: ").await;
        mesh.relay.set(Line::Whole);
        mesh.renews().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_server_that_takes_ten_seconds_is_not_waited_for() {
    let mesh = Mesh::start().await;
    mesh.relay.set(Line::Late(Duration::from_secs(10)));
    mesh.fails(FailureKind::Unavailable, "no answer within 2 s").await;
    mesh.relay.set(Line::Whole);
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_server_that_takes_ten_seconds_is_waited_for_where_there_is_the_patience() {
    let mesh = Mesh::start_with(|options, _| options.patience = Duration::from_secs(15)).await;
    mesh.relay.set(Line::Late(Duration::from_secs(10)));
    mesh.renews().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn connections_are_kept_and_few() {
    let mesh = Mesh::start().await;
    let before = mesh.relay.accepted();
    for _ in 0..20 {
        mesh.renews().await;
    }
    assert!(mesh.relay.accepted() <= before + 1, "{} connections", mesh.relay.accepted());
    let login = Login::token(mesh.bao.make_token(&json!({})));
    let issuer = VaultIssuer::new(VaultOptions::new(format!("http://{}", mesh.relay.address), "mesh", login));
    let issuer = issuer.expect("of use");
    let made: Vec<_> =
        (0..500).map(|_| Enrolment::new(till(), Duration::from_secs(60)).expect("a request")).collect();
    let before = mesh.relay.accepted();
    for signed in join_all(made.iter().map(|made| issuer.sign(&made.request))).await {
        signed.expect("it is signed");
    }
    let more = mesh.relay.accepted() - before;
    // At most 16 are in use at a time. One that was begun for a request which another one served
    // meanwhile comes on top.
    assert!(more <= 64, "{more} connections for 500 requests at once");
}
