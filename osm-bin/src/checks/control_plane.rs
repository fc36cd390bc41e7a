//! Whether the control plane of a mesh works.

use osm_k8s::objects::{ObjectKey, Progress, progress};
use serde_json::Value;

use super::Check;
use crate::install::control_plane_label;

/// What the cluster has of a control plane.
#[derive(Debug, Default)]
pub struct Parts {
    /// Where it is.
    pub namespace: String,
    /// Its deployment.
    pub deployment: Option<Value>,
    /// Its pods.
    pub pods: Vec<Value>,
    /// What each pod answered to the question whether it is ready.
    pub answers: Vec<(String, Answered)>,
    /// Its configuration.
    pub mesh_config: Option<Value>,
    /// Its webhook configurations, by their names.
    pub webhooks: Vec<(ObjectKey, Option<Value>)>,
    /// The definitions of the mesh's kinds, by their names.
    pub definitions: Vec<(ObjectKey, Option<Value>)>,
}

/// A status of HTTP and a text, or why nothing came.
pub type Answered = Result<(u16, String), String>;

/// Checks a control plane.
#[must_use]
pub fn check(parts: &Parts) -> Vec<Check> {
    let mut checks = vec![deployment(parts)];
    checks.extend(parts.answers.iter().map(|(pod, answer)| ready(pod, answer)));
    let missing = "it is not there".to_owned();
    checks.push(Check::unless(
        format!("the MeshConfig {}/osm-mesh-config is there", parts.namespace),
        parts.mesh_config.is_none().then_some(missing.clone()),
        "without it everything is denied; `osm upgrade` brings one",
    ));
    checks.extend(parts.definitions.iter().map(|(key, object)| {
        let trouble = match object.as_ref().map(|object| progress(object, &[])) {
            None => Some(missing.clone()),
            Some(Progress::Ready) => None,
            Some(Progress::Waiting(why) | Progress::Failed(why)) => Some(why),
        };
        Check::unless(format!("{key} is served"), trouble, "`osm upgrade` brings it")
    }));
    checks.extend(parts.webhooks.iter().map(|(key, object)| webhook(key, object.as_ref())));
    checks
}

fn deployment(parts: &Parts) -> Check {
    let what = format!("the control plane runs in {}", parts.namespace);
    let look =
        format!("kubectl describe pods --namespace {} --selector {}", parts.namespace, control_plane_label());
    match &parts.deployment {
        None => Check::bad(what, "it has no deployment", "`osm install` brings one"),
        Some(deployment) => match progress(deployment, &parts.pods) {
            Progress::Ready => Check::good(what),
            Progress::Waiting(why) | Progress::Failed(why) => Check::bad(what, why, look),
        },
    }
}

fn ready(pod: &str, answer: &Answered) -> Check {
    let trouble = match answer {
        Ok((200, _)) => None,
        Ok((status, text)) => Some(format!("it answers {status}: {}", text.trim())),
        Err(why) => Some(why.clone()),
    };
    Check::unless(format!("{pod} says that it is ready"), trouble, "its log says more: kubectl logs")
}

fn webhook(key: &ObjectKey, object: Option<&Value>) -> Check {
    let what = format!("{key} is there, and the API server can verify who answers");
    let Some(object) = object else {
        return Check::bad(what, "it is not there", "`osm upgrade` brings it");
    };
    let webhooks = object["webhooks"].as_array();
    let without = webhooks
        .into_iter()
        .flatten()
        .find(|webhook| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().is_empty());
    let trouble = without.map(|webhook| format!("{} has no caBundle", webhook["name"]));
    Check::unless(what, trouble, "the control plane writes it when it is up; its log says why it did not")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn healthy() -> Parts {
        let webhook = ObjectKey::of_cluster("v1", "MutatingWebhookConfiguration", "w");
        let definition = ObjectKey::of_cluster("v1", "CustomResourceDefinition", "d");
        Parts {
            namespace: "osm-system".to_owned(),
            deployment: Some(
                json!({"kind": "Deployment", "status": {"updatedReplicas": 1, "availableReplicas": 1}}),
            ),
            pods: Vec::new(),
            answers: vec![("p".to_owned(), Ok((200, "ready".to_owned())))],
            mesh_config: Some(json!({})),
            webhooks: vec![(webhook, Some(json!({"webhooks": [{"clientConfig": {"caBundle": "x"}}]})))],
            definitions: vec![(
                definition,
                Some(json!({"kind": "CustomResourceDefinition",
                    "status": {"conditions": [{"type": "Established", "status": "True"}]}})),
            )],
        }
    }

    fn bad(parts: &Parts) -> Vec<String> {
        check(parts).into_iter().filter(|check| !check.ok).filter_map(|check| check.reason).collect()
    }

    #[test]
    fn a_control_plane_that_works_has_nothing_bad() {
        assert_eq!(bad(&healthy()), [] as [String; 0]);
        assert_eq!(check(&healthy()).len(), 5);
    }

    #[test]
    fn each_part_that_is_missing_or_not_ready_is_named() {
        let mut parts = healthy();
        parts.deployment = None;
        parts.answers[0].1 = Ok((503, "waiting for: source\n".to_owned()));
        parts.mesh_config = None;
        parts.webhooks[0].1 = Some(json!({"webhooks": [{"name": "n", "clientConfig": {}}]}));
        parts.definitions[0].1 = None;
        assert_eq!(
            bad(&parts),
            [
                "it has no deployment",
                "it answers 503: waiting for: source",
                "it is not there",
                "it is not there",
                "\"n\" has no caBundle",
            ]
        );
    }
}
