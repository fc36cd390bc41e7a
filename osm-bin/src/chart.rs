//! The mesh's Helm chart, rendered without helm.
//!
//! The files of `charts/osm` are part of this program. What it makes of them is
//! what `helm template` makes of them, for the same values; a test with the real
//! helm holds that for many values. Nothing here talks to a cluster.

mod schema;
mod set;
mod template;
mod values;

use serde_json::{Value, json};
use thiserror::Error;

pub use schema::Misfit;
pub use set::SetError;
pub use template::TemplateError;
pub use values::{Overrides, ValuesError};

use template::Templates;

/// Files of the chart, by their names in it.
macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((concat!($folder, $name), include_str!(concat!("../../charts/osm/", $folder, $name)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = files!["templates/":
    "_helpers.tpl",
    "cluster-role-binding.yaml",
    "cluster-role.yaml",
    "deployment.yaml",
    "horizontal-pod-autoscaler.yaml",
    "mesh-config.yaml",
    "mutating-webhook.yaml",
    "network-policy.yaml",
    "pod-disruption-budget.yaml",
    "role-binding.yaml",
    "role.yaml",
    "service-account.yaml",
    "service.yaml",
    "validating-webhook.yaml",
];
/// Definitions of the mesh's kinds, as they are generated from the code that reads them.
const DEFINITIONS: &[(&str, &str)] = files!["crds/":
    "access.smi-spec.io_traffictargets.yaml",
    "config.openservicemesh.io_meshconfigs.yaml",
    "config.openservicemesh.io_meshrootcertificates.yaml",
    "specs.smi-spec.io_httproutegroups.yaml",
    "specs.smi-spec.io_tcproutes.yaml",
    "split.smi-spec.io_trafficsplits.yaml",
];
const CHART: &str = include_str!("../../charts/osm/Chart.yaml");
const VALUES: &str = include_str!("../../charts/osm/values.yaml");
const SCHEMA: &str = include_str!("../../charts/osm/values.schema.json");

/// Kinds in the order in which they are put into a cluster. What is not listed
/// comes before the webhooks: those answer only when all else is there.
const ORDER: &[&str] = &[
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
];
const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The chart that this program was built with.
#[derive(Debug)]
pub struct Chart {
    about: Value,
    defaults: Value,
    schema: Value,
    templates: Templates,
}

/// Why a chart can't be rendered.
#[derive(Debug, Error)]
pub enum ChartError {
    /// Values that the chart does not have, or not like this.
    #[error("{}", lines(.0))]
    Values(Vec<Misfit>),
    /// A template that fails for these values.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file of the chart that is no YAML.
    #[error("{file} is no YAML: {message}")]
    File {
        /// Which one.
        file: String,
        /// What is wrong.
        message: String,
    },
}

impl Chart {
    /// The chart that this program was built with.
    ///
    /// # Errors
    /// When one of its files is broken, which a test rules out.
    pub fn built_in() -> Result<Self, ChartError> {
        let mut templates = Templates::default();
        for (name, text) in TEMPLATES {
            templates.add(name, text)?;
        }
        let schema = serde_json::from_str(SCHEMA).map_err(|error| ChartError::File {
            file: "values.schema.json".to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self {
            about: document("Chart.yaml", CHART)?,
            defaults: document("values.yaml", VALUES)?,
            schema,
            templates,
        })
    }

    /// The version of what it installs.
    #[must_use]
    pub fn version(&self) -> &str {
        self.about["appVersion"].as_str().unwrap_or_default()
    }

    /// The definitions of the kinds that the mesh has, which helm installs before all else.
    ///
    /// # Errors
    /// When one of its files is broken, which a test rules out.
    pub fn definitions(&self) -> Result<Vec<Value>, ChartError> {
        DEFINITIONS.iter().map(|(name, text)| document(name, text)).collect()
    }

    /// The chart's own values with some of them overridden.
    ///
    /// # Errors
    /// When a value is unknown or has another form than the schema wants; all of them are named.
    pub fn values(&self, overrides: &Value) -> Result<Value, ChartError> {
        let values = values::overlaid(self.defaults.clone(), overrides);
        let misfits = schema::check(&self.schema, &values);
        if misfits.is_empty() { Ok(values) } else { Err(ChartError::Values(misfits)) }
    }

    /// The objects that a release consists of, in the order in which they are to be applied.
    ///
    /// # Errors
    /// When values are refused or a template fails.
    pub fn render(
        &self,
        release: &str,
        namespace: &str,
        overrides: &Value,
    ) -> Result<Vec<Value>, ChartError> {
        let root = json!({
            "Values": self.values(overrides)?,
            "Release": { "Name": release, "Namespace": namespace, "Service": "Helm" },
            "Chart": {
                "Name": self.about["name"],
                "Version": self.about["version"],
                "AppVersion": self.about["appVersion"],
            },
        });
        let mut objects = Vec::new();
        for (name, _) in TEMPLATES.iter().filter(|(name, _)| name.ends_with(".yaml")) {
            let text = self.templates.render(name, &root)?;
            let documents = osm_k8s::yaml::read(&text)
                .map_err(|error| ChartError::File { file: (*name).to_owned(), message: error.to_string() })?;
            objects.extend(documents);
        }
        objects.sort_by_key(rank);
        Ok(objects)
    }
}

/// Where a kind stands in the order of application.
fn rank(object: &Value) -> usize {
    let kind = object["kind"].as_str().unwrap_or_default();
    let place = |kinds: &[&str]| kinds.iter().position(|known| *known == kind);
    match (place(ORDER), place(LAST)) {
        (Some(place), _) => place,
        (None, None) => ORDER.len(),
        (None, Some(place)) => ORDER.len() + 1 + place,
    }
}

fn document(file: &str, text: &str) -> Result<Value, ChartError> {
    let broken = |message: String| ChartError::File { file: file.to_owned(), message };
    let documents = osm_k8s::yaml::read(text).map_err(|error| broken(error.to_string()))?;
    documents.into_iter().next().ok_or_else(|| broken("it is empty".to_owned()))
}

fn lines(misfits: &[Misfit]) -> String {
    let lines: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::args::ControllerArgs;
    use crate::cluster::authority::DEADLINE;
    use crate::install::CONTROL_PLANE;

    fn chart() -> Chart {
        Chart::built_in().unwrap()
    }

    fn rendered(overrides: Value) -> Vec<Value> {
        chart().render("osm", "osm-system", &overrides).unwrap()
    }

    fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap()
    }

    fn kinds(objects: &[Value]) -> Vec<&str> {
        objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_template_of_the_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/osm/templates");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("templates/{}", entry.unwrap().file_name().to_string_lossy()))
            // What helm says afterwards; `osm` has words of its own.
            .filter(|name| !name.ends_with("NOTES.txt"))
            .collect();
        found.sort();
        let known: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn the_chart_has_the_version_of_this_program() {
        let chart = chart();
        assert_eq!(chart.version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(chart.about["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_default_installation_has_these_objects_webhooks_last() {
        let expected = [
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Service",
            "Deployment",
            "MeshConfig",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ];
        assert_eq!(kinds(&rendered(json!({}))), expected);
    }

    #[test]
    fn options_add_objects() {
        let objects = rendered(json!({"osm": {
            "networkPolicy": {"enable": true},
            "osmController": {"enablePodDisruptionBudget": true, "autoScale": {"enable": true}},
        }}));
        for kind in ["NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"] {
            assert!(kinds(&objects).contains(&kind), "{kind}");
        }
        let deployment = of_kind(&objects, "Deployment");
        assert_eq!(deployment["spec"]["replicas"], Value::Null, "the autoscaler decides");
    }

    #[test]
    fn every_object_has_the_label_of_its_mesh() {
        for object in rendered(json!({"osm": {"meshName": "blue"}})) {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/instance"], "blue", "{object}");
        }
    }

    #[test]
    fn two_meshes_share_no_object() {
        let names = |mesh: &str, namespace: &str| -> Vec<String> {
            let overrides = json!({"osm": {"meshName": mesh}});
            let objects = chart().render(mesh, namespace, &overrides).unwrap();
            objects
                .iter()
                .map(|o| format!("{} {}/{}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
                .collect()
        };
        let blue = names("blue", "blue-system");
        assert!(names("red", "red-system").iter().all(|name| !blue.contains(name)));
    }

    #[test]
    fn the_preset_configuration_is_one_that_the_mesh_reads() {
        let overrides = json!({"osm": {
            "certificateProvider": {"certKeyBitSize": 2048},
            "outboundIPRangeExclusionList": ["10.0.0.0/8"],
            "inboundPortExclusionList": [22],
        }});
        for overrides in [json!({}), overrides] {
            let objects = rendered(overrides);
            let config = of_kind(&objects, "MeshConfig");
            let outcome = osm_k8s::document::read_value(config, 1).outcome;
            assert!(matches!(outcome, osm_k8s::document::Outcome::Manifest(_)), "{outcome:?}");
        }
    }

    #[test]
    fn the_control_plane_understands_the_arguments_that_the_chart_gives_it() {
        let objects = rendered(json!({"osm": {"trustDomain": "example.org"}}));
        let deployment = of_kind(&objects, "Deployment");
        let given = deployment.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap();
        let given = given.iter().map(|argument| argument.as_str().unwrap());
        let args = ControllerArgs::try_parse_from(std::iter::once("osm-controller").chain(given)).unwrap();
        assert_eq!(args.trust_domain.to_string(), "example.org");
        assert_eq!(args.osm_namespace.to_string(), "osm-system");
    }

    #[test]
    fn the_control_plane_has_the_name_by_which_it_is_looked_for() {
        let objects = rendered(json!({}));
        let deployment = of_kind(&objects, "Deployment");
        let pod = &deployment["spec"]["template"];
        for name in [
            &deployment["metadata"]["name"],
            &deployment["metadata"]["labels"]["app"],
            &pod["metadata"]["labels"]["app"],
            &pod["spec"]["containers"][0]["name"],
            &of_kind(&objects, "Service")["metadata"]["name"],
        ] {
            assert_eq!(name, CONTROL_PLANE);
        }
    }

    #[test]
    fn a_control_plane_may_start_for_longer_than_it_asks_for_its_root() {
        let objects = rendered(json!({}));
        let container = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let probe = &container["startupProbe"];
        let seconds = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
        assert!(seconds > DEADLINE.as_secs() + 30, "{probe}");
    }

    #[test]
    fn configurations_are_read_and_written_on_in_the_control_planes_namespace_only() {
        let objects = rendered(json!({}));
        let has = |kind: &str, resource: &str| {
            let rules = of_kind(&objects, kind)["rules"].as_array().unwrap();
            let mut resources = rules.iter().flat_map(|rule| rule["resources"].as_array().unwrap());
            resources.any(|each| each == resource)
        };
        for resource in
            ["meshconfigs", "meshconfigs/status", "meshrootcertificates", "meshrootcertificates/status"]
        {
            assert!(has("Role", resource) && !has("ClusterRole", resource), "{resource}");
        }
        assert!(has("ClusterRole", "trafficsplits/status"));
    }

    #[test]
    fn wrong_values_are_all_named() {
        let overrides = json!({"osm": {"meshname": "x", "osmController": {"replicaCount": 0}}});
        let error = chart().render("osm", "osm-system", &overrides).unwrap_err().to_string();
        assert!(error.contains("osm.meshname") && error.contains("meshName"), "{error}");
        assert!(error.contains("osm.osmController.replicaCount"), "{error}");
    }
}
