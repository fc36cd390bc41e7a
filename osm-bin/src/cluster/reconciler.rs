//! What a control plane restores of its own installation: what this version's chart makes
//! of the values that it was started with.

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use osm_core::name::NamespaceName;
use osm_k8s::reconcile::{Installation, VALUES_ANNOTATION};
use osm_k8s::webhook::WebhookNames;
use serde_json::json;

use crate::chart::Chart;

/// What is restored, and the values of the installation that it depends on.
#[derive(Debug, Clone, Args)]
pub struct ReconcilerArgs {
    /// Restore the definitions of the mesh's kinds and its webhook configurations when somebody edits or deletes them
    #[arg(long, requires = "webhook_listen")]
    pub enable_reconciler: bool,
    /// How many seconds the webhooks were given when the mesh was installed
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub webhook_timeout: u32,
    /// Whether the mesh was installed so that TrafficTargets are checked
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub validate_traffic_target: bool,
}

impl ReconcilerArgs {
    /// What is restored of the installation of a mesh, if anything is.
    ///
    /// # Errors
    /// When the built-in chart has no such objects, which a test rules out.
    pub fn installation(&self, mesh: &str, namespace: &NamespaceName) -> Result<Option<Installation>> {
        let Self { enable_reconciler, webhook_timeout, validate_traffic_target } = self;
        if !enable_reconciler {
            return Ok(None);
        }
        let values = json!({
            "osm": {
                "meshName": mesh, "enableReconciler": true,
                "injector": { "webhookTimeoutSeconds": webhook_timeout },
            },
            "smi": { "validateTrafficTarget": validate_traffic_target },
        });
        let chart = Chart::built_in()?;
        let rendered = chart.render(mesh, namespace.as_str(), &values).context("the objects to restore")?;
        let WebhookNames { mutating, validating } = WebhookNames::of_mesh(mesh);
        let mut objects = chart.definitions()?;
        objects.extend(rendered.iter().filter(|one| one["kind"].as_str().is_some_and(is_webhooks)).cloned());
        let role = rendered.iter().find(|one| one["kind"] == "ClusterRole");
        let about = role.map(|role| &role["metadata"]).context("the chart has no ClusterRole")?;
        let named = (about["name"].as_str()).zip(about["annotations"][VALUES_ANNOTATION].as_str());
        let (role, values) = named.context("the ClusterRole of the chart does not say what it is")?;
        for name in [&mutating, &validating] {
            let is_there = objects.iter().any(|one| one["metadata"]["name"] == name.as_str());
            anyhow::ensure!(is_there, "the chart has no webhook configuration {name}");
        }
        let (cluster_role, version, values) =
            (role.to_owned(), chart.version().to_owned(), values.to_owned());
        Ok(Some(Installation { cluster_role, version, values, objects }))
    }
}

fn is_webhooks(kind: &str) -> bool {
    kind.ends_with("WebhookConfiguration")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::args::ControllerArgs;

    /// What the control plane restores that these values install, and what they install.
    fn restored(overrides: &Value) -> (Option<Installation>, Vec<Value>) {
        let chart = Chart::built_in().unwrap();
        let objects = chart.render("osm", "osm-system", overrides).unwrap();
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let given = deployment.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap();
        let given = given.iter().map(|argument| argument.as_str().unwrap());
        let args = ControllerArgs::try_parse_from(std::iter::once("osm-controller").chain(given)).unwrap();
        let restored = args.reconciler.installation(&args.mesh_name, &args.osm_namespace).unwrap();
        (restored, [chart.definitions().unwrap(), objects].concat())
    }

    #[test]
    fn what_is_restored_is_what_was_installed_for_every_value_that_it_depends_on() {
        for mesh in ["osm", "blue"] {
            for (namespace, seconds, checked) in [("", 20, true), ("elsewhere", 5, false)] {
                let (restored, installed) = restored(&json!({
                    "osm": {
                        "enableReconciler": true, "meshName": mesh, "osmNamespace": namespace,
                        "injector": { "webhookTimeoutSeconds": seconds },
                    },
                    "smi": { "validateTrafficTarget": checked },
                }));
                let restored = restored.unwrap();
                let is_restored = |one: &&Value| {
                    one["kind"] == "CustomResourceDefinition" || is_webhooks(one["kind"].as_str().unwrap())
                };
                let wanted: Vec<_> = installed.iter().filter(is_restored).cloned().collect();
                assert_eq!((restored.objects.len(), &restored.objects), (8, &wanted));
                let role = installed.iter().find(|one| one["kind"] == "ClusterRole").unwrap();
                assert_eq!(role["metadata"]["name"], restored.cluster_role.as_str());
                assert_eq!(role["metadata"]["annotations"][VALUES_ANNOTATION], restored.values.as_str());
                for object in wanted.iter().chain([role]) {
                    let version = &object["metadata"]["labels"][osm_k8s::reconcile::VERSION_LABEL];
                    assert_eq!(version, restored.version.as_str(), "{object}");
                }
            }
        }
    }

    #[test]
    fn of_two_installations_whose_objects_differ_the_values_differ_as_well() {
        let all: Vec<_> = [
            ("osm-system", 20, true),
            ("other", 20, true),
            ("osm-system", 5, true),
            ("osm-system", 20, false),
        ]
        .into_iter()
        .map(|(namespace, seconds, checked)| {
            let args = ReconcilerArgs {
                enable_reconciler: true,
                webhook_timeout: seconds,
                validate_traffic_target: checked,
            };
            args.installation("osm", &namespace.parse().unwrap()).unwrap().unwrap()
        })
        .collect();
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert!(one.objects != other.objects && one.values != other.values, "{}", one.values);
            }
        }
    }

    #[test]
    fn nothing_is_restored_and_nothing_may_be_created_unless_that_is_asked_for() {
        let may_create = |objects: &[Value]| {
            let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap().to_string();
            role.contains("customresourcedefinitions")
        };
        let (none, objects) = restored(&json!({}));
        assert!(none.is_none() && !may_create(&objects));
        assert!(may_create(&restored(&json!({"osm": {"enableReconciler": true}})).1));
    }

    #[test]
    fn every_definition_may_be_restored_by_its_name() {
        let (_, objects) = restored(&json!({"osm": {"enableReconciler": true}}));
        let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        let rules = role["rules"].as_array().unwrap().iter();
        let named: Vec<&str> = rules
            .filter(|rule| rule["resources"][0] == "customresourcedefinitions")
            .flat_map(|rule| rule["resourceNames"].as_array().into_iter().flatten())
            .map(|name| name.as_str().unwrap())
            .collect();
        let definitions = Chart::built_in().unwrap().definitions().unwrap();
        let names: Vec<&str> =
            definitions.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(named, names);
    }
}
