//! How pods and services of local mode become facts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use osm_core::identity::ProxyUuid;
use osm_core::model::{self, MeshObject};
use osm_core::name::ObjectRef;
use osm_k8s::Entry;
use osm_k8s::manifest::{PROXY_UUID_LABEL, Pod, PodCondition, PodIp, PodStatus};

use super::{Plan, PodPlan};

/// The service of an entry; `None` where it is none of the mesh.
pub(super) fn service(entry: &Entry) -> Option<model::Service> {
    entry.facts.objects.iter().find_map(|object| match object {
        MeshObject::Service(service) => Some(service.clone()),
        _ => None,
    })
}

/// A pod with what the machine gives it.
pub(super) fn filled_in(
    entry: &Entry,
    mut pod: Pod,
    address: Ipv4Addr,
    uuid: ProxyUuid,
    has_proxy: bool,
) -> PodPlan {
    pod.metadata.labels.remove(PROXY_UUID_LABEL);
    if has_proxy {
        pod.metadata.labels.insert(PROXY_UUID_LABEL.to_owned(), uuid.to_string());
    }
    let ip = address.to_string();
    pod.status = PodStatus {
        pod_ip: ip.clone(),
        pod_ips: vec![PodIp { ip }],
        phase: "Running".to_owned(),
        conditions: Vec::new(),
    };
    PodPlan {
        name: pod.metadata.qualified_name(),
        address,
        location: entry.location.clone(),
        owner: entry.manifest.reference().to_string(),
        pod,
        uuid,
        has_proxy,
    }
}

impl Plan {
    /// What the control plane is told before any pod is there: a pod that is to run
    /// has its account and address by then.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<ObjectRef, MeshObject> {
        let pods = self.pods.values().flat_map(|pod| pod.facts(false));
        let pods = pods.map(|object| (object.object_ref(), object));
        self.objects.clone().into_iter().chain(pods).collect()
    }
}

impl PodPlan {
    /// The pod as the control plane is told of it.
    #[must_use]
    pub fn facts(&self, ready: bool) -> Vec<MeshObject> {
        let mut pod = self.pod.clone();
        let status = if ready { "True" } else { "False" };
        pod.status.conditions.push(PodCondition { kind: "Ready".to_owned(), status: status.to_owned() });
        let mut objects = pod.facts().objects;
        for object in &mut objects {
            object.meta_mut().location = Some(self.location.clone());
        }
        objects
    }
}
