//! What is asked of the API server: which kinds, where, and how much of each.

use osm_core::name::NamespaceName;

use crate::manifest::{MONITORED_BY_LABEL, ManifestKind};

/// The label that every slice of a service has.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Pods that have ended serve nobody, and their addresses may be others' by now.
const PODS_THAT_RUN: &str = "status.phase!=Failed,status.phase!=Succeeded";

/// One kind of object, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The kind.
    pub(super) kind: ManifestKind,
    /// The only namespace that counts; `None` for all.
    pub(super) namespace: Option<NamespaceName>,
    /// The labels that count, as the API writes them.
    pub(super) labels: Option<String>,
    /// The fields that count, as the API writes them.
    pub(super) fields: Option<&'static str>,
    /// Whether metadata is all that is needed.
    pub(super) only_metadata: bool,
}

impl Target {
    fn all(kind: ManifestKind) -> Self {
        Self { kind, namespace: None, labels: None, fields: None, only_metadata: false }
    }

    /// The same kind in one namespace.
    pub(super) fn within(&self, namespace: &NamespaceName) -> Self {
        Self { namespace: Some(namespace.clone()), ..self.clone() }
    }

    /// The path of the objects in one version of their API.
    pub(super) fn path(&self, api_version: &str) -> String {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let plural = self.kind.plural();
        match &self.namespace {
            Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{api_version}/{plural}"),
        }
    }
}

/// Everything that a mesh needs, each kind once.
pub(super) fn all(mesh_name: &str, osm_namespace: &NamespaceName) -> Vec<Target> {
    let facts = ManifestKind::ALL.iter().copied().filter(|kind| kind.fact().is_some());
    facts.map(|kind| of(kind, mesh_name, osm_namespace)).collect()
}

fn of(kind: ManifestKind, mesh_name: &str, osm_namespace: &NamespaceName) -> Target {
    let all = Target::all(kind);
    match kind {
        ManifestKind::Namespace => {
            Target { labels: Some(format!("{MONITORED_BY_LABEL}={mesh_name}")), only_metadata: true, ..all }
        }
        ManifestKind::ServiceAccount => Target { only_metadata: true, ..all },
        ManifestKind::Pod => Target { fields: Some(PODS_THAT_RUN), ..all },
        ManifestKind::EndpointSlice => Target { labels: Some(SERVICE_NAME_LABEL.to_owned()), ..all },
        ManifestKind::MeshConfig | ManifestKind::MeshRootCertificate => all.within(osm_namespace),
        _ => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_asked_for_where_and_as_far_as_it_is_needed() {
        let namespace: NamespaceName = "osm-system".parse().expect("a name");
        let targets = all("osm", &namespace);
        let paths: Vec<_> = targets.iter().map(|target| target.path(target.kind.api_versions()[0])).collect();
        assert_eq!(
            paths,
            [
                "/api/v1/namespaces",
                "/api/v1/serviceaccounts",
                "/api/v1/services",
                "/api/v1/pods",
                "/apis/discovery.k8s.io/v1/endpointslices",
                "/apis/access.smi-spec.io/v1alpha3/traffictargets",
                "/apis/specs.smi-spec.io/v1alpha4/httproutegroups",
                "/apis/specs.smi-spec.io/v1alpha4/tcproutes",
                "/apis/split.smi-spec.io/v1alpha4/trafficsplits",
                "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshconfigs",
                "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshrootcertificates",
            ]
        );
        assert_eq!(targets[0].labels.as_deref(), Some("openservicemesh.io/monitored-by=osm"));
        let shop = "shop".parse().expect("a name");
        assert_eq!(targets[3].within(&shop).path("v1"), "/api/v1/namespaces/shop/pods");
    }
}
