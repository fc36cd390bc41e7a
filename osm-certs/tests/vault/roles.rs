//! Settings of a role that are not a mesh's: each is told with what to do about it.

use std::time::Duration;

use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issuer, IssuerError, KeyMaker};
use osm_certs::manager::FailureKind;
use osm_certs::subject::Subject;
use osm_certs::testing::conformance;
use osm_certs::vault::{Login, Method, VaultIssuer, VaultOptions};
use osm_core::model::ServiceKey;
use serde_json::json;

use crate::mesh::{Mesh, till};
use crate::openbao::{OpenBao, policy};

fn issuer(bao: &OpenBao, role: &str) -> VaultIssuer {
    let login = Login::token(bao.make_token(&json!({})));
    VaultIssuer::new(VaultOptions::new(format!("http://{}", bao.plain), role, login)).expect("of use")
}

async fn sign(issuer: &VaultIssuer, hours: u64) -> Result<(), IssuerError> {
    let made = Enrolment::new(till(), Duration::from_secs(hours * 3600)).expect("a request");
    issuer.sign(&made.request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_role_that_does_not_fit_is_refused_with_what_to_do() {
    let bao = OpenBao::start().await;
    for (role, settings, said) in [
        ("rsa", json!({"key_type": "rsa"}), "set its `key_type` to `any` or `ec`"),
        ("names", json!({"key_type": "any", "allow_any_name": false}), "`allow_any_name`"),
        ("uris", json!({"key_type": "any", "allowed_uri_sans": ""}), "`allowed_uri_sans` of spiffe://*"),
    ] {
        bao.make_role(role, &settings);
        let error = sign(&issuer(&bao, role), 1).await.expect_err(role);
        assert!(matches!(error, IssuerError::Refused { .. }) && error.to_string().contains(said), "{error}");
        assert_eq!(conformance::check_refused(&issuer(&bao, role)).await, None);
    }
    let error = sign(&issuer(&bao, "none"), 1).await.expect_err("there is no such role");
    assert!(error.to_string().contains("unknown role"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn keys_that_the_server_makes_conform_and_serve() {
    let mesh = Mesh::start_with(|options, _| options.method = Method::Issue).await;
    mesh.renews().await;
    let login = Login::token(mesh.bao.make_token(&json!({})));
    let mut options = VaultOptions::new(format!("http://{}", mesh.bao.plain), "mesh", login);
    options.method = Method::Issue;
    conformance::assert_conforms(&VaultIssuer::new(options.clone()).expect("of use")).await;
    mesh.bao.make_role("any", &json!({"key_type": "any"}));
    options.role = "any".into();
    let maker = VaultIssuer::new(options).expect("of use");
    let error = maker.make(&till(), Duration::from_secs(3600)).await.expect_err("of which kind?");
    assert!(error.to_string().contains("a role that makes keys says of which kind"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn keys_of_another_kind_than_the_mesh_has_are_refused_until_one_of_both_changes() {
    let mesh = Mesh::start_with(|options, _| options.method = Method::Issue).await;
    mesh.bao.make_role("mesh", &json!({"key_type": "rsa", "key_bits": 2048}));
    let said = "role mesh makes keys of RSA 2048 where the mesh has ECDSA P-256: set its `key_type` to ec and its \
                `key_bits` to 256";
    mesh.fails(FailureKind::Refused, said).await;
    mesh.manager.set_service_key(ServiceKey::Rsa2048);
    mesh.renews().await;
    mesh.manager.set_service_key(ServiceKey::P384);
    mesh.fails(FailureKind::Refused, "to 384, correct `certKeyBitSize` of the MeshConfig").await;
    mesh.bao.make_role("mesh", &json!({"key_type": "ec", "key_bits": 384}));
    mesh.renews().await;

    // Only those of workloads are a setting; proxies take no key of a kind beyond those.
    let login = Login::token(mesh.bao.make_token(&json!({})));
    let mut options = VaultOptions::new(format!("http://{}", mesh.bao.plain), "mesh", login);
    options.method = Method::Issue;
    let maker = VaultIssuer::new(options).expect("of use");
    let server = Subject::control_plane(["localhost".parse().expect("a name")]);
    let hour = Duration::from_secs(3600);
    maker.make_of_kind(&server, hour, ServiceKey::P256).await.expect("any kind that proxies take");
    mesh.bao.make_role("mesh", &json!({"key_type": "ed25519"}));
    let error =
        maker.make_of_kind(&server, hour, ServiceKey::P256).await.expect_err("proxies do not take it");
    assert!(error.to_string().contains("a kind that proxies do not take"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_life_that_the_role_cuts_is_noticed_until_it_does_not() {
    let bao = OpenBao::start().await;
    bao.make_role("short", &json!({"key_type": "ec", "max_ttl": "1h"}));
    let issuer = issuer(&bao, "short");
    sign(&issuer, 1).await.expect("it signs");
    assert_eq!(issuer.notice(), None);
    sign(&issuer, 24).await.expect("it signs");
    let notice = issuer.notice().expect("it is noticed");
    assert!(notice.contains("from 86400 s to about 60 min: raise `max_ttl` of role short"), "{notice}");
    bao.make_role("short", &json!({"key_type": "ec"}));
    sign(&issuer, 24).await.expect("it signs");
    assert_eq!(issuer.notice(), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn an_engine_or_issuer_that_is_not_there_is_named() {
    let bao = OpenBao::start().await;
    let at = |change: fn(&mut VaultOptions)| {
        let login = Login::token(bao.make_token(&json!({})));
        let mut options = VaultOptions::new(format!("http://{}", bao.plain), "mesh", login);
        change(&mut options);
        VaultIssuer::new(options).expect("of use")
    };
    let error = at(|options| options.mount = "elsewhere".into()).trust_bundle().await.expect_err("no engine");
    assert!(
        matches!(error, IssuerError::Refused { .. }) && error.to_string().contains("correct the mount"),
        "{error}"
    );
    let error =
        at(|options| options.issuer = "elsewhere".into()).trust_bundle().await.expect_err("no issuer");
    assert!(
        matches!(error, IssuerError::Refused { .. }) && error.to_string().contains("correct the issuer"),
        "{error}"
    );
    let stranger = at(|options| options.address = "http://127.0.0.1:9".into());
    assert_eq!(conformance::check_unavailable(&stranger).await, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn an_issuer_under_a_root_elsewhere_leads_to_the_root_and_needs_to_know_it() {
    let mesh = Mesh::start().await;
    let bao = &mesh.bao;
    bao.ask("POST", "sys/mounts/under", &json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}}));
    let asked = bao.ask(
        "POST",
        "under/intermediate/generate/internal",
        &json!({"common_name": "mesh signer", "key_type": "ec", "key_bits": 256}),
    );
    let csr = asked["data"]["csr"].as_str().expect("a request");
    let signed = bao.ask(
        "POST",
        "pki/issuer/default/sign-intermediate",
        &json!({"csr": csr, "ttl": "8760h", "max_path_length": 0}),
    );
    let certificate = signed["data"]["certificate"].as_str().expect("a certificate");
    let root = signed["data"]["issuing_ca"].as_str().expect("a certificate");
    bao.ask("POST", "under/intermediate/set-signed", &json!({"certificate": certificate}));
    let role = json!({"allow_any_name": true, "allowed_uri_sans": "spiffe://*", "require_cn": false, "key_type": "ec"});
    bao.ask("POST", "under/roles/mesh", &role);
    bao.ask("PUT", "sys/policies/acl/mesh", &policy(&["under/sign/mesh"]));

    let login = Login::token(bao.make_token(&json!({})));
    let mut options = VaultOptions::new(format!("http://{}", bao.plain), "mesh", login);
    options.mount = "under".into();
    let unknown =
        VaultIssuer::new(options.clone()).expect("of use").trust_bundle().await.expect_err("no root");
    assert!(unknown.to_string().contains("does not know the root above its issuer"), "{unknown}");
    options.roots_file = Some(mesh.file("root.crt"));
    std::fs::write(mesh.file("root.crt"), root).expect("written");
    conformance::assert_conforms(&VaultIssuer::new(options.clone()).expect("of use")).await;
    options.roots_file = None;
    bao.ask("POST", "under/issuers/import/cert", &json!({"pem_bundle": root}));
    let issuer = VaultIssuer::new(options).expect("of use");
    assert_eq!(issuer.trust_bundle().await.expect("it is known").der().len(), 1);
    conformance::assert_conforms(&issuer).await;
}
