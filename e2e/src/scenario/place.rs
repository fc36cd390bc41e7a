//! Addresses for what has none in a manifest, as a cluster would give them.
//!
//! Manifests for people have Deployments and StatefulSets, which are not pods yet, and Services
//! whose address the cluster chooses. Here both get theirs in the order of
//! their names, so that a scenario is always placed in the same way.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use osm_k8s::manifest::{Deployment, PROXY_UUID_LABEL, Pod, PodCondition, PodIp, Service, StatefulSet};
use osm_k8s::{Entry, Manifest, Manifests};

/// Makes a pod of each replica, ready and with a proxy, and gives each service
/// an address that asks for one.
pub(super) fn all(manifests: &mut Manifests) {
    let mut services = Addresses::new(96);
    let mut pods = Addresses::new(244);
    for entry in manifests.entries.values() {
        services.taken.extend(addresses(&entry.manifest));
        pods.taken.extend(addresses(&entry.manifest));
    }
    let written: Vec<Arc<Entry>> = manifests.entries.values().cloned().collect();
    for entry in written {
        let placed: Vec<Manifest> = match &entry.manifest {
            Manifest::Service(service) if wants_address(service) => {
                let mut service = Service::clone(service);
                service.spec.cluster_ip = services.next().to_string();
                vec![service.into()]
            }
            Manifest::Deployment(deployment) => replicas(deployment, &mut pods),
            Manifest::StatefulSet(set) => members(set, &mut pods),
            _ => continue,
        };
        for manifest in placed {
            let entry = Entry::new(manifest, entry.location.clone());
            manifests.entries.insert(entry.manifest.reference(), Arc::new(entry));
        }
    }
}

/// Addresses of one network that nobody has yet.
struct Addresses {
    network: u8,
    last: u8,
    taken: BTreeSet<String>,
}

impl Addresses {
    fn new(network: u8) -> Self {
        Self { network, last: 0, taken: BTreeSet::new() }
    }

    fn next(&mut self) -> IpAddr {
        loop {
            self.last = self.last.wrapping_add(1);
            let address = IpAddr::V4(Ipv4Addr::new(10, self.network, 0, self.last));
            if self.taken.insert(address.to_string()) {
                return address;
            }
        }
    }
}

fn addresses(manifest: &Manifest) -> Vec<String> {
    match manifest {
        Manifest::Service(service) => {
            service.spec.cluster_ips.iter().cloned().chain([service.spec.cluster_ip.clone()]).collect()
        }
        Manifest::Pod(pod) => {
            pod.status.pod_ips.iter().map(|one| one.ip.clone()).chain([pod.status.pod_ip.clone()]).collect()
        }
        _ => Vec::new(),
    }
}

fn wants_address(service: &Service) -> bool {
    let spec = &service.spec;
    spec.cluster_ip.is_empty() && spec.cluster_ips.is_empty() && spec.kind != "ExternalName"
}

fn replicas(deployment: &Deployment, addresses: &mut Addresses) -> Vec<Manifest> {
    let namespace = deployment.metadata.namespace();
    let replica = |number: u32| {
        let name = format!("{}-{number}", deployment.metadata.name);
        let name = name.parse().expect("a name with a number after it is a name");
        ready(deployment.pod_template().pod(namespace.clone(), name), addresses)
    };
    (0..deployment.replicas()).map(replica).collect()
}

fn members(set: &StatefulSet, addresses: &mut Addresses) -> Vec<Manifest> {
    let pods =
        (0..set.replicas()).map(|number| set.pod(number).expect("a name with a number after it is a name"));
    pods.map(|pod| ready(pod, addresses)).collect()
}

fn ready(mut pod: Pod, addresses: &mut Addresses) -> Manifest {
    pod.metadata.labels.insert(PROXY_UUID_LABEL.to_owned(), pod.metadata.name.to_string());
    pod.status.pod_ips.push(PodIp { ip: addresses.next().to_string() });
    pod.status.conditions.push(PodCondition { kind: "Ready".to_owned(), status: "True".to_owned() });
    pod.into()
}
