//! The roots of a mesh, as its MeshRootCertificates and the stage of their change tell of them.

use anyhow::{Context, Result};
use osm_k8s::manifest::ManifestKind;
use osm_k8s::objects::{ObjectKey, ObjectsError};
use osm_k8s::root_stage::{STAGE_CONFIG_MAP, STAGE_FIELD};
use osm_k8s::status::root::StageStatus;
use serde::Serialize;
use serde_json::Value;

use crate::cli::connection::Cluster;
use crate::cli::table::{Output, show};

/// The kind of a root's object.
pub(super) const KIND: ManifestKind = ManifestKind::MeshRootCertificate;

/// A root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root {
    pub(super) name: String,
    /// What is wished of it; nothing where it has no object.
    pub(super) role: Option<String>,
    /// Who keeps it.
    provider: Option<String>,
    /// The trust domain of identities under it.
    trust_domain: Option<String>,
    /// Whether it signs for workloads.
    signs: bool,
    /// Whether everybody is told to trust it.
    trusted: bool,
    /// What the mesh does with it now, in the words of its status.
    state: Option<String>,
    /// The same for people: who is waited for.
    message: String,
}

/// The stage that the mesh is in; nothing before it was ever written down.
pub(super) async fn stage(cluster: &Cluster, namespace: &str) -> Result<Option<StageStatus>> {
    let key = ObjectKey::namespaced("v1", "ConfigMap", namespace, STAGE_CONFIG_MAP);
    let Some(map) = cluster.objects.get(&key).await? else { return Ok(None) };
    let text = map["data"][STAGE_FIELD].as_str();
    let text = text.with_context(|| format!("{key} does not say which roots are in use"))?;
    serde_json::from_str(text).map(Some).with_context(|| format!("{key} does not say which roots are in use"))
}

/// The roots that there are.
pub(super) async fn roots(cluster: &Cluster, namespace: &str) -> Result<Vec<Root>> {
    let stage = stage(cluster, namespace).await?;
    let objects = cluster.objects.list(KIND.key(), Some(namespace), "").await?;
    Ok(joined(&objects, stage.as_ref()))
}

/// Whether an API server does not let roots be looked at.
pub(super) fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ObjectsError>().is_some_and(ObjectsError::is_forbidden)
}

/// Roots by what their objects and the stage say. Pure.
fn joined(objects: &[Value], stage: Option<&StageStatus>) -> Vec<Root> {
    let mut roots: Vec<Root> = objects.iter().map(of).collect();
    let in_use = stage.iter().flat_map(|stage| &stage.trusted);
    for name in in_use {
        if !roots.iter().any(|root| root.name == *name) {
            roots.push(Root { name: name.clone(), ..Root::default() });
        }
    }
    for root in &mut roots {
        root.signs = stage.is_some_and(|stage| stage.issuing == root.name);
        let in_force = stage.and_then(|stage| stage.trust_domains.get(&root.name));
        if let Some(domain) = in_force {
            root.trust_domain = Some(domain.clone());
        }
        root.trusted = stage.is_some_and(|stage| stage.trusted.contains(&root.name));
    }
    roots.sort_by(|one, other| {
        (!one.signs, !one.trusted, &one.name).cmp(&(!other.signs, !other.trusted, &other.name))
    });
    roots
}

fn of(object: &Value) -> Root {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let provider = object["spec"]["provider"].as_object();
    Root {
        name: text(&object["metadata"]["name"]).unwrap_or_default(),
        role: text(&object["spec"]["role"]),
        provider: provider.and_then(|provider| provider.keys().next().cloned()),
        trust_domain: text(&object["spec"]["trustDomain"]),
        state: text(&object["status"]["state"]),
        message: text(&object["status"]["message"]).unwrap_or_default(),
        ..Root::default()
    }
}

/// Shows them to people.
pub(super) fn print(roots: &[Root]) -> Result<()> {
    let none =
        "nothing is written about roots: the control plane has not started yet, or is of an older version";
    show(
        Output::Table,
        roots,
        none,
        &["ROOT", "ROLE", "PROVIDER", "TRUST DOMAIN", "SIGNS", "TRUSTED", "WHAT IS DONE"],
        |root| {
            let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let message = if root.message.is_empty() { "-".to_owned() } else { root.message.clone() };
            vec![
                root.name.clone(),
                text(&root.role),
                text(&root.provider),
                text(&root.trust_domain),
                yes(root.signs),
                yes(root.trusted),
                message,
            ]
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roots_in_use_come_first_and_one_without_an_object_is_among_them() {
        let stage: StageStatus = serde_json::from_value(json!({
            "number": 3, "issuing": "new", "serving": "old", "trusted": ["new", "old"], "revision": "1",
            "since": "2026-01-01T00:00:00Z",
        }))
        .expect("a stage");
        let objects = [
            json!({"metadata": {"name": "kept"}, "spec": {"role": "inactive", "provider": {"vault": {}}}}),
            json!({"metadata": {"name": "new"}, "spec": {"role": "active", "provider": {"tresor": {}}},
                "status": {"state": "issuingRollout", "message": "waiting"}}),
        ];
        let roots = joined(&objects, Some(&stage));
        let shown: Vec<_> = roots.iter().map(|root| (root.name.as_str(), root.signs, root.trusted)).collect();
        assert_eq!(shown, [("new", true, true), ("old", false, true), ("kept", false, false)]);
        assert_eq!((roots[0].provider.as_deref(), roots[0].message.as_str()), (Some("tresor"), "waiting"));
        assert_eq!(roots[1].role, None);
        assert!(joined(&[], None).is_empty());
    }
}
