//! What a cluster has in tests of the webhooks: one namespace of the mesh, and no MeshConfig.
//! Shared with the tests from outside of this crate, so that it names no type of the crate
//! but by what is around it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::SidecarDefaults;

/// What an API server answers to a request for this path.
pub(super) fn answer(path: &str) -> (StatusCode, Value) {
    match path {
        "/api/v1/namespaces/shop" => (StatusCode::OK, namespace()),
        "/api/v1/namespaces/away" => (StatusCode::INTERNAL_SERVER_ERROR, json!({})),
        "/version" => (
            StatusCode::OK,
            json!({
                "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
            }),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "not found", "reason": "NotFound", "code": 404,
            }),
        ),
    }
}

fn namespace() -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": "shop",
            "labels": { "openservicemesh.io/monitored-by": "osm" },
            "annotations": { "openservicemesh.io/sidecar-injection": "enabled" },
        },
    })
}

/// What proxies are where the MeshConfig says nothing, with sidecars as the cluster has them.
pub(super) fn defaults() -> SidecarDefaults {
    SidecarDefaults {
        mesh_name: "osm".to_owned(),
        osm_namespace: "osm-system".to_owned(),
        sidecar_image: "envoy:1".to_owned(),
        init_image: "init:1".to_owned(),
        pull_policy: String::new(),
        kind: None,
        identity: Default::default(),
    }
}
