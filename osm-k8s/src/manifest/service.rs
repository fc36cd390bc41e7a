//! Service (v1).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use osm_core::model;
use osm_core::name::{Kind, ObjectRef};
use serde::Deserialize;

use super::conversion::{Findings, shown};
use super::{Conversion, IntOrString, Metadata, field};

/// The address of a service that has none of its own.
const HEADLESS: &str = "None";
/// The most addresses that a service can have: one of each family.
const MAX_CLUSTER_IPS: usize = 2;
/// The longest name of a service, in bytes: it is one label of its host names.
const MAX_NAME: usize = 63;
/// The most ports of one service that count.
const MAX_SERVICE_PORTS: usize = 256;

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it is.
    #[serde(default, deserialize_with = "field::nullable")]
    pub spec: ServiceSpec,
}

/// What a Service is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP` (also when empty), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(default, rename = "type", deserialize_with = "field::nullable")]
    pub kind: String,
    /// Labels of the pods behind it; empty selects nobody.
    #[serde(default, deserialize_with = "field::nullable")]
    pub selector: BTreeMap<String, String>,
    /// Its first address, or `None` (the word).
    #[serde(default, rename = "clusterIP", deserialize_with = "field::nullable")]
    pub cluster_ip: String,
    /// All its addresses.
    #[serde(default, rename = "clusterIPs", deserialize_with = "field::nullable")]
    pub cluster_ips: Vec<String>,
    /// Its ports.
    #[serde(default, deserialize_with = "field::nullable")]
    pub ports: Vec<ServicePort>,
    /// Whether pods are its endpoints before they are ready.
    #[serde(default, deserialize_with = "field::nullable")]
    pub publish_not_ready_addresses: bool,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; empty when it is the only one.
    #[serde(default, deserialize_with = "field::nullable")]
    pub name: String,
    /// The port that clients dial.
    pub port: NonZeroU16,
    /// The port on the pod; `None` is the same number.
    #[serde(default)]
    pub target_port: Option<IntOrString>,
    /// `TCP` (also when empty), `UDP` or `SCTP`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub protocol: String,
    /// The application protocol, in the words of the mesh or of others.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

impl Service {
    /// Whether the manifest asks for no address (`clusterIP: None`). A service
    /// without addresses that does not ask for that has none yet.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == HEADLESS || self.spec.cluster_ips.iter().any(|text| text == HEADLESS)
    }

    /// The service as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::Service, &name));
        if self.spec.kind == "ExternalName" {
            findings.warning(
                "external-name",
                "spec.type",
                "a service of type ExternalName is an alias in DNS and no service of the mesh",
            );
            return findings.without_fact();
        }
        if name.name.as_str().len() > MAX_NAME || name.name.as_str().contains('.') {
            let message = format!(
                "the name of a service is one label of its host names: at most {MAX_NAME} bytes, without dots; give it \
                 another name to have it in the mesh"
            );
            findings.error("bad-name", "metadata.name", message);
            return findings.without_fact();
        }
        let mut fact = model::Service::new(name);
        fact.meta = self.metadata.meta();
        fact.selector.clone_from(&self.spec.selector);
        fact.headless = self.is_headless();
        fact.addresses = self.addresses(&mut findings);
        fact.ports = self.ports(&mut findings);
        fact.publish_not_ready = self.spec.publish_not_ready_addresses;
        findings.with(fact)
    }

    fn addresses(&self, findings: &mut Findings) -> Vec<IpAddr> {
        if self.is_headless() {
            return Vec::new();
        }
        let single = std::slice::from_ref(&self.spec.cluster_ip);
        let (written, path) = match self.spec.cluster_ips.as_slice() {
            [] => (single, "spec.clusterIP"),
            list => (list, "spec.clusterIPs"),
        };
        if written.len() > MAX_CLUSTER_IPS {
            findings.warning(
                "too-many-addresses",
                path,
                format!("a service has at most {MAX_CLUSTER_IPS} addresses; the others are ignored"),
            );
        }
        let mut addresses = Vec::new();
        for text in written.iter().take(MAX_CLUSTER_IPS).filter(|text| !text.is_empty()) {
            // An address has one form here, or two services could claim it in two forms.
            match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
                Ok(address) if !is_of_a_service(address) => findings.error(
                    "bad-address",
                    path,
                    format!("no service can have the address {address}; it is left out"),
                ),
                Ok(address) if addresses.contains(&address) => {}
                Ok(address) => addresses.push(address),
                Err(_) => findings.error(
                    "bad-address",
                    path,
                    format!("`{}` is neither an IP address nor `{HEADLESS}`", shown(text)),
                ),
            }
        }
        addresses
    }

    fn ports(&self, findings: &mut Findings) -> Vec<model::ServicePort> {
        let mut seen = BTreeSet::new();
        let mut ports = Vec::new();
        for (index, port) in self.spec.ports.iter().enumerate() {
            let path = format!("spec.ports[{index}]");
            if index >= MAX_SERVICE_PORTS {
                findings.error("too-many-ports", path, format!("only {MAX_SERVICE_PORTS} ports count"));
                break;
            }
            let Some(fact) = port.fact(&path, findings) else { continue };
            if !seen.insert((fact.port, fact.transport.to_string())) {
                let message = format!("port {} stands here a second time; the first one counts", fact.port);
                findings.error("duplicate-port", path, message);
                continue;
            }
            ports.push(fact);
        }
        ports
    }
}

impl ServicePort {
    fn fact(&self, path: &str, findings: &mut Findings) -> Option<model::ServicePort> {
        let mut fact = model::ServicePort::new(&self.name, self.port);
        fact.transport = match self.protocol.as_str() {
            "" | "TCP" => model::Transport::Tcp,
            "UDP" => model::Transport::Udp,
            "SCTP" => model::Transport::Sctp,
            other => {
                let message = format!("`{}` is not TCP, UDP or SCTP; the port is left out", shown(other));
                findings.error("bad-protocol", format!("{path}.protocol"), message);
                return None;
            }
        };
        match &self.target_port {
            None => {}
            Some(IntOrString::Number(number)) => fact.target = model::TargetPort::Number(*number),
            Some(IntOrString::Name(name)) => fact.target = model::TargetPort::Name(name.clone()),
        }
        fact.app_protocol.clone_from(&self.app_protocol);
        Some(fact)
    }
}

/// Whether an address can be that of a service: one host's, beyond its own link.
fn is_of_a_service(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{MeshObject, Service, TargetPort, Transport};

    fn service(spec: &str) -> Service {
        match fact(&text(spec)) {
            MeshObject::Service(service) => service,
            other => panic!("{other:?} is not a service"),
        }
    }

    fn text(spec: &str) -> String {
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: shop}}, spec: {spec}}}")
    }

    #[test]
    fn ports_targets_and_protocols_are_kept_in_order() {
        let service = service(
            "{selector: {app: x}, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], sessionAffinity: None, \
             ports: [{name: web, port: 80, targetPort: http}, {name: db, port: 3306, appProtocol: tcp-server-first}, \
             {name: dns, port: 53, protocol: UDP, targetPort: 5353}]}",
        );
        assert_eq!(service.addresses.len(), 2);
        assert_eq!(service.selector["app"], "x");
        let targets: Vec<_> = service.ports.iter().map(|port| port.target.clone()).collect();
        let number = |n| TargetPort::Number(std::num::NonZeroU16::new(n).expect("not zero"));
        assert_eq!(targets, [TargetPort::Name("http".to_owned()), number(3306), number(5353)]);
        assert_eq!(service.ports[1].app_protocol.as_deref(), Some("tcp-server-first"));
        assert_eq!(service.ports[2].transport, Transport::Udp);
    }

    #[test]
    fn only_a_service_that_asks_for_no_address_is_headless() {
        for (spec, headless) in [
            ("{clusterIP: None}", true),
            ("{clusterIPs: ['None']}", true),
            ("{clusterIP: ''}", false),
            ("{clusterIPs: []}", false),
            ("{}", false),
        ] {
            let fact = service(spec);
            assert!(fact.addresses.is_empty() && fact.headless == headless, "{spec}");
        }
        let bad = text("{clusterIP: 127.0.0.1}");
        let MeshObject::Service(fact) = &convert(&bad).objects[0] else { panic!("not a service") };
        assert!(fact.addresses.is_empty() && !fact.headless, "it has an address, and a bad one");
        assert_eq!(service("null").ports, []);
    }

    #[test]
    fn an_address_that_no_service_can_have_is_named_and_left_out() {
        for address in [
            "0.0.0.0",
            "127.0.0.2",
            "224.0.0.1",
            "169.254.1.1",
            "::",
            "::1",
            "ff02::1",
            "fe80::1",
            "::ffff:127.0.0.1",
        ] {
            let text = text(&format!("{{clusterIPs: ['{address}', 10.96.0.1]}}"));
            assert_eq!(findings(&text), ["bad-address spec.clusterIPs"], "{address}");
            let MeshObject::Service(service) = &convert(&text).objects[0] else { panic!("not a service") };
            assert_eq!(service.addresses, [std::net::IpAddr::from([10, 96, 0, 1])], "{address}");
        }
        assert_eq!(findings(&text("{clusterIP: 127.0.0.1}")), ["bad-address spec.clusterIP"]);
    }

    #[test]
    fn a_port_out_of_range_does_not_read() {
        for port in
            ["{port: 0}", "{port: 65536}", "{port: 80, targetPort: 70000}", "{port: 80, targetPort: 0}", "{}"]
        {
            let error = read_error(&text(&format!("{{ports: [{port}]}}")));
            assert!(error.field.starts_with("spec.ports[0]"), "{port}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_left_out() {
        let text = text(
            "{clusterIP: 10.0.0, ports: [{name: a, port: 80}, {name: b, port: 80}, {name: c, port: 81, protocol: HTTP}]}",
        );
        assert_eq!(
            findings(&text),
            [
                "bad-address spec.clusterIP",
                "duplicate-port spec.ports[1]",
                "bad-protocol spec.ports[2].protocol"
            ]
        );
        let MeshObject::Service(service) = &convert(&text).objects[0] else { panic!("not a service") };
        assert_eq!(service.ports.len(), 1);
    }

    #[test]
    fn an_external_name_is_no_service_of_the_mesh() {
        let text = text("{type: ExternalName, externalName: example.com}");
        assert_eq!(findings(&text), ["external-name spec.type"]);
        assert_eq!(convert(&text).objects, []);
    }
}
