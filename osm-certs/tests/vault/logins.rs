//! The ways in: each conforms, is renewed, and is taken again when its token is gone.

use std::path::Path;
use std::time::Duration;

use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issuer, IssuerError};
use osm_certs::testing::conformance;
use osm_certs::vault::{Login, Secret, SecretSource, VaultIssuer, VaultOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mesh::{Mesh, eventually, till};
use crate::openbao::{OpenBao, authority, policy};

/// The token of service account `osm-controller` in `osm-system`, as no cluster signed it.
const SERVICE_ACCOUNT: &[&str] = &[
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50Iiwia3ViZXJuZXR",
    "lcy5pby9zZXJ2aWNlYWNjb3VudC9uYW1lc3BhY2UiOiJvc20tc3lzdGVtIiwia3ViZXJuZXRlcy5pby9zZXJ2aWNlYWNjb3V",
    "udC9zZXJ2aWNlLWFjY291bnQubmFtZSI6Im9zbS1jb250cm9sbGVyIiwia3ViZXJuZXRlcy5pby9zZXJ2aWNlYWNjb3VudC9",
    "zZXJ2aWNlLWFjY291bnQudWlkIjoib25lIiwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50Om9zbS1zeXN0ZW06b3NtLWN",
    "vbnRyb2xsZXIifQ.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl",
];

fn options(bao: &OpenBao, login: Login) -> VaultOptions {
    VaultOptions::new(format!("http://{}", bao.plain), "mesh", login)
}

fn issuer(bao: &OpenBao, login: Login) -> VaultIssuer {
    VaultIssuer::new(options(bao, login)).expect("they are of use")
}

pub(crate) async fn sign(issuer: &VaultIssuer) -> Result<(), IssuerError> {
    let made = Enrolment::new(till(), Duration::from_secs(3600)).expect("a request");
    issuer.sign(&made.request).await.map(drop)
}

fn by_app_role(bao: &OpenBao, tokens: &Value) -> Login {
    let (role_id, secret_id) = bao.make_app_role(tokens);
    Login::app_role(role_id, SecretSource::Given(Secret::new(secret_id)))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_token_conforms_with_and_without_tls() {
    let bao = OpenBao::start().await;
    let token = bao.make_token(&json!({"period": "1h"}));
    conformance::assert_conforms(&issuer(&bao, Login::token(&token))).await;
    let mut options = options(&bao, Login::token(token));
    options.address = format!("https://localhost:{}", bao.tls.port());
    options.ca_file = Some(bao.authority());
    conformance::assert_conforms(&VaultIssuer::new(options).expect("of use")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_login_by_app_role_conforms_and_a_wrong_one_is_refused() {
    let bao = OpenBao::start().await;
    let (role_id, secret_id) = bao.make_app_role(&json!({"token_ttl": "1h"}));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret-id");
    std::fs::write(&file, format!("{secret_id}\n")).expect("written");
    let login = Login::app_role(&role_id, SecretSource::File(file));
    conformance::assert_conforms(&issuer(&bao, login)).await;
    let wrong = Login::app_role(role_id, SecretSource::Given(Secret::new("wrong")));
    assert_eq!(conformance::check_refused(&issuer(&bao, wrong)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_login_by_kubernetes_conforms_and_a_foreign_account_is_refused() {
    let bao = OpenBao::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let _reviewing = cluster(&bao, &file).await;
    conformance::assert_conforms(&issuer(&bao, Login::kubernetes("mesh", &file))).await;
    let error = sign(&issuer(&bao, Login::kubernetes("other", &file))).await.expect_err("another account");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("refuses the login at auth/kubernetes/login"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn an_engine_in_a_namespace_conforms() {
    let bao = OpenBao::start().await;
    bao.ask("POST", "sys/namespaces/team", &json!({}));
    let in_team = |path: &str| format!("team/{path}");
    bao.make_root("team/");
    let role = json!({"allow_any_name": true, "allowed_uri_sans": "spiffe://*", "require_cn": false, "key_type": "ec"});
    bao.ask("POST", &in_team("pki/roles/mesh"), &role);
    bao.ask("PUT", &in_team("sys/policies/acl/mesh"), &policy(&["pki/sign/mesh"]));
    let made =
        bao.ask("POST", &in_team("auth/token/create"), &json!({"policies": ["mesh"], "no_parent": true}));
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let mut options = options(&bao, Login::token(token));
    options.namespace = Some("team".into());
    conformance::assert_conforms(&VaultIssuer::new(options.clone()).expect("of use")).await;
    options.namespace = None;
    assert!(sign(&VaultIssuer::new(options).expect("of use")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_login_whose_token_is_revoked_is_made_again_and_nobody_notices() {
    let bao = OpenBao::start().await;
    let issuer = issuer(&bao, by_app_role(&bao, &json!({"token_ttl": "1h"})));
    sign(&issuer).await.expect("it signs");
    bao.ask("POST", "sys/leases/revoke-prefix/auth/approle", &json!({}));
    // Right after a login, another one is not tried.
    eventually("another login", async || sign(&issuer).await.ok()).await;
    sign(&issuer).await.expect("it signs");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn tokens_are_renewed_and_at_their_last_got_anew() {
    let bao = OpenBao::start().await;
    let token = bao.make_token(&json!({"period": "3s"}));
    let renewed = issuer(&bao, Login::token(&token));
    let replaced = issuer(&bao, by_app_role(&bao, &json!({"token_ttl": "3s", "token_max_ttl": "5s"})));
    let began = Instant::now();
    let outlived = eventually("the end of both first tokens, and of the second's last life", async || {
        sign(&renewed).await.expect("the token is renewed");
        sign(&replaced).await.expect("the token is replaced");
        (began.elapsed() > Duration::from_secs(9)).then_some(())
    });
    tokio::select! {
        () = renewed.keep_signed_in() => {}
        () = replaced.keep_signed_in() => {}
        () = outlived => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_token_file_is_read_again_when_it_changes() {
    let mesh = Mesh::start().await;
    let old = std::fs::read_to_string(mesh.file("token")).expect("it is there");
    std::fs::write(mesh.file("token"), mesh.bao.make_token(&json!({}))).expect("written");
    mesh.renews().await;
    mesh.bao.ask("POST", "auth/token/revoke", &json!({"token": old}));
    mesh.renews().await;
}

/// A login method of a cluster with one service account, whose token is in the file; role `mesh` is
/// for that account, role `other` for another.
pub(crate) async fn cluster(bao: &OpenBao, file: &Path) -> JoinSet<()> {
    let reviewer = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = reviewer.local_addr().expect("an address");
    let mut reviewing = JoinSet::new();
    reviewing.spawn(review(reviewer));
    bao.ask("POST", "sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    let config = json!({"kubernetes_host": format!("http://{address}"), "disable_local_ca_jwt": true, "token_reviewer_jwt": SERVICE_ACCOUNT.concat(), "kubernetes_ca_cert": authority().1});
    bao.ask("POST", "auth/kubernetes/config", &config);
    for (role, account) in [("mesh", "osm-controller"), ("other", "somebody")] {
        let role = format!("auth/kubernetes/role/{role}");
        let allowed = json!({"bound_service_account_names": [account], "bound_service_account_namespaces": ["osm-system"], "token_policies": ["mesh"], "token_ttl": "1h"});
        bao.ask("POST", &role, &allowed);
    }
    std::fs::write(file, SERVICE_ACCOUNT.concat()).expect("written");
    reviewing
}

/// Answers as an API server does that knows the one service account. It stands in for a cluster.
async fn review(listener: TcpListener) {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "status": {"authenticated": true, "user": {
            "username": "system:serviceaccount:osm-system:osm-controller", "uid": "one",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:osm-system"],
        }},
    })
    .to_string();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        // The body ends with the object.
        while !read.ends_with(b"}\n") && !read.ends_with(b"}") {
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => read.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        let answer = format!(
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{review}",
            review.len()
        );
        stream.write_all(answer.as_bytes()).await.ok();
    }
}
