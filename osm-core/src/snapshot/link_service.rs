//! A service with everything that is known of it: ports, workloads, endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::facts::Facts;
use super::link_places::Places;
use super::update::MAX_FINDINGS;
use super::{SocketAddress, in_namespace};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::identity::ServiceIdentity;
use crate::model::{Endpoint, EndpointSlice, Protocol, Service, ServicePort, TargetPort, Workload};
use crate::name::{Hostname, Kind, ObjectRef, QualifiedName, ServiceName};

/// A service of the mesh, linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedService {
    /// Its name.
    pub name: ServiceName,
    /// The object that made it.
    pub origin: Origin,
    /// The virtual addresses that are its own, sorted.
    pub addresses: Vec<IpAddr>,
    /// Whether it is to have no address, and its members are dialled by theirs.
    pub headless: bool,
    /// The ports that the mesh carries, by number.
    pub ports: BTreeMap<NonZeroU16, LinkedPort>,
    /// The identities of the workloads behind it, ready or not.
    pub identities: BTreeSet<ServiceIdentity>,
    /// The workloads behind it.
    pub members: BTreeMap<QualifiedName, LinkedMember>,
}

/// A workload behind a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedMember {
    /// The port of the workload for each service port.
    pub targets: BTreeMap<NonZeroU16, NonZeroU16>,
    /// The host names by which it alone is asked for; only where the service is headless.
    pub hostnames: BTreeSet<Hostname>,
}

/// A port that the mesh carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedPort {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The endpoints that take requests, by address.
    pub endpoints: BTreeMap<SocketAddress, LinkedEndpoint>,
    /// The members that are dialled by their own addresses, as long as they are there: who
    /// is not ready, or about to end, keeps the connections that it has. Empty unless the
    /// service is headless.
    pub members: BTreeMap<SocketAddress, LinkedEndpoint>,
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
    /// The host name by which it alone is asked for; only where the service is headless.
    pub hostname: Option<Hostname>,
}

impl LinkedPort {
    /// The port of the workloads behind it, where it is the same for all.
    #[must_use]
    pub fn only_target(&self) -> Option<NonZeroU16> {
        let mut targets = self.targets.iter().map(|(_, target)| *target);
        let first = targets.next()?;
        targets.all(|other| other == first).then_some(first)
    }
}

impl LinkedService {
    /// The fully qualified host name, which is also the server name (SNI).
    #[must_use]
    pub fn fqdn(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name.name, self.name.namespace)
    }

    /// The fully qualified host name of one of its members, which is also the
    /// server name (SNI) by which that one is asked for.
    #[must_use]
    pub fn member_fqdn(&self, member: &Hostname) -> String {
        format!("{member}.{}", self.fqdn())
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
        headless: service.headless,
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
        let hostnames = own_hostname(service, workload).into_iter().collect();
        linked.members.insert(workload.name.clone(), LinkedMember { targets: targets.collect(), hostnames });
        linked.identities.insert(workload.identity());
    }
    check_shared_targets(&ports, &mut findings);
    if slices.is_empty() {
        check_named_targets(&ports, &selected, &mut findings);
    }
    for (port, (written, protocol)) in &ports {
        let mut places = Places { is_headless: service.headless, ..Places::default() };
        if slices.is_empty() {
            for workload in &selected {
                let is_ready = workload.ready || service.publish_not_ready;
                let hostname = own_hostname(service, workload);
                let target = target_on(workload, written);
                places.add_workload(workload, target, hostname, is_ready, &mut findings);
            }
        }
        for slice in &slices {
            add_slice(facts, slice, *port, written, &mut linked, &mut places, &mut findings);
        }
        places.leave_out_virtual(facts, &mut findings);
        let Places { is_headless: _, endpoints, members } = places;
        let port_of = LinkedPort { protocol: *protocol, endpoints, members, targets: BTreeSet::new() };
        linked.ports.insert(*port, port_of);
    }
    name_members(facts, &slices, &mut linked);
    note_targets(facts, &mut linked);
    let location = service.meta.location.clone();
    let found = findings.found.into_iter().map(|finding| finding.located(location.clone())).collect();
    (linked, found)
}

/// Gives members the names that slices have for them. The slices were made for this service; what a
/// pod says of itself was a guess. Several may name one pod, each for its own clients.
fn name_members(facts: &Facts, slices: &[&EndpointSlice], linked: &mut LinkedService) {
    if !linked.headless {
        return;
    }
    let mut said: BTreeMap<&QualifiedName, BTreeSet<Hostname>> = BTreeMap::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            let Some(workload) = workload_behind(facts, slice, endpoint) else { continue };
            said.entry(&workload.name).or_default().extend(endpoint.hostname.clone());
        }
    }
    for (workload, hostnames) in said {
        if let Some(member) = linked.members.get_mut(workload) {
            member.hostnames = hostnames;
        }
    }
}

/// Notes who serves each port where, once all members are known.
fn note_targets(facts: &Facts, linked: &mut LinkedService) {
    for (member, LinkedMember { targets, hostnames: _ }) in &linked.members {
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

/// Findings about one service.
pub(super) struct Findings {
    object: ObjectRef,
    found: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn add(&mut self, severity: Severity, code: &'static str, field: String, message: String) {
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
    if service.addresses.is_empty() && !service.headless {
        let message = "it has no address, and nobody can dial it until it has one; `clusterIP: None` has its pods dialled";
        findings.add(Severity::Info, "no-address", "spec.clusterIP".to_owned(), message.to_owned());
    }
    for address in service.own_addresses() {
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
    own.into_iter().collect()
}

/// The host name by which a workload alone is asked for under the name of a
/// headless service, where no slice says it.
fn own_hostname(service: &Service, workload: &Workload) -> Option<Hostname> {
    let is_its = service.headless && workload.subdomain.as_ref() == Some(&service.name.name);
    workload.hostname.clone().filter(|_| is_its)
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

/// Adds what one slice says of one port, and the membership that follows from it.
fn add_slice(
    facts: &Facts,
    slice: &EndpointSlice,
    port: NonZeroU16,
    written: &ServicePort,
    linked: &mut LinkedService,
    places: &mut Places,
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
        linked.members.entry(workload.name.clone()).or_default().targets.insert(port, target);
        let place = (target, endpoint.hostname.as_ref().filter(|_| linked.headless));
        places.add(workload, &endpoint.addresses, place, endpoint.ready, findings);
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
