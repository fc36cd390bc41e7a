//! A service with everything that is known of it: ports, workloads, endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::facts::Facts;
use super::update::MAX_FINDINGS;
use super::{SocketAddress, in_namespace};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::identity::ServiceIdentity;
use crate::model::{Endpoint, EndpointSlice, Protocol, Service, ServicePort, TargetPort, Workload};
use crate::name::{Kind, ObjectRef, QualifiedName, ServiceName};

/// A service of the mesh, linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedService {
    /// Its name.
    pub name: ServiceName,
    /// The object that made it.
    pub origin: Origin,
    /// The virtual addresses that are its own, sorted.
    pub addresses: Vec<IpAddr>,
    /// The ports that the mesh carries, by number.
    pub ports: BTreeMap<NonZeroU16, LinkedPort>,
    /// The identities of the workloads behind it, ready or not.
    pub identities: BTreeSet<ServiceIdentity>,
    /// The workloads behind it, and the port of each for each service port.
    pub members: BTreeMap<QualifiedName, BTreeMap<NonZeroU16, NonZeroU16>>,
}

/// A port that the mesh carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedPort {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The endpoints that take requests, by address.
    pub endpoints: BTreeMap<SocketAddress, LinkedEndpoint>,
    /// The identities of the workloads behind it, ready or not, and the ports
    /// that they serve it on.
    pub targets: BTreeSet<(ServiceIdentity, NonZeroU16)>,
}

/// An endpoint of a service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedEndpoint {
    /// The identity of the workload there.
    pub identity: ServiceIdentity,
    /// Whether the workload is there by its first address as well, which is of the other version
    /// of IP: who chooses between workloads counts that one.
    pub is_second: bool,
}

impl LinkedService {
    /// The fully qualified host name, which is also the server name (SNI).
    #[must_use]
    pub fn fqdn(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name.name, self.name.namespace)
    }
}

/// Links one service.
pub(super) fn link(facts: &Facts, service: &Service) -> (LinkedService, Vec<Diagnostic>) {
    let mut findings =
        Findings { object: ObjectRef::namespaced(Kind::Service, &service.name), found: Vec::new() };
    let mut linked = LinkedService {
        name: service.name.clone(),
        origin: Origin::Object(findings.object.clone(), service.meta.generation),
        addresses: own_addresses(facts, service, &mut findings),
        ports: BTreeMap::new(),
        identities: BTreeSet::new(),
        members: BTreeMap::new(),
    };
    let ports = carried_ports(service, &mut findings);
    let slices: Vec<&EndpointSlice> = facts.slices_of(&service.name).map(Arc::as_ref).collect();
    let selected: Vec<&Workload> = facts.selected_by(service).map(Arc::as_ref).collect();
    for workload in &selected {
        let targets =
            ports.iter().filter_map(|(port, (written, _))| Some((*port, target_on(workload, written)?)));
        linked.members.insert(workload.name.clone(), targets.collect());
        linked.identities.insert(workload.identity());
    }
    check_shared_targets(&ports, &mut findings);
    if slices.is_empty() {
        check_named_targets(&ports, &selected, &mut findings);
    }
    for (port, (written, protocol)) in &ports {
        let mut endpoints = BTreeMap::new();
        if slices.is_empty() {
            for workload in selected.iter().filter(|workload| workload.ready) {
                add_workload(workload, target_on(workload, written), &mut endpoints, &mut findings);
            }
        }
        for slice in &slices {
            add_slice(facts, slice, *port, written, &mut linked, &mut endpoints, &mut findings);
        }
        linked.ports.insert(*port, LinkedPort { protocol: *protocol, endpoints, targets: BTreeSet::new() });
    }
    note_targets(facts, &mut linked);
    let location = service.meta.location.clone();
    let found = findings.found.into_iter().map(|finding| finding.located(location.clone())).collect();
    (linked, found)
}

/// Notes who serves each port where, once all members are known.
fn note_targets(facts: &Facts, linked: &mut LinkedService) {
    for (member, targets) in &linked.members {
        let Some(identity) = facts.workloads.get(member).map(|workload| workload.identity()) else {
            continue;
        };
        for (port, target) in targets {
            if let Some(port) = linked.ports.get_mut(port) {
                port.targets.insert((identity.clone(), *target));
            }
        }
    }
}

struct Findings {
    object: ObjectRef,
    found: Vec<Diagnostic>,
}

impl Findings {
    fn add(&mut self, severity: Severity, code: &'static str, field: String, message: String) {
        // One more than are shown says that there are more, and each is looked for among all.
        if self.found.len() > MAX_FINDINGS {
            return;
        }
        let finding = Diagnostic::new(severity, code, self.object.clone(), message).at(field);
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }
}

/// The addresses of a service that no service with a smaller name claims.
fn own_addresses(facts: &Facts, service: &Service, findings: &mut Findings) -> Vec<IpAddr> {
    let mut own = BTreeSet::new();
    for address in &service.addresses {
        match facts.claims.get(address).next() {
            Some(first) if *first != service.name => findings.add(
                Severity::Error,
                "duplicate-address",
                "spec.clusterIPs".to_owned(),
                format!("address {address} already belongs to Service {first}; give each service its own"),
            ),
            _ => drop(own.insert(*address)),
        }
    }
    if service.addresses.is_empty() && !service.ports.is_empty() {
        findings.add(
            Severity::Info,
            "headless-service",
            "spec.clusterIP".to_owned(),
            "a headless service is not carried by the mesh yet; give it a cluster IP to have it carried"
                .to_owned(),
        );
    }
    own.into_iter().collect()
}

/// Ports as they are written, by number, with what is spoken there.
type WrittenPorts<'a> = BTreeMap<NonZeroU16, (&'a ServicePort, Protocol)>;

/// The ports that the mesh can carry; the first of a number counts.
fn carried_ports<'a>(service: &'a Service, findings: &mut Findings) -> WrittenPorts<'a> {
    let mut ports = BTreeMap::new();
    for (index, port) in service.ports.iter().enumerate() {
        match port.protocol() {
            Ok(_) if ports.contains_key(&port.port) => findings.add(
                Severity::Error,
                "duplicate-port",
                format!("spec.ports[{index}]"),
                format!("port {} stands here a second time; the first one counts", port.port),
            ),
            Ok(protocol) => drop(ports.insert(port.port, (port, protocol))),
            Err(error) => findings.add(
                Severity::Warning,
                "unsupported-protocol",
                format!("spec.ports[{index}]"),
                format!("port {} is left out: {error}", port.port),
            ),
        }
    }
    ports
}

/// Says where ports lead to one port of the workload, but not in one protocol.
fn check_shared_targets(ports: &WrittenPorts<'_>, findings: &mut Findings) {
    for (number, (port, protocol)) in ports {
        let mut lower = ports.range(..*number);
        let Some((first, (_, spoken))) = lower.find(|(_, (other, _))| other.target == port.target) else {
            continue;
        };
        if spoken != protocol {
            let message = format!(
                "port {number} ({protocol}) leads to the same port of the pods as port {first} ({spoken}), where only \
                 {spoken} is served; give it a target port of its own"
            );
            findings.add(Severity::Warning, "mixed-protocols", "spec.ports".to_owned(), message);
        }
    }
}

/// Says where selected workloads do not declare the port that a service port names.
fn check_named_targets(ports: &WrittenPorts<'_>, selected: &[&Workload], findings: &mut Findings) {
    for (number, (port, _)) in ports {
        let TargetPort::Name(name) = &port.target else { continue };
        let without = selected.iter().filter(|workload| target_on(workload, port).is_none()).count();
        if without > 0 {
            let message = format!(
                "{without} of {} selected pods declare no port named `{name}`; they do not serve port {number}",
                selected.len()
            );
            findings.add(Severity::Warning, "target-port-unknown", "spec.ports".to_owned(), message);
        }
    }
}

/// The port of a workload that a service port leads to.
fn target_on(workload: &Workload, port: &ServicePort) -> Option<NonZeroU16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            workload.ports.iter().find(|declared| declared.name == *name).map(|declared| declared.port)
        }
    }
}

fn add_workload(
    workload: &Workload,
    target: Option<NonZeroU16>,
    endpoints: &mut BTreeMap<SocketAddress, LinkedEndpoint>,
    findings: &mut Findings,
) {
    if workload.proxy.is_none() {
        findings.add(
            Severity::Warning,
            "endpoint-without-proxy",
            "spec.selector".to_owned(),
            format!("Pod {} has no proxy and is left out; inject it", workload.name),
        );
        return;
    }
    let Some(target) = target else { return };
    add_addresses(workload, &workload.addresses, target, endpoints);
}

/// Adds addresses of a workload. Where they are of the other version of IP than its first one, that is
/// added too: a service of one version, or of both in two slices, leads to the workload once.
fn add_addresses(
    workload: &Workload,
    addresses: &[IpAddr],
    target: NonZeroU16,
    endpoints: &mut BTreeMap<SocketAddress, LinkedEndpoint>,
) {
    let Some(first) = workload.addresses.first() else { return };
    for address in addresses {
        let is_second = address.is_ipv4() != first.is_ipv4();
        let endpoint = |is_second| LinkedEndpoint { identity: workload.identity(), is_second };
        endpoints.insert((*address, target), endpoint(is_second));
        if is_second {
            endpoints.insert((*first, target), endpoint(false));
        }
    }
}

/// Adds what one slice says of one port, and the membership that follows from it.
fn add_slice(
    facts: &Facts,
    slice: &EndpointSlice,
    port: NonZeroU16,
    written: &ServicePort,
    linked: &mut LinkedService,
    endpoints: &mut BTreeMap<SocketAddress, LinkedEndpoint>,
    findings: &mut Findings,
) {
    let by_name = slice.ports.iter().find(|candidate| candidate.name == written.name);
    let Some(target) = by_name.map(|found| found.port) else { return };
    for endpoint in &slice.endpoints {
        let Some(workload) = workload_behind(facts, slice, endpoint) else {
            findings.add(
                Severity::Info,
                "endpoint-outside-mesh",
                String::new(),
                "an endpoint that is no pod of the mesh is left out".to_owned(),
            );
            continue;
        };
        linked.identities.insert(workload.identity());
        linked.members.entry(workload.name.clone()).or_default().insert(port, target);
        if !endpoint.ready {
            continue;
        }
        if workload.proxy.is_none() {
            add_workload(workload, None, endpoints, findings);
            continue;
        }
        add_addresses(workload, &endpoint.addresses, target, endpoints);
    }
}

/// The workload of an endpoint, in the slice's own namespace. The address must
/// be one of the workload's, so that a slice cannot lend one an identity.
fn workload_behind<'a>(
    facts: &'a Facts,
    slice: &EndpointSlice,
    endpoint: &Endpoint,
) -> Option<&'a Arc<Workload>> {
    let namespace = &slice.name.namespace;
    let fits = |workload: &&Arc<Workload>| {
        workload.name.namespace == *namespace
            && endpoint.addresses.iter().all(|address| workload.addresses.contains(address))
    };
    if let Some(name) = &endpoint.workload {
        return facts.workloads.get(&in_namespace(namespace, name)).filter(fits);
    }
    let address = endpoint.addresses.first()?;
    let mut there = facts.workloads_by_address.get(address).filter_map(|name| facts.workloads.get(name));
    there.find(fits)
}
