//! The definitions of the mesh's kinds, applied to a real API server: what it takes
//! and what it refuses.

use osm_k8s::ManifestKind;
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
