//! The definitions of the mesh's kinds, applied to a real API server: what it takes
//! and what it refuses.

use std::time::SystemTime;

use kube::api::{Patch, PatchParams};
use osm_certs::rotation::{GivenUp, Stage};
use osm_core::model::{RootCertificate, RootProvider};
use osm_core::name::ObjectName;
use osm_k8s::ManifestKind;
use osm_k8s::status::root::{KnownRoot, RootStatus, wanted};
use serde_json::{Value, json};

use crate::cluster::Mesh;

/// An object of a kind, in a version of it.
fn object(kind: ManifestKind, version: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{}/{version}", kind.group()), "kind": kind.name(),
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

/// Specs of each kind that are taken.
fn good() -> Vec<(ManifestKind, &'static str, Value)> {
    let account = |name: &str| json!({ "kind": "ServiceAccount", "name": name, "namespace": "shop" });
    let backends = json!([{ "service": "a", "weight": 1 }, { "service": "b", "weight": 0 }]);
    let group = json!([{ "apiGroup": "specs.smi-spec.io", "kind": "HTTPRouteGroup", "name": "g" }]);
    vec![
        (ManifestKind::MeshConfig, "v1alpha2", json!({})),
        (ManifestKind::MeshConfig, "v1alpha2", every_setting()),
        (
            ManifestKind::MeshRootCertificate,
            "v1alpha2",
            root(json!({ "certManager": {
            "issuerName": "a", "issuerKind": "ClusterIssuer", "issuerGroup": "cert-manager.io",
        } })),
        ),
        (
            ManifestKind::MeshRootCertificate,
            "v1alpha2",
            root(json!({ "vault": vault(json!({
            "token": { "secretKeyRef": { "name": "a", "key": "b", "namespace": "c" } },
        })) })),
        ),
        (
            ManifestKind::MeshRootCertificate,
            "v1alpha2",
            root(json!({ "vault": vault(json!({
            "kubernetes": { "role": "mesh" }, "ca": { "pem": "-----BEGIN CERTIFICATE-----" }, "mount": "a/pki",
        })) })),
        ),
        (
            ManifestKind::TrafficTarget,
            "v1alpha3",
            json!({
                "destination": account("a"), "sources": [account("b")],
                "rules": [
                    { "kind": "HTTPRouteGroup", "name": "g", "matches": ["m"] }, { "kind": "TCPRoute", "name": "t" },
                ],
            }),
        ),
        (
            ManifestKind::HttpRouteGroup,
            "v1alpha4",
            json!({ "matches": [
                { "name": "all", "pathRegex": ".*", "methods": ["*"] },
                { "name": "some", "methods": ["GET", "PATCH"], "headers": [{ "user-agent": ".*curl.*" }] },
            ] }),
        ),
        (ManifestKind::TcpRoute, "v1alpha4", json!({ "matches": { "ports": [3306, 1, 65535] } })),
        (ManifestKind::TcpRoute, "v1alpha4", json!({})),
        (ManifestKind::TrafficSplit, "v1alpha2", json!({ "service": "a", "backends": backends })),
        (
            ManifestKind::TrafficSplit,
            "v1alpha3",
            json!({ "service": "a", "backends": backends, "matches": group }),
        ),
        (
            ManifestKind::TrafficSplit,
            "v1alpha4",
            json!({ "service": "a", "backends": backends, "matches": group }),
        ),
    ]
}

/// A root that somebody keeps.
fn root(provider: Value) -> Value {
    json!({ "role": "inactive", "provider": provider, "patience": { "bound": "1h", "then": "GoBack" } })
}

/// A Vault server with these settings besides.
fn vault(rest: Value) -> Value {
    let mut vault = json!({ "host": "vault", "port": 8200, "protocol": "https", "role": "mesh" });
    rest.as_object().into_iter().flatten().for_each(|(key, value)| vault[key] = value.clone());
    vault
}

/// Every setting that Open Service Mesh had, as its chart and its users write it.
fn every_setting() -> Value {
    json!({
        "sidecar": {
            "enablePrivilegedInitContainer": false, "logLevel": "error", "maxDataPlaneConnections": 0,
            "envoyImage": "envoy:x", "envoyWindowsImage": "envoy:y", "initContainerImage": "init:x",
            "resources": { "limits": { "cpu": 1, "memory": "256M" }, "requests": { "cpu": "100m" } },
            "configResyncInterval": "0s", "tlsMinProtocolVersion": "TLSv1_2",
            "tlsMaxProtocolVersion": "TLSv1_3", "cipherSuites": ["ECDHE-ECDSA-AES128-GCM-SHA256"],
            "ecdhCurves": ["X25519"], "localProxyMode": "PodIP",
        },
        "traffic": {
            "enableEgress": true, "outboundIPRangeExclusionList": ["10.0.0.0/8"],
            "outboundIPRangeInclusionList": ["0.0.0.0/0"], "outboundPortExclusionList": [6379],
            "inboundPortExclusionList": [7070], "networkInterfaceExclusionList": ["eth1"],
            "enablePermissiveTrafficPolicyMode": true,
            "inboundExternalAuthorization": {
                "enable": false, "address": "a", "port": 9191, "statPrefix": "x", "timeout": "1s",
                "failureModeAllow": false,
            },
        },
        "observability": {
            "osmLogLevel": "info", "enableDebugServer": false,
            "tracing": { "enable": false, "port": 9411, "address": "a", "endpoint": "/api/v2/spans" },
        },
        "certificate": {
            "serviceCertValidityDuration": "24h", "certKeyBitSize": 2048,
            "ingressGateway": {
                "subjectAltNames": ["a.example.com"], "validityDuration": "1h30m",
                "secret": { "name": "s", "namespace": "n" },
            },
        },
        "featureFlags": {
            "enableWASMStats": true, "enableEgressPolicy": true, "enableMulticlusterMode": false,
            "enableSnapshotCacheMode": false, "enableAsyncProxyServiceMapping": false,
            "enableIngressBackendPolicy": true, "enableEnvoyActiveHealthChecks": false,
            "enableRetryPolicy": false, "enableMeshRootCertificate": false,
        },
    })
}

/// Specs that are refused, and what the refusal names.
fn bad() -> Vec<(ManifestKind, &'static str, Value, &'static str)> {
    let account = json!({ "kind": "ServiceAccount", "name": "a", "namespace": "shop" });
    let config = |spec| (ManifestKind::MeshConfig, "v1alpha2", spec);
    let target = |spec| (ManifestKind::TrafficTarget, "v1alpha3", spec);
    let split = |version, spec| (ManifestKind::TrafficSplit, version, spec);
    let mesh_root = |spec| (ManifestKind::MeshRootCertificate, "v1alpha2", spec);
    let token = json!({ "token": { "secretKeyRef": { "name": "a", "key": "b" } } });
    let named =
        |(kind, version, spec): (ManifestKind, &'static str, Value), what| (kind, version, spec, what);
    vec![
        named(config(json!({ "sidecar": { "logLevel": "loud" } })), "logLevel"),
        named(config(json!({ "sidecar": { "localProxyMode": "Host" } })), "localProxyMode"),
        named(config(json!({ "sidecar": { "configResyncInterval": "soon" } })), "configResyncInterval"),
        named(
            config(json!({ "sidecar": {
                "tlsMinProtocolVersion": "TLSv1_3", "tlsMaxProtocolVersion": "TLSv1_2",
            } })),
            "is newer than tlsMaxProtocolVersion",
        ),
        named(config(json!({ "sidecar": { "maxDataPlaneConnections": -1 } })), "maxDataPlaneConnections"),
        named(
            config(json!({ "traffic": { "outboundPortExclusionList": [0] } })),
            "outboundPortExclusionList",
        ),
        named(config(json!({ "traffic": { "outboundIPRangeExclusionList": ["10.0.0.0/33"] } })), "IPRange"),
        named(config(json!({ "traffic": { "enableEgres": true } })), "enableEgres"),
        named(mesh_root(root(json!({}))), "spec.provider"),
        named(
            mesh_root(root(json!({ "certManager": { "issuerName": "a" }, "vault": vault(token.clone()) }))),
            "spec.provider",
        ),
        named(mesh_root(root(json!({ "vault": vault(json!({})) }))), "exactly one of `token`"),
        named(
            mesh_root(root(json!({ "vault": vault(json!({ "token": token["token"], "mount": "a/../b" })) }))),
            "mount",
        ),
        named(mesh_root(root(json!({ "tesla": {} }))), "tesla"),
        named(mesh_root(json!({ "role": "Active", "provider": {} })), "spec.role"),
        named(target(json!({ "sources": [account], "rules": [] })), "destination"),
        named(target(json!({ "destination": account, "rules": [] })), "sources"),
        named(
            target(
                json!({ "destination": account, "sources": [], "rules": [{ "kind": "Route", "name": "x" }] }),
            ),
            "rules[0].kind",
        ),
        named((ManifestKind::HttpRouteGroup, "v1alpha4", json!({})), "matches"),
        named((ManifestKind::HttpRouteGroup, "v1alpha4", json!({ "matches": [{}] })), "name"),
        named(
            (
                ManifestKind::HttpRouteGroup,
                "v1alpha4",
                json!({ "matches": [{ "name": "x", "methods": ["get"] }] }),
            ),
            "methods",
        ),
        named((ManifestKind::TcpRoute, "v1alpha4", json!({ "matches": { "ports": [65536] } })), "ports"),
        named(split("v1alpha4", json!({ "service": "a", "backends": [{ "service": "a" }] })), "weight"),
        named(
            split("v1alpha4", json!({ "service": "a", "backends": [{ "service": "a", "weight": -1 }] })),
            "weight",
        ),
        named(split("v1alpha2", json!({ "service": "a", "backends": [], "matches": [] })), "matches"),
    ]
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_api_server_takes_good_objects_of_each_kind_and_refuses_bad_ones_by_field() {
    let mesh = Mesh::new().await;
    let namespace = mesh.namespace("a");
    for (number, (kind, version, spec)) in good().into_iter().enumerate() {
        mesh.apply(&object(kind, version, &namespace, &format!("x{number}"), &spec)).await;
    }
    for (kind, version, spec, named) in bad() {
        let refused = mesh.try_apply(&object(kind, version, &namespace, "x", &spec)).await;
        let error = refused.err().unwrap_or_else(|| panic!("{kind} {spec} was taken")).to_string();
        assert!(error.contains(named), "{kind} {spec}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn what_is_left_out_is_written_where_the_kinds_say_so_and_nowhere_else() {
    let mesh = Mesh::new().await;
    let namespace = mesh.namespace("a");
    let spec = json!({ "sidecar": {}, "traffic": {} });
    let object = object(ManifestKind::MeshConfig, "v1alpha2", &namespace, "x", &spec);
    let written = mesh.try_apply(&object).await.expect("it is taken").data;
    let sidecar = json!({
        "tlsMinProtocolVersion": "TLSv1_2", "tlsMaxProtocolVersion": "TLSv1_3", "localProxyMode": "Localhost",
    });
    assert_eq!(written["spec"], json!({ "sidecar": sidecar, "traffic": {} }));
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn who_keeps_a_root_never_changes_and_what_is_wished_of_it_does() {
    let mesh = Mesh::new().await;
    let namespace = mesh.namespace("a");
    let tresor = |secret: &str| json!({ "tresor": { "ca": { "secretRef": { "name": secret } } } });
    let of = |spec: &Value| object(ManifestKind::MeshRootCertificate, "v1alpha2", &namespace, "x", spec);
    let first = json!({ "role": "active", "provider": tresor("a") });
    let written = mesh.try_apply(&of(&first)).await.expect("it is taken").data;
    assert_eq!(
        (&written["spec"]["trustDomain"], &written["spec"]["spiffeEnabled"]),
        (&json!("cluster.local"), &json!(false))
    );
    mesh.apply(&of(&json!({ "role": "passive", "paused": true, "provider": tresor("a") }))).await;
    for (spec, said) in [
        (json!({ "role": "active", "provider": tresor("b") }), "the provider never changes"),
        (
            json!({ "role": "active", "provider": tresor("a"), "trustDomain": "b" }),
            "the trust domain never changes",
        ),
        (
            json!({ "role": "active", "provider": tresor("a"), "spiffeEnabled": true }),
            "spiffeEnabled never changes",
        ),
    ] {
        let error = mesh.try_apply(&of(&spec)).await.expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn the_status_of_a_root_and_the_stage_in_it_read_back_as_they_were_written() {
    let mesh = Mesh::new().await;
    let namespace = mesh.namespace("a");
    let provider = json!({ "tresor": { "ca": { "secretRef": { "name": "a" } } } });
    let spec = json!({ "role": "active", "provider": provider });
    mesh.apply(&object(ManifestKind::MeshRootCertificate, "v1alpha2", &namespace, "first", &spec)).await;

    let [first, second]: [ObjectName; 2] = ["first", "second"].map(|name| name.parse().expect("a name"));
    let name = format!("{namespace}/first").parse().expect("a name");
    let root = RootCertificate::new(name, RootProvider::InProcess { secret: "a/a".parse().expect("a name") });
    let mut stage = Stage::first(first.clone(), SystemTime::now());
    stage.trusted.insert(second.clone());
    (stage.revision, stage.previous) = (u64::MAX, Some(second.clone()));
    stage.given_up = Some(GivenUp { root: second, instead: first });
    let known = KnownRoot { root: &root, findings: &[], stage: &stage, step: None, message: "" };
    let status = wanted(known, &RootStatus::default(), "2026-01-01T00:00:00Z");

    let kind = ManifestKind::MeshRootCertificate;
    let api = mesh.api(kind.api_version(), kind.name(), Some(&namespace));
    let patch = Patch::Merge(json!({ "status": status }));
    let written = api.patch_status("first", &PatchParams::default(), &patch).await.expect("it is taken");
    let read = RootStatus::read(&written.data["status"]).expect("a status");
    assert_eq!(read, status);
    assert_eq!(read.stage.expect("it is written").stage().expect("a stage"), stage);
}
