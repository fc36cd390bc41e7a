//! What is said of each kind besides its fields: versions, short names, columns.

use serde_json::{Value, json};

use super::schema;
use crate::manifest::{
    HttpRouteGroupSpec, ManifestKind, MeshConfigSpec, RootCertificateSpec, TcpRouteSpec, TrafficSplitSpec,
    TrafficTargetSpec,
};
use crate::status::PolicyStatus;
use crate::status::root::RootStatus;

/// What is said of a kind.
pub(super) struct Defined {
    pub(super) kind: ManifestKind,
    pub(super) short_name: &'static str,
    /// The newest first.
    pub(super) versions: Vec<Version>,
    pub(super) status: Value,
    pub(super) columns: Vec<Column>,
    /// Whether an object without a `spec` means nothing.
    pub(super) needs_spec: bool,
}

/// A version of a kind and its fields.
pub(super) struct Version {
    pub(super) name: &'static str,
    pub(super) spec: Value,
}

/// A column that `kubectl get` shows.
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
}

impl Column {
    pub(super) fn json(&self) -> Value {
        json!({ "name": self.name, "type": self.kind, "jsonPath": self.path })
    }
}

/// Whether the mesh took the object, and how many proxies have it: what every policy
/// shows.
fn policy_columns() -> [Column; 2] {
    [
        Column {
            name: "Accepted",
            kind: "string",
            path: ".status.conditions[?(@.type==\"Accepted\")].status",
        },
        Column { name: "Programmed", kind: "string", path: ".status.programmed" },
    ]
}

/// All kinds that an API server has to learn.
pub(super) fn all() -> Vec<Defined> {
    let policy = |kind, short_name, version, spec| Defined {
        kind,
        short_name,
        versions: vec![Version { name: version, spec }],
        status: schema::of::<PolicyStatus>(),
        columns: policy_columns().into(),
        needs_spec: true,
    };
    vec![
        mesh_config(),
        mesh_root_certificate(),
        policy(ManifestKind::TrafficTarget, "tt", "v1alpha3", schema::of::<TrafficTargetSpec>()),
        policy(ManifestKind::HttpRouteGroup, "htr", "v1alpha4", schema::of::<HttpRouteGroupSpec>()),
        policy(ManifestKind::TcpRoute, "tr", "v1alpha4", schema::of::<TcpRouteSpec>()),
        traffic_split(),
    ]
}

fn mesh_config() -> Defined {
    let setting = |name, path| Column { name, kind: "boolean", path };
    Defined {
        kind: ManifestKind::MeshConfig,
        short_name: "meshconfig",
        versions: vec![Version { name: "v1alpha2", spec: schema::of::<MeshConfigSpec>() }],
        status: schema::of::<PolicyStatus>(),
        columns: vec![
            setting("Permissive", ".spec.traffic.enablePermissiveTrafficPolicyMode"),
            setting("Egress", ".spec.traffic.enableEgress"),
        ],
        needs_spec: false,
    }
}

fn mesh_root_certificate() -> Defined {
    let text = |name, path| Column { name, kind: "string", path };
    Defined {
        kind: ManifestKind::MeshRootCertificate,
        short_name: "mrc",
        versions: vec![Version { name: "v1alpha2", spec: schema::of::<RootCertificateSpec>() }],
        status: schema::of::<RootStatus>(),
        columns: vec![
            text("Role", ".spec.role"),
            text("Trust Domain", ".spec.trustDomain"),
            text("State", ".status.state"),
        ],
        needs_spec: true,
    }
}

fn traffic_split() -> Defined {
    let newest = schema::of::<TrafficSplitSpec>();
    let mut without_matches = newest.clone();
    if let Some(fields) = without_matches["properties"].as_object_mut() {
        fields.remove("matches");
    }
    let service = Column { name: "Service", kind: "string", path: ".spec.service" };
    Defined {
        kind: ManifestKind::TrafficSplit,
        short_name: "ts",
        versions: vec![
            Version { name: "v1alpha4", spec: newest.clone() },
            Version { name: "v1alpha3", spec: newest },
            Version { name: "v1alpha2", spec: without_matches },
        ],
        status: schema::of::<PolicyStatus>(),
        columns: [service].into_iter().chain(policy_columns()).collect(),
        needs_spec: true,
    }
}
