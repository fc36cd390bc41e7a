//! What a cluster makes of manifests: facts, an address for each service, and a pod
//! with a proxy for each Deployment.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_k8s::{Entry, Manifest};

/// The facts of a cluster that was given these manifests.
pub(crate) fn facts(entries: &[Arc<Entry>]) -> Vec<MeshObject> {
    (0..=u16::MAX).zip(entries).flat_map(|(number, entry)| facts_of(number, entry)).collect()
}

fn facts_of(number: u16, entry: &Entry) -> Vec<MeshObject> {
    let [high, low] = number.to_be_bytes();
    let mut facts = match &entry.manifest {
        Manifest::Deployment(deployment) => {
            let metadata = &deployment.metadata;
            deployment.pod_template().pod(metadata.namespace(), metadata.name.clone()).facts().objects
        }
        _ => entry.facts.objects.clone(),
    };
    for fact in &mut facts {
        match fact {
            MeshObject::Service(service) if service.addresses.is_empty() && !service.headless => {
                service.addresses.push(IpAddr::V4(Ipv4Addr::new(10, 96, high, low)));
            }
            MeshObject::Workload(workload) => {
                workload.addresses.push(IpAddr::V4(Ipv4Addr::new(10, 244, high, low)));
                workload.ready = true;
                workload.proxy = format!("proxy-{number}").parse().ok();
            }
            _ => {}
        }
    }
    facts
}
