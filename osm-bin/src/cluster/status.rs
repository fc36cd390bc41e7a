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
use osm_k8s::lease::Lease;
use osm_k8s::pod_events::OwnPod;
use osm_k8s::replicas::Replicas;
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

/// The name of this replica: that of its pod, which is the name of the host, and
/// something that tells two processes of one host apart.
#[must_use]
pub fn replica() -> String {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    format!("{}-{}", host.unwrap_or_else(|_| "unknown".to_owned()), std::process::id())
}

/// Writes statuses and Events until told to stop, whenever this replica holds the lease.
pub(crate) async fn run(
    statuses: Statuses,
    server: ApiClient,
    (catalog, registry): (Catalog, Arc<Registry>),
    certificates: CertificateManager,
    stop: impl Future<Output = ()>,
) {
    let Statuses { policies, namespace, replica, pod } = statuses;
    let name: ObjectName = CONTROL_PLANE.parse().expect("the lease's name is a DNS label");
    let lease = QualifiedName::new(namespace.clone(), name);
    let (lease, held) = Lease::new(server.clone(), lease, replica.clone());
    let replicas = Replicas::new(server.clone(), namespace, &replica);
    let (mut exchange, others) = Exchange::new(replicas, held.clone(), Arc::clone(&registry));
    let renewals = renewals::tell(pod.map(|pod| (pod, server.clone())), held.clone(), certificates);
    let writer = StatusWriter::new(server, policies, held, &replica);
    let mut looker = Looker::default();
    let writing = writer.run(move |objects| {
        let mut fleet = Fleet::connected(&registry);
        fleet.add(&others.borrow());
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
