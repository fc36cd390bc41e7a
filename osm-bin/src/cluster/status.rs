//! The status of policy objects: what this control plane makes of each, written by the
//! replica that holds the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::diagnostic::Origin;
use osm_core::identity::ServiceIdentity;
use osm_core::model::{MeshObject, RouteRule, TrafficTarget};
use osm_core::name::{Kind, NamespaceName, ObjectName, ObjectRef, QualifiedName};
use osm_core::snapshot::MeshSnapshot;
use osm_k8s::ApiClient;
use osm_k8s::lease::Lease;
use osm_k8s::source::cluster::{Policies, PolicyObjects};
use osm_k8s::status::{Outlook, Programmed, StatusWriter};
use osm_xds::server::Registry;

use crate::install::CONTROL_PLANE;

/// What is needed to write statuses.
pub struct Statuses {
    /// The API server.
    pub server: ApiClient,
    /// The objects.
    pub policies: Policies,
    /// The namespace of the control plane.
    pub namespace: NamespaceName,
    /// The name of this replica, which no other has.
    pub replica: String,
}

/// The name of this replica: that of its pod, which is the name of the host, and
/// something that tells two processes of one host apart.
#[must_use]
pub fn replica() -> String {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    format!("{}-{}", host.unwrap_or_else(|_| "unknown".to_owned()), std::process::id())
}

/// Writes statuses until told to stop, whenever this replica holds the lease.
pub async fn run(
    statuses: Statuses,
    catalog: Catalog,
    registry: Arc<Registry>,
    stop: impl Future<Output = ()>,
) {
    let Statuses { server, policies, namespace, replica } = statuses;
    let name: ObjectName = CONTROL_PLANE.parse().expect("the lease's name is a DNS label");
    let (lease, held) = Lease::new(server.clone(), QualifiedName::new(namespace, name), replica.clone());
    let writer = StatusWriter::new(server, policies, held, &replica);
    let writing = writer.run(move |objects| outlooks(&catalog.snapshot(), &proxies(&registry), objects));
    tokio::select! {
        () = lease.run(stop) => {}
        () = writing => {}
    }
}

/// A connected proxy, as far as it matters here.
struct Proxy {
    identity: ServiceIdentity,
    has_everything: bool,
    /// The objects that made what it refuses, each with what it says.
    refused: Vec<(ObjectRef, String)>,
}

/// The connected proxies, each once: of several streams, the newest.
fn proxies(registry: &Registry) -> Vec<Proxy> {
    let newest: BTreeMap<_, _> =
        registry.statuses().into_iter().map(|status| (status.proxy.uuid.clone(), status)).collect();
    let of = |status: osm_xds::server::ProxyStatus| Proxy {
        identity: status.proxy.identity,
        has_everything: status.in_sync,
        refused: (status.session.refused.iter())
            .flat_map(|(rejected, nack)| {
                let objects = rejected.origins.iter().filter_map(|origin| match origin {
                    Origin::Object(object, _) => Some(object.clone()),
                    Origin::Default(_) => None,
                });
                objects.map(|object| (object, nack.message.clone())).collect::<Vec<_>>()
            })
            .collect(),
    };
    newest.into_values().map(of).collect()
}

/// What the mesh makes of each object.
fn outlooks(
    snapshot: &MeshSnapshot,
    proxies: &[Proxy],
    objects: &PolicyObjects,
) -> BTreeMap<ObjectRef, Outlook> {
    let routes = users_of_routes(objects);
    let outlook = |name: &ObjectRef, fact: Option<&MeshObject>| {
        let concerned = match fact {
            Some(MeshObject::TrafficTarget(target)) => Some(parties(target)),
            _ if matches!(name.kind, Kind::HttpRouteGroup | Kind::TcpRoute) => {
                Some(routes.get(name).cloned().unwrap_or_default())
            }
            _ => None,
        };
        let findings = snapshot.diagnostics_of(name).to_vec();
        // What is not in force is on no proxy.
        let programmed = fact.map(|_| programmed(name, concerned.as_ref(), proxies));
        Outlook { findings, programmed }
    };
    objects.iter().map(|(name, object)| (name.clone(), outlook(name, object.fact.as_ref()))).collect()
}

/// How many proxies have what they need of an object, among those of some identities
/// or among all.
fn programmed(
    name: &ObjectRef,
    identities: Option<&BTreeSet<ServiceIdentity>>,
    proxies: &[Proxy],
) -> Programmed {
    let mut programmed = Programmed::default();
    for proxy in proxies {
        if !identities.is_none_or(|identities| identities.contains(&proxy.identity)) {
            continue;
        }
        programmed.all += 1;
        match proxy.refused.iter().find(|(object, _)| object == name) {
            Some((_, message)) => {
                let refused = programmed.refused.get_or_insert_with(|| (0, message.clone()));
                refused.0 += 1;
            }
            None => programmed.has += u32::from(proxy.has_everything),
        }
    }
    programmed
}

/// Whom a target is about.
fn parties(target: &TrafficTarget) -> BTreeSet<ServiceIdentity> {
    target.sources.iter().cloned().chain([target.destination.clone()]).collect()
}

/// Whom each route object is about: those of the targets that name it.
fn users_of_routes(objects: &PolicyObjects) -> BTreeMap<ObjectRef, BTreeSet<ServiceIdentity>> {
    let mut users: BTreeMap<ObjectRef, BTreeSet<ServiceIdentity>> = BTreeMap::new();
    for object in objects.values() {
        let Some(MeshObject::TrafficTarget(target)) = &object.fact else { continue };
        for rule in &target.rules {
            let (kind, name) = match rule {
                RouteRule::Http { group, .. } => (Kind::HttpRouteGroup, group),
                RouteRule::Tcp { route } => (Kind::TcpRoute, route),
                // Of a kind of rule that is not known here nobody can say whom it is about.
                _ => continue,
            };
            let route = QualifiedName::new(target.name.namespace.clone(), name.clone());
            users.entry(ObjectRef::namespaced(kind, &route)).or_default().extend(parties(target));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> ServiceIdentity {
        let name: QualifiedName = text.parse().expect("a name");
        ServiceIdentity::new(name.namespace, name.name)
    }

    fn proxy(of: &str, has_everything: bool, refused: &[&ObjectRef]) -> Proxy {
        let refused = refused.iter().map(|name| ((*name).clone(), "bad regex".to_owned())).collect();
        Proxy { identity: identity(of), has_everything, refused }
    }

    #[test]
    fn an_object_is_counted_on_the_proxies_that_it_concerns() {
        let name = ObjectRef::namespaced(Kind::TrafficTarget, &"shop/t".parse().expect("a name"));
        let proxies = [
            proxy("shop/buyer", true, &[]),
            proxy("shop/store", false, &[]),
            proxy("shop/store", true, &[&name]),
            proxy("shop/other", false, &[&name]),
        ];
        let of = |identities: &[&str]| {
            let identities = identities.iter().map(|one| identity(one)).collect();
            programmed(&name, Some(&identities), &proxies)
        };
        assert_eq!(of(&["shop/buyer"]), Programmed::new(1, 1));
        assert_eq!(of(&["shop/nobody"]), Programmed::new(0, 0));
        let some = of(&["shop/buyer", "shop/store"]);
        assert_eq!((some.has, some.all, some.refused), (1, 3, Some((1, "bad regex".to_owned()))));
        assert_eq!(programmed(&name, None, &proxies).all, 4);
    }
}
