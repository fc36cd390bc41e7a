//! Pod (v1), and the pod template that a Deployment makes pods from.

use std::net::IpAddr;
use std::str::FromStr;

use osm_core::model;
use osm_core::name::{InvalidName, Kind, NamespaceName, ObjectName, ObjectRef};
use serde::Deserialize;

use super::conversion::{Findings, shown};
use super::{Container, Conversion, Metadata, field};

/// The label that links a pod with the proxy beside it.
pub const PROXY_UUID_LABEL: &str = "osm-proxy-uuid";

/// The service account of a pod that names none.
pub(crate) const DEFAULT_SERVICE_ACCOUNT: &str = "default";
/// The most addresses that a pod can have: one of each family.
const MAX_POD_ADDRESSES: usize = 2;
/// The most ports that the containers of a pod can declare by name.
const MAX_NAMED_PORTS: usize = 256;

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pod {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// What it runs, and as whom.
    pub spec: PodSpec,
    /// What became of it.
    #[serde(default, deserialize_with = "field::nullable")]
    pub status: PodStatus,
}

/// What a pod runs, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The account, in the pod's namespace; `None` is the account `default`.
    #[serde(default, deserialize_with = "field::parsed_option")]
    pub service_account_name: Option<ObjectName>,
    /// The containers.
    #[serde(default, deserialize_with = "field::nullable")]
    pub containers: Vec<Container>,
    /// Containers that run before the others, or beside them from the start.
    #[serde(default, deserialize_with = "field::nullable")]
    pub init_containers: Vec<Container>,
    /// How long its containers get to end after they were asked to, in seconds;
    /// `None` is 30.
    #[serde(default)]
    pub termination_grace_period_seconds: Option<u32>,
    /// Its host name; empty when that is its own name.
    #[serde(default, deserialize_with = "field::nullable")]
    pub hostname: String,
    /// The headless service under whose name its host name is known; empty for none.
    #[serde(default, deserialize_with = "field::nullable")]
    pub subdomain: String,
    /// Whether it shares the network of its node.
    #[serde(default, deserialize_with = "field::nullable")]
    pub host_network: bool,
}

impl PodSpec {
    /// The account that the pod runs as.
    #[must_use]
    pub fn service_account(&self) -> ObjectName {
        match &self.service_account_name {
            Some(name) => name.clone(),
            None => DEFAULT_SERVICE_ACCOUNT.parse().expect("`default` is a DNS label"),
        }
    }
}

/// What became of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its first address.
    #[serde(default, rename = "podIP", deserialize_with = "field::nullable")]
    pub pod_ip: String,
    /// All its addresses.
    #[serde(default, rename = "podIPs", deserialize_with = "field::nullable")]
    pub pod_ips: Vec<PodIp>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(default, deserialize_with = "field::nullable")]
    pub phase: String,
    /// What is true of it at present.
    #[serde(default, deserialize_with = "field::nullable")]
    pub conditions: Vec<PodCondition>,
}

/// An address of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// Something that is true of a pod, or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PodCondition {
    /// What is meant, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// What pods are made from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PodTemplate {
    /// The labels and annotations of the pods.
    #[serde(default, deserialize_with = "field::nullable")]
    pub metadata: TemplateMetadata,
    /// What they run, and as whom.
    pub spec: PodSpec,
}

/// The metadata of a template: no name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct TemplateMetadata {
    /// The labels of the pods.
    #[serde(default, deserialize_with = "field::nullable")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The annotations of the pods.
    #[serde(default, deserialize_with = "field::nullable")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl PodTemplate {
    /// A pod made from this template, which has no address yet.
    #[must_use]
    pub fn pod(&self, namespace: NamespaceName, name: ObjectName) -> Pod {
        let mut metadata = Metadata::new(namespace, name);
        metadata.labels.clone_from(&self.metadata.labels);
        metadata.annotations.clone_from(&self.metadata.annotations);
        Pod { metadata, spec: self.spec.clone(), status: PodStatus::default() }
    }
}

impl Pod {
    /// The pod as a workload.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::Pod, &name));
        let mut fact = model::Workload::new(name, self.spec.service_account());
        fact.meta = self.metadata.meta();
        fact.uid = Some(self.metadata.uid.clone()).filter(|uid| !uid.is_empty());
        fact.labels.clone_from(&self.metadata.labels);
        fact.addresses = self.addresses(&mut findings);
        fact.ports = self.named_ports(&mut findings);
        fact.hostname = own_name(&self.spec.hostname, "spec.hostname", &mut findings);
        fact.subdomain = own_name(&self.spec.subdomain, "spec.subdomain", &mut findings);
        fact.ready = self.status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True");
        fact.proxy = self.metadata.labels.get(PROXY_UUID_LABEL).and_then(|uuid| match uuid.parse() {
            // Its addresses are the node's, and so not its own to serve at.
            Ok(_) if self.spec.host_network => {
                findings.error(
                    "proxy-on-host-network",
                    "spec.hostNetwork",
                    "a pod in the network of its node can't have a proxy; it is outside of the mesh"
                        .to_owned(),
                );
                None
            }
            Ok(uuid) => Some(uuid),
            Err(error) => {
                findings.error(
                    "bad-proxy-uuid",
                    format!("metadata.labels.{PROXY_UUID_LABEL}"),
                    format!("{error}; the pod has no proxy for the mesh until it is corrected"),
                );
                None
            }
        });
        findings.with(fact)
    }

    /// Every address, each once; one that does not parse is named and left out.
    fn addresses(&self, findings: &mut Findings) -> Vec<IpAddr> {
        let all = self.status.pod_ips.iter().map(|one| one.ip.as_str());
        let mut addresses = Vec::new();
        if self.status.pod_ips.len() > MAX_POD_ADDRESSES {
            findings.warning(
                "too-many-addresses",
                "status.podIPs",
                format!("a pod has at most {MAX_POD_ADDRESSES} addresses; the others are ignored"),
            );
        }
        for (index, text) in all.take(MAX_POD_ADDRESSES).enumerate() {
            push_address(&mut addresses, text, || format!("status.podIPs[{index}].ip"), findings);
        }
        if self.status.pod_ips.is_empty() && !self.status.pod_ip.is_empty() {
            push_address(&mut addresses, &self.status.pod_ip, || "status.podIP".to_owned(), findings);
        }
        addresses
    }

    /// The ports that have a name. Only sidecars among the init containers
    /// could serve, and those are listed as well: a name is a name.
    fn named_ports(&self, findings: &mut Findings) -> Vec<model::ContainerPort> {
        let containers = self.spec.init_containers.iter().chain(&self.spec.containers);
        let named = containers.flat_map(|container| &container.ports).filter(|port| !port.name.is_empty());
        let mut ports: Vec<_> = named
            .map(|port| model::ContainerPort { name: port.name.clone(), port: port.container_port })
            .take(MAX_NAMED_PORTS + 1)
            .collect();
        if ports.len() > MAX_NAMED_PORTS {
            ports.truncate(MAX_NAMED_PORTS);
            findings.warning(
                "too-many-ports",
                "spec.containers",
                format!("only the first {MAX_NAMED_PORTS} named ports of a pod count"),
            );
        }
        ports
    }
}

fn push_address(
    addresses: &mut Vec<IpAddr>,
    text: &str,
    field: impl FnOnce() -> String,
    findings: &mut Findings,
) {
    match text.parse() {
        Ok(address) if addresses.contains(&address) => {}
        Ok(address) => addresses.push(address),
        Err(_) => findings.error("bad-address", field(), format!("`{}` is not an IP address", shown(text))),
    }
}

/// A name that a pod may have besides its own; `None` when it has none, or none that is valid.
fn own_name<N: FromStr<Err = InvalidName>>(text: &str, field: &str, findings: &mut Findings) -> Option<N> {
    if text.is_empty() {
        return None;
    }
    let named =
        |error| findings.error("bad-hostname", field, format!("{error}; nobody can ask for the pod by it"));
    text.parse().map_err(named).ok()
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings};
    use osm_core::model::{MeshObject, Workload};

    fn workload(text: &str) -> Workload {
        match fact(text) {
            MeshObject::Workload(workload) => workload,
            other => panic!("{other:?} is not a workload"),
        }
    }

    #[test]
    fn a_running_pod_is_a_ready_workload() {
        let pod = workload(
            "
apiVersion: v1
kind: Pod
metadata: {name: buyer, namespace: shop, uid: 1f-2e, labels: {app: buyer, osm-proxy-uuid: 6f1a}}
spec:
  serviceAccountName: buyer-account
  nodeName: ignored
  containers:
  - {name: app, image: x, ports: [{name: web, containerPort: 8080}, {containerPort: 9090}]}
status:
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]
  conditions: [{type: Initialized, status: 'True'}, {type: Ready, status: 'True'}]
",
        );
        assert_eq!(pod.identity().to_string(), "shop/buyer-account");
        assert_eq!(pod.uid.as_deref(), Some("1f-2e"));
        assert_eq!(pod.proxy.expect("a proxy").as_str(), "6f1a");
        assert_eq!(pod.addresses.len(), 2);
        assert_eq!(pod.ports.len(), 1);
        assert_eq!((pod.ports[0].name.as_str(), pod.ports[0].port.get()), ("web", 8080));
        assert!(pod.ready);
        assert_eq!(pod.labels["app"], "buyer");
    }

    #[test]
    fn a_pod_without_status_is_not_ready_and_runs_as_default() {
        let pod = workload("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: []}}");
        assert!(!pod.ready && pod.addresses.is_empty() && pod.proxy.is_none());
        assert_eq!(pod.identity().to_string(), "default/default");
    }

    #[test]
    fn the_single_address_counts_where_there_is_no_list() {
        let pod =
            workload("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}, status: {podIP: 10.0.0.9}}");
        assert_eq!(pod.addresses, ["10.0.0.9".parse::<std::net::IpAddr>().expect("an address")]);
    }

    #[test]
    fn a_pod_that_is_not_ready_says_so() {
        let pod = workload(
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}, \
             status: {conditions: [{type: Ready, status: 'False'}]}}",
        );
        assert!(!pod.ready);
    }

    #[test]
    fn a_pod_in_the_network_of_its_node_has_no_proxy_whatever_its_label_says() {
        let text = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {osm-proxy-uuid: 6f1a}}, \
             spec: {hostNetwork: true}, status: {podIP: 10.0.0.1}}";
        assert_eq!(findings(text), ["proxy-on-host-network spec.hostNetwork"]);
        let MeshObject::Workload(pod) = &convert(text).objects[0] else { panic!("not a workload") };
        assert!(pod.proxy.is_none());
    }

    #[test]
    fn a_bad_address_or_uuid_is_named_and_left_out() {
        let text = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {osm-proxy-uuid: A/B}}, spec: {}, \
             status: {podIPs: [{ip: 10.0.0.300}, {ip: 10.0.0.1}]}}";
        assert_eq!(
            findings(text),
            ["bad-address status.podIPs[0].ip", "bad-proxy-uuid metadata.labels.osm-proxy-uuid"]
        );
        let MeshObject::Workload(pod) = &convert(text).objects[0] else { panic!("not a workload") };
        assert_eq!(pod.addresses.len(), 1);
        assert!(pod.proxy.is_none());
    }
}
