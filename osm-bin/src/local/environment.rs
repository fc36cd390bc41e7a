//! The environment of a container, and `$(NAME)` in its command: pure.
//!
//! As in Kubernetes (core/v1 Container): a reference to a variable that is not
//! defined stays as it is written, and `$$` stands for `$`.

use std::collections::BTreeMap;

use osm_k8s::manifest::{Container, EnvVar, FieldRef};

use super::address_book::NODE;
use super::plan::PodPlan;

/// The variables of a process, by name.
pub type Variables = BTreeMap<String, String>;

/// The variables of a container: `base`, then those of its manifest in order,
/// each of which may refer to those before it.
///
/// # Errors
/// When a value comes from where there is nothing in local mode; the message
/// says which.
pub fn variables(container: &Container, pod: &PodPlan, base: &Variables) -> Result<Variables, String> {
    let mut all = base.clone();
    // Those that the host gave can't be referred to: they are not in the manifest.
    let mut own = Variables::new();
    for variable in &container.env {
        let value = value(variable, pod, &own)?;
        own.insert(variable.name.clone(), value);
    }
    all.append(&mut own);
    Ok(all)
}

fn value(variable: &EnvVar, pod: &PodPlan, known: &Variables) -> Result<String, String> {
    let EnvVar { name, value, value_from } = variable;
    match (value, value_from) {
        (Some(text), _) => Ok(expand(text, known)),
        (None, None) => Ok(String::new()),
        (None, Some(from)) => match &from.field_ref {
            Some(field) => field_value(field, pod).ok_or_else(|| {
                format!(
                    "the variable {name} asks for the field `{}`, which local mode does not know",
                    field.field_path
                )
            }),
            None => Err(format!(
                "the variable {name} comes from a Secret or ConfigMap, which local mode does not have; write its value"
            )),
        },
    }
}

fn field_value(field: &FieldRef, pod: &PodPlan) -> Option<String> {
    let metadata = &pod.pod.metadata;
    let path = field.field_path.as_str();
    if let Some(key) = keyed(path, "metadata.labels") {
        return Some(metadata.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = keyed(path, "metadata.annotations") {
        return Some(metadata.annotations.get(key).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => pod.name.name.to_string(),
        "metadata.namespace" => pod.name.namespace.to_string(),
        "metadata.uid" => pod.uid().to_owned(),
        "spec.serviceAccountName" => pod.pod.spec.service_account().to_string(),
        "spec.nodeName" => "local".to_owned(),
        "status.podIP" | "status.podIPs" => pod.address.to_string(),
        "status.hostIP" | "status.hostIPs" => NODE.to_string(),
        _ => return None,
    })
}

/// The key of `metadata.labels['key']`.
fn keyed<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

/// Replaces each `$(NAME)` by its value.
#[must_use]
pub fn expand(text: &str, variables: &Variables) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
            continue;
        }
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match reference.and_then(|(name, tail)| Some((variables.get(name)?, tail))) {
            Some((value, tail)) => {
                result.push_str(value);
                rest = tail;
            }
            None => {
                result.push('$');
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::testing::{only_pod, plan_of};

    fn set(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn references_are_replaced_and_what_is_none_stays() {
        let variables = set(&[("A", "1"), ("B", "$(A)")]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(C) $A ${A} $( $", "$(C) $A ${A} $( $"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_sees_those_before_it_and_the_fields_of_its_pod() {
        let pod = only_pod(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, labels: {app: x}}, spec: {containers: \
             [{name: c, env: [{name: A, value: '1'}, {name: B, value: '$(A)-$(C)-$(HOME)'}, {name: C, value: '2'}, \
             {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, \
             {name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}, \
             {name: N, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]}]}}",
        );
        let found = variables(&pod.pod.spec.containers[0], &pod, &set(&[("HOME", "/")])).expect("variables");
        let expected = set(&[
            ("A", "1"),
            ("B", "1-$(C)-$(HOME)"),
            ("C", "2"),
            ("HOME", "/"),
            ("IP", &pod.address.to_string()),
            ("L", "x"),
            ("N", "shop"),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_value_that_comes_from_nowhere_is_named() {
        for (from, word) in
            [("{secretKeyRef: {name: s, key: k}}", "Secret"), ("{fieldRef: {fieldPath: x.y}}", "x.y")]
        {
            let plan = plan_of(&format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: shop}}, spec: {{containers: \
                 [{{name: c, env: [{{name: TOKEN, valueFrom: {from}}}]}}]}}}}"
            ));
            let pod = plan.pods.values().next().expect("a pod");
            let problem =
                variables(&pod.pod.spec.containers[0], pod, &Variables::new()).expect_err("nowhere");
            assert!(problem.contains("TOKEN") && problem.contains(word), "{problem}");
        }
    }
}
