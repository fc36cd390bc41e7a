//! The proxy's container and its volume.

use std::sync::Arc;

use osm_core::identity::ProxyUuid;
use osm_core::interception::{HEALTHCHECK_PORT, INBOUND_PORT, METRICS_PORT, PROXY_UID};
use osm_core::probe::AnsweredProbe;
use serde_json::{Value, json};

use super::settings::{InjectionSettings, ProxyIdentity, SidecarKind};
use super::{IDENTITY_FOLDER, IDENTITY_VOLUME, PROXY_CONTAINER, TOKEN_AUDIENCE, TOKEN_FILE, secret_name};
use crate::manifest::PROXY_UUID_LABEL;
use crate::trust_bundle::TRUST_CONFIG_MAP;

/// How long a token lives, in seconds. Kubernetes replaces it at four fifths.
const TOKEN_LIFE: u32 = 3600;
/// How long a proxy may wait for its configuration before it is started anew, in seconds.
const START_BOUND: u32 = 600;

/// What a proxy has to do for its pod beside what its control plane tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The probes that it answers.
    pub probes: Vec<AnsweredProbe>,
    /// Whether it shows its metrics.
    pub metrics: bool,
    /// What it proves itself with.
    pub identity: ProxyIdentity,
}

/// What a proxy is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its configuration: it takes what it proves itself with and the authorities from
    /// [`IDENTITY_FOLDER`], its name from arguments, and says on [`HEALTHCHECK_PORT`] whether it is ready.
    pub config: String,
    /// Arguments beside those that give it its configuration and name.
    pub arguments: Vec<String>,
    /// The path at which it says that it is ready.
    pub ready_path: &'static str,
}

/// Says what a proxy is started with.
pub type Launcher = Arc<dyn Fn(&Needs) -> Launch + Send + Sync>;

/// The container of a proxy.
pub(super) fn container(settings: &InjectionSettings, launch: &Launch) -> Value {
    let Launch { config, arguments, ready_path } = launch;
    let own = [
        "--config-yaml",
        &literal(config),
        // The names follow the pod, so that a copy of it has its own.
        "--service-node",
        "$(OSM_PROXY_UUID)",
        "--service-cluster",
        "$(SERVICE_ACCOUNT).$(POD_NAMESPACE)",
        "--log-level",
        settings.log_level,
        "--disable-hot-restart",
    ]
    .map(str::to_owned);
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "image": settings.sidecar_image,
        "command": ["envoy"],
        "args": own.into_iter().chain(arguments.iter().map(|one| literal(one))).collect::<Vec<_>>(),
        "env": [
            from_field("OSM_PROXY_UUID", &format!("metadata.labels['{PROXY_UUID_LABEL}']")),
            from_field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            from_field("POD_NAMESPACE", "metadata.namespace"),
        ],
        "ports": [
            { "name": "proxy-inbound", "containerPort": INBOUND_PORT },
            { "name": "proxy-metrics", "containerPort": METRICS_PORT },
        ],
        "securityContext": {
            "runAsUser": PROXY_UID,
            "runAsGroup": PROXY_UID,
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": IDENTITY_VOLUME, "mountPath": IDENTITY_FOLDER, "readOnly": true }],
    });
    let ready = json!({
        "httpGet": { "path": ready_path, "port": HEALTHCHECK_PORT },
        "periodSeconds": 1,
        "timeoutSeconds": 2,
        "failureThreshold": START_BOUND,
    });
    match settings.kind {
        SidecarKind::Native => {
            container["restartPolicy"] = "Always".into();
            container["startupProbe"] = ready;
        }
        SidecarKind::Classic => container["readinessProbe"] = ready,
    }
    add_common(&mut container, settings);
    container
}

/// The volume with what a proxy proves itself with and the authorities of the mesh. Kubernetes
/// starts nothing of the pod until all of it is there.
pub(super) fn volume(identity: ProxyIdentity, proxy: &ProxyUuid) -> Value {
    let own = match identity {
        ProxyIdentity::Token => json!({ "serviceAccountToken": {
            "audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_LIFE, "path": TOKEN_FILE,
        } }),
        ProxyIdentity::Secret => json!({ "secret": { "name": secret_name(proxy) } }),
    };
    // The authorities are not in the Secret, so that a new root is one write for a namespace.
    let sources = [own, json!({ "configMap": { "name": TRUST_CONFIG_MAP } })];
    json!({ "name": IDENTITY_VOLUME, "projected": { "sources": sources } })
}

/// Where a pod's volume names the Secret of its proxy, and which; `None` if it has none.
pub(super) fn secret_in(pod: &Value) -> Option<(String, &str)> {
    let volumes = pod["spec"]["volumes"].as_array()?.iter().enumerate();
    let (volume, sources) = volumes
        .filter(|(_, volume)| volume["name"] == IDENTITY_VOLUME)
        .find_map(|(index, volume)| Some((index, volume["projected"]["sources"].as_array()?)))?;
    sources.iter().enumerate().find_map(|(source, one)| {
        let name = one["secret"]["name"].as_str()?;
        Some((format!("/spec/volumes/{volume}/projected/sources/{source}/secret/name"), name))
    })
}

/// What both containers have of the settings.
pub(super) fn add_common(container: &mut Value, settings: &InjectionSettings) {
    if !settings.pull_policy.is_empty() {
        container["imagePullPolicy"] = settings.pull_policy.as_str().into();
    }
    if let Some(resources) = &settings.resources {
        container["resources"] = resources.clone();
    }
}

/// A text of which Kubernetes fills in nothing.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn from_field(name: &str, field: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": field } } })
}
