//! Pods before and after injection.
//!
//! `pods/NAME.yaml` is a case and a pod; `pods/NAME.injected.yaml` is what becomes of the pod. With
//! `UPDATE_GOLDENS=1` those are written instead of compared.
#![allow(clippy::disallowed_methods, reason = "a test is told by its environment to write goldens")]

mod refusals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use osm_k8s::injector::decision::OfNamespace;
use osm_k8s::injector::{
    Injection, InjectionSettings, Injector, Launch, Needs, ProxyIdentity, Refusal, SidecarDefaults,
    SidecarKind,
};
use osm_k8s::manifest::MeshConfigSpec;
use serde::Deserialize;
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/injection/pods");

/// What surrounds a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    /// Annotations of its namespace beside the one that asks for proxies.
    annotations: BTreeMap<String, String>,
    /// The spec of the MeshConfig.
    mesh: Value,
    /// Whether the cluster has no native sidecars.
    classic: bool,
    /// Whether proxies prove themselves by Secrets.
    secret: bool,
}

impl Case {
    fn settings(&self) -> InjectionSettings {
        let defaults = SidecarDefaults {
            mesh_name: "osm".to_owned(),
            osm_namespace: "osm-system".to_owned(),
            sidecar_image: "envoy:1".to_owned(),
            init_image: "init:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            kind: None,
            identity: if self.secret { ProxyIdentity::Secret } else { ProxyIdentity::Token },
        };
        let spec: Option<MeshConfigSpec> =
            serde_json::from_value(self.mesh.clone()).expect("the spec of a MeshConfig");
        let kind = if self.classic { SidecarKind::Classic } else { SidecarKind::Native };
        defaults.under(&spec.unwrap_or_default(), kind)
    }

    fn decide(&self, pod: &Value) -> Result<Injection, Refusal> {
        let labels = [("openservicemesh.io/monitored-by".to_owned(), "osm".to_owned())].into();
        let mut annotations = self.annotations.clone();
        annotations
            .entry("openservicemesh.io/sidecar-injection".to_owned())
            .or_insert_with(|| "enabled".to_owned());
        let namespace = OfNamespace { name: "shop", labels: &labels, annotations: &annotations };
        let proxy = "11111111-2222-3333-4444-555555555555".parse().expect("a UUID");
        injector().decide(pod, namespace, &self.settings(), &proxy)
    }
}

/// Proxies whose configuration says what they need; what Envoy makes of that is tested elsewhere.
fn injector() -> Injector {
    Injector::new(Arc::new(|needs: &Needs| Launch {
        config: format!("price: $5\n{needs:#?}\n"),
        arguments: vec!["--drain".to_owned()],
        ready_path: "/ready",
    }))
}

/// The pod as the API server makes it by the patch.
fn patched(pod: &Value, injection: &Injection) -> Value {
    let operations = serde_json::to_value(&injection.operations).expect("operations are JSON");
    let patch: json_patch::Patch = serde_json::from_value(operations).expect("a JSON patch");
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).expect("it can be applied");
    pod
}

fn yaml<'de, T: Deserialize<'de>>(text: &'de str) -> T {
    serde_saphyr::from_str(text).expect("YAML")
}

fn read(path: &Path) -> (Case, Value) {
    let text = std::fs::read_to_string(path).expect("it can be read");
    let (case, pod) = text.split_once("\n---\n").expect("a case and a pod");
    (yaml(case), yaml(pod))
}

fn cases() -> Vec<PathBuf> {
    let files = std::fs::read_dir(FOLDER).expect("a folder");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".injected.yaml"));
    paths.sort();
    paths
}

#[test]
fn every_pod_becomes_what_its_golden_says() {
    let mut different = Vec::new();
    for path in cases() {
        let (case, pod) = read(&path);
        let injection = case.decide(&pod).unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
        let patched = patched(&pod, &injection);
        // What the API server would not read.
        let read: Pod = serde_json::from_value(patched.clone()).expect("a pod");
        let written = serde_json::to_value(&read).expect("JSON");
        assert_eq!(
            written["spec"],
            patched["spec"],
            "{}: a field that Kubernetes does not know",
            path.display()
        );
        let mut text = serde_saphyr::to_string(&patched).expect("YAML");
        for warning in &injection.warnings {
            text.push_str(&format!("# warning: {warning}\n"));
        }
        let golden = path.with_extension("injected.yaml");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&golden, &text).expect("it can be written");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != text {
            different.push(format!("{}\n{text}", golden.display()));
        }
    }
    let first = different.first().map_or("", String::as_str);
    assert!(
        different.is_empty(),
        "{} goldens differ; UPDATE_GOLDENS=1 writes them. The first:\n{first}",
        different.len()
    );
    assert!(cases().len() >= 10);
}

#[test]
fn a_second_look_at_an_injected_pod_changes_only_its_name() {
    for path in cases() {
        let (case, pod) = read(&path);
        let once = patched(&pod, &case.decide(&pod).expect("admitted"));
        let again = case.decide(&once).expect("admitted");
        assert_eq!(patched(&once, &again), once, "{}", path.display());
        assert!(again.operations.len() <= 1, "{}", path.display());
    }
}
