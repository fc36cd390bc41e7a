//! What the replica that holds the lease writes: the status of policy objects, and Events about
//! certificates.

mod exchange;
mod fleet;
mod outlooks;
mod renewals;

use std::future::Future;
use std::sync::Arc;

use osm_certs::manager::CertificateManager;
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::name::{NamespaceName, ObjectName, QualifiedName};
use osm_k8s::ApiClient;
use osm_k8s::lease::{Lease, LeaseWatch};
use osm_k8s::pod_events::OwnPod;
use osm_k8s::replicas::{Replicas, Topic};
use osm_k8s::source::cluster::Policies;
use osm_k8s::status::StatusWriter;
use osm_xds::server::Registry;

use crate::install::CONTROL_PLANE;
use exchange::Exchange;
use fleet::Fleet;
use outlooks::Looker;

/// What statuses are written about, and by whom.
#[derive(Debug, Clone)]
pub struct Statuses {
    /// The objects.
    pub policies: Policies,
    /// The namespace of the control plane.
    pub namespace: NamespaceName,
    /// The name of this replica, which no other has.
    pub replica: String,
    /// The pod that it runs in, if any: Events are about it.
    pub pod: Option<OwnPod>,
}

/// The name of this replica: that of its pod, or of the host where it is told of none, and
/// something that tells two processes there apart.
#[must_use]
pub fn replica() -> String {
    let host = || nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let pod = std::env::var("CONTROLLER_POD_NAME").ok().filter(|name| !name.is_empty());
    let name = pod.or_else(|| host().ok()).unwrap_or_else(|| "unknown".to_owned());
    format!("{name}-{}", std::process::id())
}

/// The pod, or the host, of a replica that calls itself so.
pub(super) fn pod_of(replica: &str) -> &str {
    replica.rsplit_once('-').map_or(replica, |(pod, _)| pod)
}

impl Statuses {
    /// The lease of the replicas: whoever holds it writes.
    pub(crate) fn lease(&self, server: ApiClient) -> (Lease, LeaseWatch) {
        let name: ObjectName = CONTROL_PLANE.parse().expect("the lease's name is a DNS label");
        let name = QualifiedName::new(self.namespace.clone(), name);
        Lease::new(server, name, self.replica.clone())
    }
}

/// Writes statuses and Events until told to stop, whenever this replica holds the lease.
pub(crate) async fn run(
    statuses: Statuses,
    (lease, held): (Lease, LeaseWatch),
    server: ApiClient,
    (catalog, registry): (Catalog, Arc<Registry>),
    certificates: CertificateManager,
    stop: impl Future<Output = ()>,
) {
    let Statuses { policies, namespace, replica, pod } = statuses;
    let replicas = Replicas::new(server.clone(), namespace, Topic::Proxies, &replica);
    let own = Arc::clone(&registry);
    let (mut exchange, others) = Exchange::new(replicas, move || Fleet::connected(&own));
    let renewals = renewals::tell(pod.map(|pod| (pod, server.clone())), held.clone(), certificates);
    let writer = StatusWriter::new(server, policies, held, &replica);
    let mut looker = Looker::default();
    let writing = writer.run(move |objects| {
        let fleet = everybody(others.borrow().as_ref(), || Fleet::connected(&registry));
        // Nothing is said by who does not know whom to count.
        let Some(fleet) = fleet else { return Arc::default() };
        // The objects were there before: what they say is in this snapshot, or was.
        looker.look(&catalog.snapshot(), fleet, objects)
    });
    tokio::select! {
        () = lease.run(stop) => {}
        () = writing => {}
        () = exchange.run() => {}
        () = renewals => {}
    }
    exchange.leave().await;
}

/// The proxies of all replicas, once the others were heard.
fn everybody(others: Option<&Fleet>, connected: impl FnOnce() -> Fleet) -> Option<Fleet> {
    let others = others?;
    let mut fleet = connected();
    fleet.add(others);
    Some(fleet)
}

#[cfg(test)]
mod tests {
    use super::fleet::tests::proxy;
    use super::*;

    #[test]
    fn the_pod_of_a_replica_is_in_its_name() {
        let own = replica();
        assert_eq!(format!("{}-{}", pod_of(&own), std::process::id()), own);
        assert_eq!(pod_of("osm-controller-7d9f-x2x4z-1"), "osm-controller-7d9f-x2x4z");
    }

    #[test]
    fn nobody_is_counted_before_the_other_replicas_were_heard() {
        let own = || [proxy("shop/one", true, &[])].into_iter().collect::<Fleet>();
        let other: Fleet = [proxy("shop/two", true, &[])].into_iter().collect();
        assert_eq!(everybody(None, own), None);
        assert_eq!(everybody(Some(&Fleet::default()), own), Some(own()));
        let both: Fleet = [proxy("shop/one", true, &[]), proxy("shop/two", true, &[])].into_iter().collect();
        assert_eq!(everybody(Some(&other), own), Some(both));
    }
}
