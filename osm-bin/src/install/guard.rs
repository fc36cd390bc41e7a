//! Whether a mesh may be installed beside those that are there.

use serde::Serialize;
use serde_json::Value;

/// A control plane that is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The name of its mesh.
    pub mesh: String,
    /// Where it is.
    pub namespace: String,
    /// Its version, as its labels say.
    pub version: String,
    /// Whether it wants to be the only one.
    pub single: bool,
    /// The helm release that it is part of.
    pub helm: Option<String>,
}

impl Installed {
    /// What the deployment of a control plane says.
    #[must_use]
    pub fn of(deployment: &Value) -> Self {
        let metadata = &deployment["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            mesh: text(&metadata["labels"]["meshName"]),
            namespace: text(&metadata["namespace"]),
            version: text(&metadata["labels"]["app.kubernetes.io/version"]),
            single: metadata["labels"]["enforceSingleMesh"] == "true",
            helm: metadata["annotations"]["meta.helm.sh/release-name"].as_str().map(str::to_owned),
        }
    }
}

/// Why a mesh must not be installed, beside these others: all reasons, none if it may.
#[must_use]
pub fn refusals(others: &[Installed], mesh: &str, namespace: &str, single: bool) -> Vec<String> {
    let mut refusals = Vec::new();
    for other in others {
        let Installed { mesh: name, namespace: place, .. } = other;
        if place == namespace {
            refusals.push(format!(
                "{namespace} has the control plane of the mesh {name}: choose another with --osm-namespace"
            ));
        } else if name == mesh {
            refusals.push(format!("there is a mesh {mesh} in {place}: choose another name with --mesh-name"));
        }
        if other.single {
            refusals.push(format!(
                "the mesh {name} in {place} wants to be the only one (osm.enforceSingleMesh): upgrade it with \
                 --set osm.enforceSingleMesh=false first"
            ));
        } else if single {
            refusals.push(format!(
                "this mesh is to be the only one, and {name} is in {place}: use --enforce-single-mesh=false"
            ));
        }
    }
    refusals
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn other(mesh: &str, namespace: &str, single: bool) -> Installed {
        let labels = json!({"meshName": mesh, "enforceSingleMesh": single.to_string()});
        Installed::of(&json!({"metadata": {"namespace": namespace, "labels": labels}}))
    }

    #[test]
    fn an_empty_cluster_takes_any_mesh() {
        assert_eq!(refusals(&[], "osm", "osm-system", true), [] as [String; 0]);
    }

    #[test]
    fn meshes_that_tolerate_others_live_side_by_side() {
        assert_eq!(refusals(&[other("blue", "blue", false)], "red", "red", false), [] as [String; 0]);
    }

    #[test]
    fn each_conflict_is_named_with_what_to_do() {
        let refused = |single_there, mesh, namespace, single| {
            refusals(&[other("blue", "b", single_there)], mesh, namespace, single).join("\n")
        };
        assert!(refused(true, "red", "r", false).contains("blue in b wants to be the only one"));
        assert!(refused(false, "red", "r", true).contains("--enforce-single-mesh=false"));
        assert!(refused(false, "red", "b", false).contains("--osm-namespace"));
        assert!(refused(false, "blue", "r", false).contains("--mesh-name"));
        assert_eq!(refused(true, "blue", "b", true).lines().count(), 2);
    }
}
