//! EndpointSlice (discovery.k8s.io/v1).

use std::net::IpAddr;
use std::num::NonZeroU16;

use osm_core::model;
use osm_core::name::{Hostname, Kind, ObjectName, ObjectRef, QualifiedName};
use serde::Deserialize;

use super::conversion::{Findings, shown};
use super::{Conversion, Metadata, field};

/// The label that names the service of a slice.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The most endpoints of a slice, which is the API server's own limit.
const MAX_ENDPOINTS: usize = 1000;
/// The most addresses of an endpoint and ports of a slice, as in the API server.
const MAX_PER_ENDPOINT: usize = 100;

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name, namespace and the label that names the service.
    pub metadata: Metadata,
    /// Which kind of address its endpoints have.
    pub address_type: AddressType,
    /// The endpoints.
    #[serde(default, deserialize_with = "field::nullable")]
    pub endpoints: Vec<Endpoint>,
    /// The ports that each of them serves.
    #[serde(default, deserialize_with = "field::nullable")]
    pub ports: Vec<EndpointPort>,
}

/// Which kind of address a slice has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AddressType {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
    /// Names, which the mesh does not carry.
    #[serde(rename = "FQDN")]
    Fqdn,
}

/// One pod behind the service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its addresses.
    #[serde(default, deserialize_with = "field::nullable")]
    pub addresses: Vec<String>,
    /// Whether it serves.
    #[serde(default, deserialize_with = "field::nullable")]
    pub conditions: EndpointConditions,
    /// Whose addresses these are.
    #[serde(default)]
    pub target_ref: Option<TargetRef>,
    /// Its host name, before the name of the service; empty when it has none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub hostname: String,
}

/// Whether an endpoint serves. What is not said is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct EndpointConditions {
    /// Whether it takes requests; `None` counts as yes.
    #[serde(default)]
    pub ready: Option<bool>,
    /// Whether it is about to end; `None` counts as no.
    #[serde(default)]
    pub terminating: Option<bool>,
}

/// The object that an endpoint stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TargetRef {
    /// Its kind.
    #[serde(default, deserialize_with = "field::nullable")]
    pub kind: String,
    /// Its name, in the namespace of the slice.
    #[serde(default, deserialize_with = "field::parsed_option")]
    pub name: Option<ObjectName>,
}

/// A port that each endpoint of a slice serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndpointPort {
    /// The name of the service's port.
    #[serde(default, deserialize_with = "field::nullable")]
    pub name: String,
    /// Its number on the pod; `None` leaves it open.
    #[serde(default)]
    pub port: Option<NonZeroU16>,
    /// `TCP` (also when empty), `UDP` or `SCTP`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub protocol: String,
}

impl EndpointSlice {
    /// The slice as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::EndpointSlice, &name));
        let Some(service) = self.service(&mut findings) else { return findings.without_fact() };
        if self.address_type == AddressType::Fqdn {
            findings.warning(
                "names-as-addresses",
                "addressType",
                "endpoints that are names are not carried; use IPv4 or IPv6",
            );
            return findings.without_fact();
        }
        let mut fact = model::EndpointSlice::new(name, service);
        fact.meta = self.metadata.meta();
        fact.ports = self.ports(&mut findings);
        if self.endpoints.len() > MAX_ENDPOINTS {
            let message = format!("only the first {MAX_ENDPOINTS} endpoints of a slice count");
            findings.error("too-many-endpoints", "endpoints", message);
        }
        for (index, endpoint) in self.endpoints.iter().take(MAX_ENDPOINTS).enumerate() {
            fact.endpoints.extend(endpoint.fact(self.address_type, index, &mut findings));
        }
        findings.with(fact)
    }

    fn service(&self, findings: &mut Findings) -> Option<QualifiedName> {
        let path = format!("metadata.labels.{SERVICE_NAME_LABEL}");
        match self.metadata.labels.get(SERVICE_NAME_LABEL).map(|name| name.parse()) {
            Some(Ok(name)) => Some(QualifiedName::new(self.metadata.namespace(), name)),
            Some(Err(error)) => {
                findings.error("bad-service-name", path, error.to_string());
                None
            }
            None => {
                findings.warning("no-service", path, "the slice belongs to no service; add this label");
                None
            }
        }
    }

    fn ports(&self, findings: &mut Findings) -> Vec<model::EndpointPort> {
        let mut ports = Vec::new();
        if self.ports.len() > MAX_PER_ENDPOINT {
            let message = format!("only the first {MAX_PER_ENDPOINT} ports of a slice count");
            findings.error("too-many-ports", "ports", message);
        }
        for (index, port) in self.ports.iter().take(MAX_PER_ENDPOINT).enumerate() {
            if !matches!(port.protocol.as_str(), "" | "TCP") {
                continue;
            }
            match port.port {
                Some(number) => ports.push(model::EndpointPort { name: port.name.clone(), port: number }),
                None => findings.warning(
                    "open-port",
                    format!("ports[{index}].port"),
                    "a port without number is not carried; write its number",
                ),
            }
        }
        ports
    }
}

impl Endpoint {
    fn fact(&self, kind: AddressType, index: usize, findings: &mut Findings) -> Option<model::Endpoint> {
        let mut addresses = Vec::new();
        for (at, text) in self.addresses.iter().take(MAX_PER_ENDPOINT).enumerate() {
            match text.parse::<IpAddr>() {
                Ok(address) if address.is_ipv4() == (kind == AddressType::IPv4) => addresses.push(address),
                _ => findings.error(
                    "bad-address",
                    format!("endpoints[{index}].addresses[{at}]"),
                    format!("`{}` is not an {kind:?} address; it is left out", shown(text)),
                ),
            }
        }
        if addresses.is_empty() {
            return None;
        }
        let workload = self.target_ref.as_ref().filter(|target| target.kind == "Pod");
        Some(model::Endpoint {
            addresses,
            ready: self.conditions.ready.unwrap_or(true) && !self.conditions.terminating.unwrap_or(false),
            workload: workload.and_then(|target| target.name.clone()),
            hostname: self.hostname(index, findings),
        })
    }

    fn hostname(&self, index: usize, findings: &mut Findings) -> Option<Hostname> {
        if self.hostname.is_empty() {
            return None;
        }
        let parsed = self.hostname.parse();
        let message = |error| format!("{error}; it is known by its address only");
        parsed
            .map_err(|error| {
                findings.error("bad-hostname", format!("endpoints[{index}].hostname"), message(error))
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{EndpointSlice, MeshObject};

    fn text(rest: &str) -> String {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-1, namespace: shop, \
             labels: {{kubernetes.io/service-name: web}}}}, {rest}}}"
        )
    }

    fn slice(rest: &str) -> EndpointSlice {
        match fact(&text(rest)) {
            MeshObject::EndpointSlice(slice) => slice,
            other => panic!("{other:?} is not a slice"),
        }
    }

    #[test]
    fn an_endpoint_is_ready_unless_it_says_otherwise_or_ends() {
        let slice = slice(
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}, \
             {addresses: [10.0.0.3], conditions: {ready: true, serving: true}, nodeName: n}, \
             {addresses: [10.0.0.4], conditions: {ready: true, terminating: true}}]",
        );
        assert_eq!(
            slice.endpoints.iter().map(|one| one.ready).collect::<Vec<_>>(),
            [true, false, true, false]
        );
        assert_eq!(slice.service.to_string(), "shop/web");
    }

    #[test]
    fn ports_and_pods_are_kept() {
        let slice = slice(
            "addressType: IPv6, ports: [{name: web, port: 8080, protocol: TCP}, {name: dns, port: 53, protocol: UDP}, \
             {name: '', port: 9090}], endpoints: [{addresses: ['fd00::1'], targetRef: {kind: Pod, name: p, uid: u}}, \
             {addresses: ['fd00::2'], targetRef: {kind: Node, name: n}}]",
        );
        let ports: Vec<_> = slice.ports.iter().map(|port| (port.name.as_str(), port.port.get())).collect();
        assert_eq!(ports, [("web", 8080), ("", 9090)]);
        let pods: Vec<_> =
            slice.endpoints.iter().map(|one| one.workload.as_ref().map(|p| p.as_str())).collect();
        assert_eq!(pods, [Some("p"), None]);
    }

    #[test]
    fn a_host_name_is_kept_and_one_that_is_none_is_named_and_left_out() {
        let slice = slice(
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hostname: web-0}, {addresses: [10.0.0.2], hostname: null}]",
        );
        let names: Vec<_> =
            slice.endpoints.iter().map(|one| one.hostname.as_ref().map(ToString::to_string)).collect();
        assert_eq!(names, [Some("web-0".to_owned()), None]);
        let text = text("addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hostname: a.b}]");
        assert_eq!(findings(&text), ["bad-hostname endpoints[0].hostname"]);
        let [MeshObject::EndpointSlice(slice)] = &convert(&text).objects[..] else { panic!("no slice") };
        assert_eq!((slice.endpoints.len(), &slice.endpoints[0].hostname), (1, &None));
    }

    #[test]
    fn names_as_addresses_are_not_carried() {
        let text = text("addressType: FQDN, endpoints: [{addresses: [example.com]}]");
        assert_eq!(findings(&text), ["names-as-addresses addressType"]);
        assert_eq!(convert(&text).objects, []);
    }

    #[test]
    fn an_address_of_the_wrong_family_is_left_out_and_named() {
        let text =
            text("addressType: IPv4, ports: [{name: x}], endpoints: [{addresses: ['fd00::1', 10.0.0.1]}]");
        assert_eq!(findings(&text), ["open-port ports[0].port", "bad-address endpoints[0].addresses[0]"]);
    }

    #[test]
    fn a_slice_needs_a_service_and_a_known_kind_of_address() {
        let orphan =
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4}";
        assert_eq!(findings(orphan), ["no-service metadata.labels.kubernetes.io/service-name"]);
        assert_eq!(read_error(&text("addressType: IPX")).field, "addressType");
    }
}
