//! How far an object is from what it is to become: read from its status, and from those of its pods.

use serde_json::Value;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is as it is to be.
    Ready,
    /// Not yet; with what is missing.
    Waiting(String),
    /// It won't be; with the reason.
    Failed(String),
}

/// How far an object is, whose pods are these. An object that has nothing to become is ready.
#[must_use]
pub fn progress(object: &Value, pods: &[Value]) -> Progress {
    match object["kind"].as_str() {
        Some("Deployment") => deployment(object, pods),
        Some("CustomResourceDefinition") => definition(object),
        _ => Progress::Ready,
    }
}

/// The labels of a deployment's pods, as the API server takes them.
pub(super) fn selector(object: &Value) -> Option<String> {
    let labels = object.pointer("/spec/selector/matchLabels")?.as_object()?;
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    Some(labels.join(","))
}

fn deployment(object: &Value, pods: &[Value]) -> Progress {
    let status = |name: &str| object["status"][name].as_i64().unwrap_or_default();
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    if status("observedGeneration") < generation {
        return Progress::Waiting("the change has not been seen yet".to_owned());
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let (updated, available, all) =
        (status("updatedReplicas"), status("availableReplicas"), status("replicas"));
    if updated >= wanted && available >= updated && all <= updated {
        return Progress::Ready;
    }
    let troubles: Vec<String> = pods.iter().filter_map(trouble).collect();
    let ready = updated.min(available);
    let mut text = format!("{ready} of {wanted} pods are ready");
    if all > updated {
        text.push_str(&format!(", {} of before are still there", all - updated));
    }
    if let Some(trouble) = troubles.first() {
        text.push_str(&format!(" ({trouble})"));
    }
    Progress::Waiting(text)
}

/// What keeps a pod from being ready, as far as it says so.
fn trouble(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or("?");
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    for container in lists.into_iter().flatten().flatten() {
        let state = &container["state"];
        let (what, reason) = match (&state["waiting"], &state["terminated"]) {
            (Value::Null, Value::Null) => continue,
            (Value::Null, ended) => (ended, &ended["reason"]),
            (waiting, _) => (waiting, &waiting["reason"]),
        };
        let reason = reason.as_str().unwrap_or_default();
        if ["ContainerCreating", "PodInitializing", "Completed"].contains(&reason) {
            continue;
        }
        let message = what["message"].as_str().map(|message| format!(": {message}")).unwrap_or_default();
        return Some(format!("{name}: {reason}{message}"));
    }
    let conditions = pod["status"]["conditions"].as_array()?;
    let refused = |condition: &&Value| condition["type"] == "PodScheduled" && condition["status"] == "False";
    let unscheduled = conditions.iter().find(refused)?;
    Some(format!("{name}: {}", unscheduled["message"].as_str().unwrap_or("not scheduled")))
}

fn definition(object: &Value) -> Progress {
    let conditions = object["status"]["conditions"].as_array();
    let holds = |name: &str, value: &str| {
        conditions.into_iter().flatten().find(|each| each["type"] == name && each["status"] == value)
    };
    if let Some(refusal) = holds("NamesAccepted", "False") {
        return Progress::Failed(refusal["message"].as_str().unwrap_or("its names are taken").to_owned());
    }
    match holds("Established", "True") {
        Some(_) => Progress::Ready,
        None => Progress::Waiting("is not served yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployed(status: Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status})
    }

    fn waits(object: &Value, pods: &[Value], expected: &str) {
        assert_eq!(progress(object, pods), Progress::Waiting(expected.to_owned()));
    }

    #[test]
    fn a_deployment_is_ready_when_all_pods_are_new_and_available() {
        let good = deployed(
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
        );
        assert_eq!(progress(&good, &[]), Progress::Ready);
        let unseen = deployed(
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
        );
        waits(&unseen, &[], "the change has not been seen yet");
        let rolling = deployed(
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}),
        );
        waits(&rolling, &[], "1 of 2 pods are ready, 2 of before are still there");
    }

    #[test]
    fn a_pod_that_can_not_start_says_why() {
        let object = deployed(json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}));
        let pod = |state: Value| json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": state}]}});
        let pulling = pod(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}));
        waits(&object, &[pulling], "0 of 2 pods are ready (p: ErrImagePull: no such image)");
        let starting = pod(json!({"waiting": {"reason": "ContainerCreating"}}));
        waits(&object, &[starting], "0 of 2 pods are ready");
        let homeless = json!({"metadata": {"name": "p"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "no node is large enough"}]}});
        waits(&object, &[homeless], "0 of 2 pods are ready (p: no node is large enough)");
    }

    #[test]
    fn a_definition_is_ready_when_it_is_served() {
        let with = |conditions: Value| json!({"kind": "CustomResourceDefinition", "status": {"conditions": conditions}});
        let good = with(json!([{"type": "Established", "status": "True"}]));
        assert_eq!(progress(&good, &[]), Progress::Ready);
        waits(&with(json!([])), &[], "is not served yet");
        let taken = with(json!([{"type": "NamesAccepted", "status": "False", "message": "taken"}]));
        assert_eq!(progress(&taken, &[]), Progress::Failed("taken".to_owned()));
    }

    #[test]
    fn what_has_nothing_to_become_is_ready() {
        assert_eq!(progress(&json!({"kind": "Service"}), &[]), Progress::Ready);
    }
}
