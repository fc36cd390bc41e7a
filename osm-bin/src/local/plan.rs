//! What is to run, and what the control plane is told of it: pure.
//!
//! [`plan`] reads manifests and decides everything that can be decided without
//! looking at the machine: which pods there are, with which addresses, which of
//! them have a proxy beside them, and what is wrong. What runs it is
//! [`super::mesh`].

mod facts;
mod injection;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Location, Severity};
use osm_core::identity::{ProxyId, ProxyUuid, ServiceIdentity};
use osm_core::model::{self, MeshObject, TargetPort};
use osm_core::name::{InvalidName, Kind, NamespaceName, ObjectRef, QualifiedName, ServiceName};
use osm_k8s::manifest::{Manifest, Namespace, Pod, ProviderSpec, RoleSpec};
use osm_k8s::{Entry, Manifests};

use super::address_book::{AddressBook, POD_NETWORK};

/// How many pods one machine is asked to run at most.
pub const MAX_PODS: usize = 400;

/// Everything that is to run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The pods, by name.
    pub pods: BTreeMap<QualifiedName, Arc<PodPlan>>,
    /// The services, by name.
    pub services: BTreeMap<ServiceName, ServicePlan>,
    /// What the control plane is told, but for the pods.
    pub objects: BTreeMap<ObjectRef, MeshObject>,
    /// What is wrong, the manifests' own findings included.
    pub diagnostics: Vec<Diagnostic>,
}

/// A pod that is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// Its name.
    pub name: QualifiedName,
    /// Its address.
    pub address: Ipv4Addr,
    /// Where it comes from: its own manifest or that of its Deployment.
    pub location: Location,
    /// What it comes from, such as `Deployment shop/web`.
    pub owner: String,
    /// The manifest, with the address and the name of the proxy filled in.
    pub pod: Pod,
    /// The unique name of the pod, and of its proxy if it has one.
    pub uuid: ProxyUuid,
    /// Whether a proxy stands beside it.
    pub has_proxy: bool,
}

/// A service that clients can dial.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// The service as the control plane is told of it.
    pub fact: model::Service,
    /// Its virtual address; `None` for a headless service.
    pub address: Option<Ipv4Addr>,
}

impl Plan {
    /// The pods that a service selects, ready or not.
    pub fn pods_behind<'a>(&'a self, service: &'a ServicePlan) -> impl Iterator<Item = &'a Arc<PodPlan>> {
        self.pods.values().filter(|pod| service.selects(pod))
    }
}

impl ServicePlan {
    /// Whether a pod is behind this service.
    #[must_use]
    pub fn selects(&self, pod: &PodPlan) -> bool {
        let labels = &pod.pod.metadata.labels;
        self.fact.name.namespace == pod.name.namespace
            && !self.fact.selector.is_empty()
            && self.fact.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl PodPlan {
    /// Who its application is.
    #[must_use]
    pub fn identity(&self) -> ServiceIdentity {
        ServiceIdentity::new(self.name.namespace.clone(), self.pod.spec.service_account())
    }

    /// Its proxy, if it has one.
    #[must_use]
    pub fn proxy(&self) -> Option<ProxyId> {
        self.has_proxy.then(|| ProxyId::new(self.uuid.clone(), self.identity()))
    }

    /// The unique name of the pod.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.uuid.as_str()
    }

    /// A name for files and network namespaces: no two pods share it, since
    /// names have no `_`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}", self.name.namespace, self.name.name)
    }

    /// The number that a service's target port has in this pod.
    #[must_use]
    pub fn port(&self, target: &TargetPort) -> Option<NonZeroU16> {
        match target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => {
                let mut ports = self.pod.spec.containers.iter().flat_map(|container| &container.ports);
                ports.find(|port| port.name == *name).map(|port| port.container_port)
            }
        }
    }

    /// Whether the network or the proxy of the other one differs, so that the
    /// pod has to be made anew.
    #[must_use]
    pub fn needs_another_pod(&self, other: &Self) -> bool {
        let of = |pod: &Self| (pod.address, pod.uuid.clone(), pod.has_proxy, pod.identity());
        of(self) != of(other) || self.pod.spec.init_containers != other.pod.spec.init_containers
    }
}

/// What a plan is made with.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The name of the mesh, as namespaces are labelled with it.
    pub mesh_name: String,
}

/// Decides what is to run. Equal manifests and books lead to equal plans; `fresh`
/// makes the unique name of a pod that has none yet.
pub fn plan(
    manifests: &Manifests,
    options: &PlanOptions,
    book: &mut AddressBook,
    fresh: &mut dyn FnMut() -> ProxyUuid,
) -> Plan {
    let mut planner = Planner { options, book, fresh, namespaces: BTreeMap::new(), plan: Plan::default() };
    planner.plan.diagnostics = manifests.all_diagnostics();
    planner.take_others(manifests);
    planner.take_services(manifests);
    planner.take_pods(manifests);
    let Planner { book, plan, .. } = planner;
    book.keep_only(&plan.pods.keys().cloned().collect(), &plan.services.keys().cloned().collect());
    plan
}

struct Planner<'a> {
    options: &'a PlanOptions,
    book: &'a mut AddressBook,
    fresh: &'a mut dyn FnMut() -> ProxyUuid,
    namespaces: BTreeMap<NamespaceName, &'a Namespace>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// Takes over what is told as it is written.
    fn take_others(&mut self, manifests: &'a Manifests) {
        for entry in manifests.entries.values() {
            match &entry.manifest {
                Manifest::Service(_)
                | Manifest::Pod(_)
                | Manifest::Deployment(_)
                | Manifest::StatefulSet(_) => continue,
                Manifest::Namespace(namespace) => {
                    if let Ok(name) = namespace.metadata.name.as_str().parse() {
                        self.namespaces.insert(name, namespace);
                    }
                }
                Manifest::MeshConfig(config) => {
                    for field in config.spec.fields_of_injection() {
                        let message = "local mode runs proxies as it does; the field has no effect";
                        self.find(Severity::Warning, "field-without-effect", entry, &field, message);
                    }
                }
                Manifest::MeshRootCertificate(root) => {
                    let is_here = matches!(root.spec.provider, ProviderSpec::Tresor(_));
                    if !is_here && root.spec.role != RoleSpec::Inactive {
                        let message = "local mode keeps roots itself and can't use this one; write `tresor`, under another name";
                        self.find(Severity::Error, "provider-elsewhere", entry, "spec.provider", message);
                    }
                }
                _ => {}
            }
            self.tell(entry);
        }
    }

    /// Services that ask for an address first, so that nobody gets it by chance.
    fn take_services(&mut self, manifests: &Manifests) {
        let mut claimed = BTreeSet::new();
        let mut waiting = Vec::new();
        for entry in manifests.entries.values() {
            let Manifest::Service(service) = &entry.manifest else { continue };
            let Some(fact) = facts::service(entry) else { continue };
            let asked = fact.addresses.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            match asked {
                Some(address) if !may_be_virtual(address) => {
                    let message = format!(
                        "{address} can't be the address of a service: it is one of pods, of the node, or of no network; \
                         this service gets a free one"
                    );
                    self.find(Severity::Error, "bad-address", entry, "spec.clusterIP", &message);
                    waiting.push(fact);
                }
                Some(address) if claimed.insert(address) => {
                    self.book.claim(&fact.name, address);
                    self.add_service(fact, Some(address));
                }
                Some(address) => {
                    let message =
                        format!("another service has the address {address}; this one gets a free one");
                    self.find(Severity::Error, "address-taken", entry, "spec.clusterIP", &message);
                    waiting.push(fact);
                }
                None if service.is_headless() => self.add_service(fact, None),
                None => waiting.push(fact),
            }
        }
        for fact in waiting {
            let address = self.book.service(&fact.name);
            self.add_service(fact, address);
        }
    }

    fn add_service(&mut self, mut fact: model::Service, address: Option<Ipv4Addr>) {
        fact.addresses = address.map(IpAddr::V4).into_iter().collect();
        let object = MeshObject::from(fact.clone());
        self.plan.objects.insert(object.object_ref(), object);
        self.plan.services.insert(fact.name.clone(), ServicePlan { fact, address });
    }

    fn take_pods(&mut self, manifests: &Manifests) {
        for entry in manifests.entries.values() {
            if let Manifest::Pod(pod) = &entry.manifest {
                self.add_pod(entry, Pod::clone(pod));
            }
        }
        for entry in manifests.entries.values() {
            match &entry.manifest {
                Manifest::Deployment(deployment) => {
                    let namespace = deployment.metadata.namespace();
                    self.add_replicas(entry, deployment.replicas(), |number| {
                        let name = format!("{}-{number}", deployment.metadata.name).parse()?;
                        Ok(deployment.pod_template().pod(namespace.clone(), name))
                    });
                }
                Manifest::StatefulSet(set) => {
                    self.add_replicas(entry, set.replicas(), |number| set.pod(number));
                }
                _ => {}
            }
        }
    }

    fn add_replicas(&mut self, entry: &Entry, replicas: u32, pod: impl Fn(u32) -> Result<Pod, InvalidName>) {
        let room = u32::try_from(MAX_PODS.saturating_sub(self.plan.pods.len())).unwrap_or(u32::MAX);
        if replicas > room {
            let message = format!(
                "this machine runs at most {MAX_PODS} pods; {} of these are left out",
                replicas - room
            );
            self.find(Severity::Error, "too-many-pods", entry, "spec.replicas", &message);
        }
        for number in 0..replicas.min(room) {
            match pod(number) {
                Ok(pod) => self.add_pod(entry, pod),
                Err(error) => {
                    let message = error.to_string();
                    return self.find(Severity::Error, "bad-pod-name", entry, "metadata.name", &message);
                }
            }
        }
    }

    fn add_pod(&mut self, entry: &Entry, pod: Pod) {
        let name = pod.metadata.qualified_name();
        if self.plan.pods.len() >= MAX_PODS {
            let message = format!("this machine runs at most {MAX_PODS} pods; the others are left out");
            return self.find(Severity::Error, "too-many-pods", entry, "", &message);
        }
        if self.plan.pods.contains_key(&name) {
            let message = format!("there is another pod {name} already; this one does not run");
            return self.find(Severity::Error, "duplicate-pod", entry, "metadata.name", &message);
        }
        if pod.spec.host_network {
            let message = "a pod in its node's network does not run in local mode; remove the field";
            return self.find(Severity::Error, "host-network", entry, "spec.hostNetwork", message);
        }
        if let Some(message) = bad_container_name(&pod) {
            return self.find(Severity::Error, "bad-container-name", entry, "spec.containers", &message);
        }
        let namespace = self.namespaces.get(&name.namespace).copied();
        let has_proxy = match injection::wants_proxy(namespace, &pod, &self.options.mesh_name) {
            Ok(wants) => wants,
            Err(message) => {
                return self.find(Severity::Error, "bad-injection", entry, injection::FIELD, &message);
            }
        };
        for annotation in injection::exclusions(&pod) {
            let message =
                "local mode leads all connections of a pod through its proxy; the annotation has no effect";
            let field = format!("metadata.annotations.{annotation}");
            self.find(Severity::Warning, "annotation-without-effect", entry, &field, message);
        }
        let Some(address) = self.book.pod(&name) else {
            return self.find(Severity::Error, "no-address", entry, "", "no address is left for this pod");
        };
        let uuid = self.book.proxy(&name, &mut self.fresh);
        let plan = facts::filled_in(entry, pod, address, uuid, has_proxy);
        self.plan.pods.insert(name, Arc::new(plan));
    }

    fn tell(&mut self, entry: &Entry) {
        for object in &entry.facts.objects {
            self.plan.objects.insert(object.object_ref(), object.clone());
        }
    }

    fn find(&mut self, severity: Severity, code: &'static str, entry: &Entry, field: &str, message: &str) {
        let mut diagnostic =
            Diagnostic::in_file(severity, code, entry.location.clone(), message.to_owned()).at(field);
        diagnostic.object = entry.manifest.reference().object_ref().or_else(|| {
            let name = entry.manifest.metadata().qualified_name();
            Some(ObjectRef::namespaced(Kind::Pod, &name))
        });
        self.plan.diagnostics.push(diagnostic);
    }
}

/// Whether an address may be that of a service: connections to it are led
/// elsewhere, which must not happen to those between pods and control plane.
fn may_be_virtual(address: Ipv4Addr) -> bool {
    let is_of_pods = address.octets()[..2] == POD_NETWORK.octets()[..2];
    let is_special = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_link_local();
    !is_of_pods && !is_special
}

/// What is wrong with the names of a pod's containers. They become names of
/// files, and `envoy` is that of the proxy's.
fn bad_container_name(pod: &Pod) -> Option<String> {
    let is_label = |name: &str| {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !name.is_empty() && name.len() <= 63 && name.bytes().all(is_plain) && !name.starts_with('-')
    };
    let mut seen = BTreeSet::new();
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        let name = container.name.as_str();
        let shown = name.chars().take(64).flat_map(char::escape_debug).collect::<String>();
        if !is_label(name) {
            return Some(format!(
                "a container's name is up to 63 lower case letters, digits and `-`, and not `{shown}`"
            ));
        }
        if name == "envoy" {
            return Some("`envoy` is the name of the proxy; give the container another one".to_owned());
        }
        if !seen.insert(name) {
            return Some(format!("two containers are called `{shown}`; give each a name of its own"));
        }
    }
    None
}

#[cfg(test)]
mod tests;
