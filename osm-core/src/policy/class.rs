//! Which class a proxy belongs to.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::identity::{ProxyId, ServiceIdentity};
use crate::ir::{ProxyClass, ServicePortName};
use crate::snapshot::MeshSnapshot;

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

/// Finds the class of a proxy: its identity and the service ports that its
/// workload serves.
///
/// # Errors
/// When there is no workload beside it, or one of another identity.
pub fn classify(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Result<ProxyClass, Unknown> {
    let workload =
        snapshot.workload_of(&proxy.uuid).ok_or_else(|| Unknown::NoWorkload { proxy: proxy.clone() })?;
    let actual = workload.identity();
    if actual != proxy.identity {
        return Err(Unknown::OtherIdentity { proxy: proxy.clone(), actual });
    }
    let mut serves = BTreeMap::new();
    for service in snapshot.services_of(&workload.name) {
        for (port, target) in service.members.get(&workload.name).into_iter().flatten() {
            if service.ports.contains_key(port) {
                serves.insert(ServicePortName::new(service.name.clone(), *port), *target);
            }
        }
    }
    Ok(ProxyClass { trust_domain: snapshot.options().trust_domain.clone(), identity: actual, serves })
}
