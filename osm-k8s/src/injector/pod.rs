//! One pod: what is done with it.

use std::fmt;

use osm_core::identity::ProxyUuid;
use serde_json::Value;

use super::decision::{Decision, OfMesh, OfNamespace, Texts, UnclearAnnotation, answer};
use super::patch::{Operation, Place, add_element, add_member};
use super::settings::{InjectionSettings, ProxyIdentity, SidecarKind};
use super::sidecar::{Launcher, Needs};
use super::{
    IDENTITY_VOLUME, INIT_CONTAINER, PROXY_CONTAINER, exclusions, init_container, probes, secret_name,
    sidecar,
};
use crate::manifest::PROXY_UUID_LABEL;

/// The annotation, on namespaces, that asks for metrics of their pods.
pub const METRICS_ANNOTATION: &str = "openservicemesh.io/metrics";
/// What tells Prometheus where a pod's metrics are.
pub const SCRAPING: [(&str, &str); 3] = [
    ("prometheus.io/scrape", "true"),
    ("prometheus.io/port", "15010"),
    ("prometheus.io/path", "/stats/prometheus"),
];

/// Adds proxies to pods.
#[derive(Clone)]
pub struct Injector {
    launcher: Launcher,
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").finish_non_exhaustive()
    }
}

/// What is done with a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Why it gets a proxy or none.
    pub decision: Decision,
    /// What is done to it; nothing for one that gets none.
    pub operations: Vec<Operation>,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

/// Why a pod is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A short name for the reason.
    pub code: &'static str,
    /// The field at fault.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.field, self.message, self.code)
    }
}

impl From<UnclearAnnotation> for Refusal {
    fn from(unclear: UnclearAnnotation) -> Self {
        let UnclearAnnotation { annotation, on, value } = unclear;
        let place = if on == "pod" { String::new() } else { format!("{on}: ") };
        Self {
            code: "unclear-annotation",
            field: format!("{place}metadata.annotations[{annotation}]"),
            message: format!("`{value}` is neither `enabled` nor `disabled`"),
        }
    }
}

impl Injector {
    /// An injector of proxies that are started like this.
    #[must_use]
    pub fn new(launcher: Launcher) -> Self {
        Self { launcher }
    }

    /// Decides what is done with a pod that is to be created, as JSON. If it gets a proxy,
    /// that has this name. Pure: the same pod, namespace, settings and name make the
    /// same operations.
    ///
    /// # Errors
    /// When the pod can't be admitted as it is.
    pub fn decide(
        &self,
        pod: &Value,
        namespace: OfNamespace<'_>,
        settings: &InjectionSettings,
        proxy: &ProxyUuid,
    ) -> Result<Injection, Refusal> {
        for (field, part) in [("metadata", &pod["metadata"]), ("spec", &pod["spec"])] {
            if !part.is_object() {
                let message = "a pod has one".to_owned();
                return Err(Refusal { code: "unreadable", field: field.to_owned(), message });
            }
        }
        let annotations = texts(&pod["metadata"]["annotations"]);
        let host_network = pod["spec"]["hostNetwork"] == true;
        let mesh = OfMesh { name: &settings.mesh_name, namespace: Some(&settings.osm_namespace) };
        let decision = Decision::of(mesh, namespace, &annotations, host_network)?;
        let mut injection = Injection { decision, operations: Vec::new(), warnings: Vec::new() };
        if !decision.injects() {
            injection.warn_of_unmet_wish(&annotations);
            return Ok(injection);
        }
        let label = add_member(pod, "/metadata/labels", PROXY_UUID_LABEL, proxy.as_str());
        if has_sidecar(pod)? {
            // A copy, or a second look at the same pod: only the name is its own.
            injection.operations.push(label);
            injection.follow_secret(pod, settings.identity, proxy);
            return Ok(injection);
        }
        injection.check(pod);
        let metrics = answer(namespace.annotations, METRICS_ANNOTATION, "namespace")?.unwrap_or(false);
        let interception = exclusions::of_pod(&annotations, &settings.interception)?;
        let Injection { operations, warnings, .. } = &mut injection;
        let probes = probes::rewrite(pod, &interception, operations, warnings);
        let needs = Needs { probes, metrics, identity: settings.identity };
        operations.push(label);
        if metrics {
            operations.extend(scraping(pod));
        }
        let volume = sidecar::volume(settings.identity, proxy);
        operations.push(add_element(pod, "/spec/volumes", Place::End, volume));
        let proxy = sidecar::container(settings, &(self.launcher)(&needs));
        let init = init_container::container(settings, &interception);
        operations.extend(containers(pod, settings.kind, init, proxy));
        Ok(injection)
    }
}

impl Injection {
    fn warn_of_unmet_wish(&mut self, annotations: &Texts) {
        let asks = answer(annotations, super::decision::INJECTION_ANNOTATION, "pod") == Ok(Some(true));
        let reason = match self.decision {
            Decision::HostNetwork => "it shares the network of its node",
            Decision::SystemNamespace => "no pod of its namespace does",
            Decision::NotMonitored => "its namespace is not in this mesh",
            _ => return,
        };
        if asks {
            self.warnings.push(format!("the pod asks for a proxy and gets none: {reason}"));
        }
    }

    /// Gives a copy the Secret of its own proxy, if the copied one has a Secret.
    fn follow_secret(&mut self, pod: &Value, identity: ProxyIdentity, proxy: &ProxyUuid) {
        let Some((path, copied)) = sidecar::secret_in(pod) else { return };
        let own = secret_name(proxy);
        if copied != own {
            self.operations.push(Operation::Replace { path, value: own.into() });
        }
        if identity != ProxyIdentity::Secret {
            self.warnings.push(
                "the pod is a copy whose proxy needs a Secret, and this mesh makes none any more; create it from \
                 its template"
                    .to_owned(),
            );
        }
    }

    /// Warns of what would make the proxy's work void.
    fn check(&mut self, pod: &Value) {
        let uid = osm_core::interception::PROXY_UID;
        let mut users =
            vec![(String::from("spec.securityContext"), &pod["spec"]["securityContext"]["runAsUser"])];
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"][list].as_array().into_iter().flatten().enumerate();
            users.extend(containers.map(|(index, one)| {
                (format!("spec.{list}[{index}].securityContext"), &one["securityContext"]["runAsUser"])
            }));
        }
        for (field, _) in users.into_iter().filter(|(_, user)| user.as_u64() == Some(uid.into())) {
            let message =
                format!("{field}.runAsUser: {uid} is the proxy's user, whose connections bypass the proxy");
            self.warnings.push(message);
        }
    }
}

/// Whether a pod has this mesh's proxy already.
fn has_sidecar(pod: &Value) -> Result<bool, Refusal> {
    let mut taken = None;
    for list in ["initContainers", "containers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let name = container["name"].as_str().unwrap_or_default();
            let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if name == PROXY_CONTAINER && mounts.any(|mount| mount["name"] == IDENTITY_VOLUME) {
                return Ok(true);
            }
            if [PROXY_CONTAINER, INIT_CONTAINER].contains(&name) {
                taken.get_or_insert_with(|| Refusal {
                    code: "name-taken",
                    field: format!("spec.{list}[{index}].name"),
                    message: format!("`{name}` is the name of a container of the mesh; choose another one"),
                });
            }
        }
    }
    taken.map_or(Ok(false), Err)
}

/// Puts the containers in front of all others, so that nothing of the pod runs before its
/// connections are redirected.
fn containers(pod: &Value, kind: SidecarKind, init: Value, proxy: Value) -> Vec<Operation> {
    let list = "/spec/initContainers";
    match kind {
        SidecarKind::Native if pod["spec"]["initContainers"].is_array() => {
            vec![add_element(pod, list, Place::Front, proxy), add_element(pod, list, Place::Front, init)]
        }
        SidecarKind::Native => {
            vec![Operation::Add { path: list.to_owned(), value: Value::Array(vec![init, proxy]) }]
        }
        SidecarKind::Classic => vec![
            // Init containers of the pod have no proxy yet: they come before the redirection.
            add_element(pod, list, Place::End, init),
            add_element(pod, "/spec/containers", Place::End, proxy),
        ],
    }
}

fn scraping(pod: &Value) -> Vec<Operation> {
    let parent = "/metadata/annotations";
    if pod.pointer(parent).is_some_and(Value::is_object) {
        return SCRAPING.iter().map(|(key, value)| add_member(pod, parent, key, value)).collect();
    }
    let all: serde_json::Map<_, _> =
        SCRAPING.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    vec![Operation::Add { path: parent.to_owned(), value: Value::Object(all) }]
}

/// Labels or annotations of an object in JSON; what is no text is left out, as the API server
/// would refuse it anyway.
pub(crate) fn texts(object: &Value) -> Texts {
    let members = object.as_object().into_iter().flatten();
    members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
