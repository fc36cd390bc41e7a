//! StatefulSet (apps/v1): what local mode makes pods with names of their own from.
//!
//! Like a [`Deployment`](super::Deployment) it has no address and is not a fact.

use osm_core::name::{InvalidName, ObjectName};
use serde::Deserialize;

use super::{Conversion, Metadata, Pod, PodTemplate, field};

/// The replicas of a StatefulSet that does not say how many.
const DEFAULT_REPLICAS: u32 = 1;
/// The label of a pod that says which member it is.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// A StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatefulSet {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it wants.
    pub spec: StatefulSetSpec,
}

/// What a StatefulSet wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetSpec {
    /// How many pods; `None` is one.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// The headless service under whose name each pod is known by its own; empty for none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub service_name: String,
    /// What each of them is.
    pub template: PodTemplate,
}

impl StatefulSet {
    /// How many pods it wants.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(DEFAULT_REPLICAS)
    }

    /// One of its pods, which is known by its own name.
    ///
    /// # Errors
    /// When the set's name with a number after it is too long for a name.
    pub fn pod(&self, number: u32) -> Result<Pod, InvalidName> {
        let name: ObjectName = format!("{}-{number}", self.metadata.name).parse()?;
        let mut pod = self.spec.template.pod(self.metadata.namespace(), name.clone());
        pod.metadata.labels.insert(POD_NAME_LABEL.to_owned(), name.to_string());
        pod.spec.hostname = name.to_string();
        pod.spec.subdomain.clone_from(&self.spec.service_name);
        Ok(pod)
    }

    /// Nothing: its pods are facts, not itself.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        Conversion::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::Manifest;
    use crate::manifest::testing::read;
    use osm_core::model::MeshObject;

    #[test]
    fn each_pod_of_a_set_has_a_name_of_its_own_under_the_service() {
        let text = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: shop}, spec: {replicas: 3, \
                    serviceName: web-members, podManagementPolicy: Parallel, template: {metadata: {labels: {app: web}}, \
                    spec: {containers: [{name: app, image: web}]}}}}";
        let Manifest::StatefulSet(set) = read(text) else { panic!("not a StatefulSet") };
        assert_eq!((set.facts(), set.replicas()), (Default::default(), 3));
        let pod = set.pod(2).expect("a valid name");
        assert_eq!(pod.metadata.labels["statefulset.kubernetes.io/pod-name"], "web-2");
        let [MeshObject::Workload(workload)] = &pod.facts().objects[..] else { panic!("no workload") };
        assert_eq!(workload.hostname.as_ref().map(ToString::to_string).as_deref(), Some("web-2"));
        assert_eq!(workload.subdomain.as_ref().map(ToString::to_string).as_deref(), Some("web-members"));
    }
}
