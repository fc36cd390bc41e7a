//! Whether an object is as it was installed, and what to do where it is not. Pure.

use std::cmp::Ordering;

use semver::Version;
use serde_json::{Value, json};

use super::anchor::VERSION_LABEL;

/// The label of what is the mesh's.
const NAME_LABEL: &str = "app.kubernetes.io/name";

/// Fields of an object that are not its content.
const ABOUT: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];
/// What the API server writes where nothing is said, and is not empty.
const DEFAULTS: [(&str, &str); 1] = [("reinvocationPolicy", "Never")];

/// What to do about an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Make it.
    Create,
    /// These operations of a JSON patch.
    Patch(Vec<Value>),
}

/// What to do so that an object is as it is wanted. Nothing, where it is another version's or
/// somebody else's, and while it is being deleted. Labels that others have added stay.
pub(super) fn decide(wanted: &Value, present: Option<&Value>) -> Step {
    let Some(present) = present else { return Step::Create };
    if !present["metadata"]["deletionTimestamp"].is_null() || !is_ours(wanted, present) {
        return Step::Keep;
    }
    let contents =
        wanted.as_object().into_iter().flatten().filter(|(name, _)| !ABOUT.contains(&name.as_str()));
    let edited = contents.filter(|(name, content)| !is_as(content, &present[name.as_str()]));
    let mut operations: Vec<Value> = edited
        .map(|(name, content)| json!({ "op": "add", "path": format!("/{name}"), "value": content }))
        .collect();
    let mut labels = present["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(wanted["metadata"]["labels"].as_object().cloned().unwrap_or_default());
    let labels = Value::Object(labels);
    if !is_as(&labels, &present["metadata"]["labels"]) {
        operations.push(json!({ "op": "add", "path": "/metadata/labels", "value": labels }));
    }
    if operations.is_empty() { Step::Keep } else { Step::Patch(operations) }
}

/// Whether an object is the definition of a kind.
pub(super) fn is_definition(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
}

/// Whether an object that is there is one that the version of the wanted one may change.
///
/// Configurations of webhooks belong to one mesh and so to one version. Definitions are
/// shared by all meshes, and objects may have fields that only the newest knows: none is taken back.
fn is_ours(wanted: &Value, present: &Value) -> bool {
    let (ours, theirs) = (label(wanted, VERSION_LABEL), label(present, VERSION_LABEL));
    if is_definition(wanted) {
        let is_newer =
            theirs.zip(ours).is_some_and(|(theirs, ours)| order(theirs, ours) == Ordering::Greater);
        label(present, NAME_LABEL) == label(wanted, NAME_LABEL) && !is_newer
    } else {
        theirs.is_none() || theirs == ours
    }
}

fn label<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object["metadata"]["labels"][name].as_str()
}

/// The order of two versions, as of Semantic Versioning. Of two builds of one version, one is the newer
/// as well, so that two never take turns. What is no version is older than all.
fn order(one: &str, other: &str) -> Ordering {
    // A label has an underscore where a version has a plus.
    let version = |text: &str| Version::parse(&text.replace('_', "+")).ok();
    version(one).cmp(&version(other))
}

/// Whether a value is the wanted one, but for what an API server adds where nothing is said.
fn is_as(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) => {
            let has_all =
                wanted.iter().all(|(name, value)| is_as(value, present.get(name).unwrap_or(&Value::Null)));
            let added = present.iter().filter(|(name, _)| !wanted.contains_key(*name));
            has_all && added.into_iter().all(|(name, value)| is_default(name, value))
        }
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len() && wanted.iter().zip(present).all(|(one, other)| is_as(one, other))
        }
        // 1 and 1.0 are one number.
        (Value::Number(wanted), Value::Number(present)) => wanted.as_f64() == present.as_f64(),
        (wanted, Value::Null) => is_empty(wanted),
        (wanted, present) => wanted == present,
    }
}

fn is_default(name: &str, value: &Value) -> bool {
    is_empty(value) || DEFAULTS.iter().any(|(field, default)| *field == name && value == default)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "1.2.0";

    fn labels(version: &str) -> Value {
        json!({ (NAME_LABEL): "openservicemesh.io", (VERSION_LABEL): version })
    }

    fn webhooks() -> Value {
        json!({
            "kind": "MutatingWebhookConfiguration", "metadata": { "name": "w", "labels": labels(OURS) },
            "webhooks": [{
                "name": "w.example.org", "timeoutSeconds": 20, "failurePolicy": "Fail",
                "rules": [{ "resources": ["pods"] }],
            }],
        })
    }

    fn definition(version: &str) -> Value {
        json!({
            "kind": "CustomResourceDefinition", "metadata": { "name": "d", "labels": labels(version) },
            "spec": { "scope": "Namespaced", "names": { "shortNames": ["d"] } },
        })
    }

    /// The object as an API server has it, with a change.
    fn there(object: &Value, change: impl FnOnce(&mut Value)) -> Value {
        let mut there = object.clone();
        there["metadata"]["resourceVersion"] = "7".into();
        there["metadata"]["managedFields"] = json!([{}]);
        there["metadata"]["labels"]["team"] = "mesh".into();
        there["status"] = json!({ "conditions": [] });
        for webhook in there["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["reinvocationPolicy"] = "Never".into();
            webhook["objectSelector"] = json!({});
            webhook["timeoutSeconds"] = json!(20.0);
        }
        change(&mut there);
        there
    }

    fn changed(wanted: &Value, change: impl FnOnce(&mut Value)) -> Step {
        decide(wanted, Some(&there(wanted, change)))
    }

    #[test]
    fn an_object_as_the_api_server_completes_it_is_left_alone() {
        for wanted in [webhooks(), definition(OURS)] {
            assert_eq!(changed(&wanted, |_| ()), Step::Keep);
            assert_eq!(decide(&wanted, None), Step::Create);
            let ending = json!("2026-01-01T00:00:00Z");
            let is_ending = |one: &mut Value| {
                one["metadata"]["deletionTimestamp"] = ending;
                one["spec"] = Value::Null;
            };
            assert_eq!(changed(&wanted, is_ending), Step::Keep, "it is made anew once it is gone");
        }
    }

    #[test]
    fn every_edit_of_the_content_is_undone() {
        let edits: [fn(&mut Value); 7] = [
            |one| one["webhooks"][0]["failurePolicy"] = "Ignore".into(),
            |one| one["webhooks"][0]["timeoutSeconds"] = json!(1),
            |one| one["webhooks"][0]["objectSelector"] = json!({ "matchLabels": { "a": "b" } }),
            |one| one["webhooks"][0]["reinvocationPolicy"] = "IfNeeded".into(),
            |one| one["webhooks"][0]["rules"][0]["resources"] = json!(["pods", "services"]),
            |one| one["webhooks"] = json!([]),
            |one| one["webhooks"] = Value::Null,
        ];
        for edit in edits {
            let Step::Patch(operations) = changed(&webhooks(), edit) else { panic!("an edit was let pass") };
            assert_eq!(
                operations,
                [json!({ "op": "add", "path": "/webhooks", "value": webhooks()["webhooks"] })]
            );
        }
        let Step::Patch(operations) =
            changed(&definition(OURS), |one| one["spec"]["scope"] = "Cluster".into())
        else {
            panic!("an edit was let pass")
        };
        assert_eq!(operations[0]["path"], "/spec");
    }

    #[test]
    fn labels_come_back_and_those_of_others_stay() {
        let step = changed(&webhooks(), |one| one["metadata"]["labels"] = json!({ "team": "mesh" }));
        let mut labels = labels(OURS);
        labels["team"] = "mesh".into();
        assert_eq!(
            step,
            Step::Patch(vec![json!({ "op": "add", "path": "/metadata/labels", "value": labels })])
        );
    }

    #[test]
    fn what_another_version_has_is_left_to_it_and_definitions_are_never_taken_back() {
        let of = |version: &'static str| {
            move |one: &mut Value| {
                one["metadata"]["labels"][VERSION_LABEL] = version.into();
                one["spec"]["scope"] = "Cluster".into();
                one["webhooks"] = json!([]);
            }
        };
        for version in ["1.3.0", "1.1.9"] {
            assert_eq!(changed(&webhooks(), of(version)), Step::Keep, "{version}");
        }
        assert_eq!(changed(&definition(OURS), of("1.10.0")), Step::Keep);
        assert_ne!(changed(&definition(OURS), of("1.1.9")), Step::Keep, "helm does not upgrade definitions");
        let theirs = |one: &mut Value| {
            one["metadata"]["labels"] = json!({ "app": "other" });
            one["spec"]["scope"] = "Cluster".into();
        };
        assert_eq!(changed(&definition(OURS), theirs), Step::Keep, "the definition of somebody else");
    }

    #[test]
    fn versions_have_the_order_in_which_they_were_made() {
        for (one, other, expected) in [
            ("1.2.0", "1.2.0", Ordering::Equal),
            ("1.10.0", "1.9.9", Ordering::Greater),
            ("1.2.0-rc.1", "1.2.0", Ordering::Less),
            ("1.2.0-rc.10", "1.2.0-rc.9", Ordering::Greater),
            ("1.2.0-rc.1", "1.2.0-beta.3", Ordering::Greater),
            ("2.0.0", "1.9.0-rc.1", Ordering::Greater),
            ("1.2.0+build", "1.1.9", Ordering::Greater),
            ("1.2.0_build", "1.2.0+build", Ordering::Equal),
            ("1.2.0+two", "1.2.0+one", Ordering::Greater),
            ("what", "0.1.0", Ordering::Less),
        ] {
            assert_eq!(order(one, other), expected, "{one} {other}");
        }
    }
}
