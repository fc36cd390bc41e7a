//! What a MeshRootCertificate says, and what is said of a wrong one.

use std::time::Duration;

use osm_core::model::{MeshObject, PemSource, RootCertificate, RootProvider, RootRole, VaultLogin, WhenLate};
use proptest::prelude::*;

use crate::manifest::testing::{convert, findings, read_error};

const TRESOR: &str = "tresor: {ca: {secretRef: {name: osm-ca-bundle, namespace: osm-system}}}";
const TOKEN: &str = "token: {secretKeyRef: {name: vault-token, key: token, namespace: osm-system}}";

fn text(provider: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: config.openservicemesh.io/v1alpha2, kind: MeshRootCertificate, \
         metadata: {{name: first, namespace: osm-system}}, spec: {{provider: {{{provider}}}{rest}}}}}"
    )
}

fn vault(rest: &str) -> String {
    text(
        &format!("vault: {{host: vault.vault, port: 8200, protocol: https, role: mesh, {rest}}}"),
        ", role: active",
    )
}

fn root(text: &str) -> RootCertificate {
    match convert(text).objects.as_slice() {
        [MeshObject::RootCertificate(root)] => root.clone(),
        other => panic!("{other:?} is not a root"),
    }
}

fn shown(provider: &RootProvider) -> String {
    format!("{provider:?}")
}

#[test]
fn manifests_of_open_service_mesh_read_as_they_are() {
    let osm = "\
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshRootCertificate
metadata:
  name: osm-mesh-root-certificate
  namespace: osm-system
spec:
  trustDomain: cluster.local
  role: active
  spiffeEnabled: true
  provider:
";
    let tresor = "    tresor: {ca: {secretRef: {name: osm-ca-bundle, namespace: osm-system}}}\n";
    let cert_manager =
        "    certManager: {issuerName: osm-ca, issuerKind: ClusterIssuer, issuerGroup: cert-manager.io}\n";
    let vault = "    vault: {host: vault.osm-system.svc.cluster.local, port: 8200, role: openservicemesh, protocol: http, \
                 token: {secretKeyRef: {name: osm-vault-token, key: vault_token, namespace: osm-system}}}\n";
    let found = root(&format!("{osm}{tresor}"));
    assert_eq!((found.role, found.spiffe, found.is_paused), (RootRole::Active, true, false));
    assert_eq!((found.trust_domain.as_str(), found.patience), ("cluster.local", None));
    assert_eq!(shown(&found.provider), "InProcess { secret: osm-system/osm-ca-bundle }");
    assert_eq!(
        root(&format!("{osm}{cert_manager}")).provider.to_string(),
        "cert-manager's ClusterIssuer osm-ca"
    );
    let RootProvider::Vault(vault) = root(&format!("{osm}{vault}")).provider else { panic!("not Vault") };
    assert_eq!(vault.address, "http://vault.osm-system.svc.cluster.local:8200");
    assert_eq!((vault.mount.as_str(), vault.issuer.as_str(), vault.makes_keys), ("pki", "default", false));
    let VaultLogin::Token(token) = &vault.login else { panic!("not a token") };
    assert_eq!(token.to_string(), "vault_token of Secret osm-system/osm-vault-token");
}

#[test]
fn what_is_not_written_is_as_usual() {
    let found = root(&text(
        "certManager: {issuerName: ca}",
        ", role: passive, trustDomain: '', spiffeEnabled: null, paused: null, patience: null",
    ));
    assert_eq!((found.trust_domain.as_str(), found.role), ("cluster.local", RootRole::Passive));
    assert_eq!(found.provider.to_string(), "cert-manager's Issuer ca");
    let found = root(&text("tresor: {ca: {secretRef: {name: ca}}}", ", role: inactive"));
    assert_eq!(shown(&found.provider), "InProcess { secret: osm-system/ca }", "its own namespace");
}

#[test]
fn a_vault_server_has_the_settings_that_the_flags_have() {
    let settings = "namespace: teams/mesh, mount: clusters/one/pki, issuer: next, method: issue, \
        ca: {pem: '-----BEGIN CERTIFICATE-----'}, roots: {secretKeyRef: {name: roots, key: ca.crt}}";
    let of = |login: &str| match root(&vault(&format!("{login}, {settings}"))).provider {
        RootProvider::Vault(vault) => *vault,
        other => panic!("{other} is not Vault"),
    };
    let found = of("kubernetes: {role: mesh}");
    assert_eq!(found.namespace.as_deref(), Some("teams/mesh"));
    assert_eq!(
        (found.mount.as_str(), found.issuer.as_str(), found.makes_keys),
        ("clusters/one/pki", "next", true)
    );
    assert_eq!(found.ca, Some(PemSource::Text("-----BEGIN CERTIFICATE-----".into())));
    assert!(
        matches!(&found.roots, Some(PemSource::Secret(key)) if key.to_string() == "ca.crt of Secret osm-system/roots")
    );
    assert_eq!(
        found.login,
        VaultLogin::Kubernetes { mount: "kubernetes".to_owned(), role: "mesh".to_owned() }
    );
    let found = of("appRole: {roleId: 1-2, secretId: {secretKeyRef: {name: a, key: id}}, mount: one}");
    assert!(
        matches!(&found.login, VaultLogin::AppRole { mount, role_id, .. } if mount == "one" && role_id == "1-2")
    );
}

#[test]
fn what_a_change_waits_for_is_bounded_where_people_say_so() {
    let of =
        |patience: &str| text(TRESOR, &format!(", role: active, paused: true, patience: {{{patience}}}"));
    let found = root(&of("bound: 1h30m, then: GoBack"));
    let patience = found.patience.expect("a bound");
    assert!(found.is_paused);
    assert_eq!((patience.bound, patience.then), (Duration::from_secs(5400), WhenLate::GoBack));
    assert_eq!(root(&of("bound: 60s, then: GoOn")).patience.expect("a bound").then, WhenLate::GoOn);
    for (bad, field) in [
        ("bound: 59s, then: GoOn", "spec.patience.bound"),
        ("bound: 0, then: GoOn", "spec.patience.bound"),
        ("bound: soon, then: GoOn", "spec.patience.bound"),
        ("bound: 1h, then: goOn", "spec.patience.then"),
        ("bound: 1h", "spec.patience"),
        ("bound: 1h, then: GoOn, after: 1", "spec.patience.after"),
    ] {
        let error = read_error(&of(bad));
        assert_eq!(error.field, field, "{error}");
    }
}

#[test]
fn a_login_that_others_can_read_and_a_server_that_nobody_can_know_are_named() {
    let clear = vault(TOKEN).replace("https", "http");
    assert_eq!(findings(&clear), ["vault-in-the-clear spec.provider.vault.protocol"]);
    assert_eq!(findings(&vault(TOKEN)), ["vault-without-authority spec.provider.vault.ca"]);
    let known = vault(&format!("{TOKEN}, ca: {{secretKeyRef: {{name: ca, key: ca.crt}}}}"));
    assert_eq!(findings(&known), [""; 0]);
    assert_eq!(findings(&text(TRESOR, ", role: active")), [""; 0]);
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let active = ", role: active";
    for (field, text) in [
        ("spec.provider", text("", active)),
        ("spec.provider", text(&format!("{TRESOR}, certManager: {{issuerName: a}}"), active)),
        ("spec.provider.tesla", text("tesla: {}", active)),
        ("spec.provider.tresor", text("tresor: {}", active)),
        ("spec.provider.tresor.ca.secretRef.name", text("tresor: {ca: {secretRef: {name: A B}}}", active)),
        ("spec.provider.certManager.issuerName", text("certManager: {issuerName: ''}", active)),
        (
            "spec.provider.certManager.issuerKind",
            text("certManager: {issuerName: a, issuerKind: 'a b'}", active),
        ),
        (
            "spec.provider.certManager.issuerGroup",
            text("certManager: {issuerName: a, issuerGroup: 'A/b'}", active),
        ),
        ("spec.provider.certManager.roots", text("certManager: {issuerName: a, roots: {}}", active)),
        (
            "spec.provider.certManager.roots.pem",
            text("certManager: {issuerName: a, roots: {pem: a}}", active),
        ),
        ("spec.provider.vault", vault("")),
        ("spec.provider.vault", vault(&format!("{TOKEN}, kubernetes: {{role: a}}"))),
        ("spec.provider.vault.mount", vault(&format!("{TOKEN}, mount: pki/../sys"))),
        ("spec.provider.vault.method", vault(&format!("{TOKEN}, method: generate"))),
        ("spec.provider.vault.host", vault(TOKEN).replace("vault.vault", "'https://vault'")),
        ("spec.provider.vault.port", vault(TOKEN).replace("8200", "0")),
        ("spec.provider.vault.port", vault(TOKEN).replace("8200", "65536")),
        ("spec.provider.vault.protocol", vault(TOKEN).replace("https", "tcp")),
        ("spec.provider.vault.role", vault(TOKEN).replace("role: mesh", "role: a/b")),
        ("spec.provider.vault.token.secretKeyRef.key", vault(&TOKEN.replace("key: token", "key: 'a/b'"))),
        ("spec.provider.vault.token.value", vault("token: {value: secret}")),
        ("spec.role", text(TRESOR, ", role: Active")),
        ("spec", text(TRESOR, "")),
        ("spec.trustDomain", text(TRESOR, &format!("{active}, trustDomain: Example.com"))),
        ("spec.spiffeEnabled", text(TRESOR, &format!("{active}, spiffeEnabled: maybe"))),
        ("spec.state", text(TRESOR, &format!("{active}, state: x"))),
    ] {
        let error = read_error(&text);
        assert_eq!(error.field, field, "{error}");
        let object = error.object.as_ref().map(ToString::to_string);
        assert_eq!(object.as_deref(), Some("MeshRootCertificate osm-system/first"), "{error}");
    }
}

#[test]
fn a_secret_that_is_written_by_mistake_is_not_repeated() {
    let key = "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49AgEG";
    let error = read_error(&text(
        &format!("certManager: {{issuerName: a, roots: {{pem: \"{key}\"}}}}"),
        ", role: active",
    ));
    assert!(error.message.contains("must not stand here") && !error.to_string().contains("MIGH"), "{error}");
}

proptest! {
    #[test]
    fn no_value_of_a_field_makes_it_panic(value in ".{0,200}", at in 0..6_usize) {
        let value = serde_json::to_string(&value).expect("JSON");
        let text = match at {
            0 => text(&format!("certManager: {{issuerName: {value}}}"), ", role: active"),
            1 => text(TRESOR, &format!(", role: active, trustDomain: {value}")),
            2 => text(TRESOR, &format!(", role: active, patience: {{bound: {value}, then: GoOn}}")),
            3 => text(&format!("certManager: {{issuerName: a, roots: {{pem: {value}}}}}"), ", role: active"),
            4 => vault(&format!("{TOKEN}, mount: {value}")),
            _ => vault(&format!("kubernetes: {{role: {value}}}")),
        };
        for document in crate::document::read(text.as_bytes()) {
            if let crate::document::Outcome::Manifest(manifest) = document.outcome {
                prop_assert_eq!(manifest.facts().objects.len(), 1);
            }
        }
    }
}
