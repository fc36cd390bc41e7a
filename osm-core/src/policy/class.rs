//! Which class a proxy belongs to.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::identity::{ProxyId, ServiceIdentity};
use crate::interception::IpFamilies;
use crate::ir::{ProxyClass, ServicePortName};
use crate::snapshot::{LinkedMember, MeshSnapshot};

/// A proxy that the snapshot does not know as what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unknown {
    /// There is no workload beside it, or not yet.
    #[error("no pod of the mesh has the proxy {proxy}; if it is new, it is configured once its pod is known")]
    NoWorkload {
        /// The proxy.
        proxy: ProxyId,
    },
    /// The workload beside it runs as somebody else.
    #[error("proxy {proxy} stands beside a pod of {actual}; it must use that identity")]
    OtherIdentity {
        /// The proxy, as it says it is.
        proxy: ProxyId,
        /// The identity of the workload.
        actual: ServiceIdentity,
    },
}

/// Finds the class of a proxy: its identity, the versions of IP of its pod, the service ports
/// that its workload serves, and its own names.
///
/// Where several workloads say that they are beside it, those of its identity
/// count, together: whoever copies a proxy's name takes nothing away from it, and
/// gives it no more than its own workload could have said. Those of other namespaces
/// do not count at all: a pod can't move there.
///
/// # Errors
/// When there is no workload beside it, or none of its identity.
pub fn classify(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Result<ProxyClass, Unknown> {
    let namespace = &proxy.identity.namespace;
    let beside =
        || snapshot.workloads_of(&proxy.uuid).filter(|workload| workload.name.namespace == *namespace);
    let Some(first) = beside().next() else {
        return Err(Unknown::NoWorkload { proxy: proxy.clone() });
    };
    let mut own = beside().filter(|workload| workload.identity() == proxy.identity).peekable();
    if own.peek().is_none() {
        return Err(Unknown::OtherIdentity { proxy: proxy.clone(), actual: first.identity() });
    }
    let mut serves = BTreeMap::new();
    let mut hostnames: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut addresses = Vec::new();
    for workload in own {
        addresses.extend(workload.addresses.iter().copied());
        for service in snapshot.services_of(&workload.name) {
            let Some(member) = service.members.get(&workload.name) else { continue };
            let LinkedMember { targets, hostnames: own } = member;
            for (port, target) in targets.iter().filter(|(port, _)| service.ports.contains_key(port)) {
                serves.entry(ServicePortName::new(service.name.clone(), *port)).or_insert(*target);
            }
            if !own.is_empty() {
                hostnames.entry(service.name.clone()).or_default().extend(own.iter().cloned());
            }
        }
    }
    let families = IpFamilies::of(addresses);
    Ok(ProxyClass { identity: proxy.identity.clone(), families, serves, hostnames })
}
