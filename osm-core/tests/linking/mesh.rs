//! Small meshes by hand, and what a proxy of one does in words.

use std::num::NonZeroU16;
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_core::ir::{Access, InboundAccess, ProxyIr};
use osm_core::model::{
    HttpMatch, HttpRouteGroup, MeshObject, Methods, Namespace, RouteRule, Service, ServicePort, SplitBackend,
    TargetPort, TcpRoute, TrafficSplit, TrafficTarget, Workload,
};
use osm_core::name::{ObjectName, QualifiedName};
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;
use osm_core::testing::from_scratch;

pub(crate) fn name(text: &str) -> QualifiedName {
    format!("shop/{text}").parse().expect("a name")
}

pub(crate) fn object(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

pub(crate) fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

/// A ready pod with a proxy; its account is called as its application.
pub(crate) fn pod(pod: &str, app: &str, host: u8) -> Workload {
    let mut workload = Workload::new(name(pod), object(app));
    workload.labels.insert("app".to_owned(), app.to_owned());
    workload.addresses.push([10, 244, 0, host].into());
    workload.ready = true;
    workload.proxy = Some(pod.parse().expect("a name"));
    workload
}

/// A service of an application; each port as number, target and protocol.
pub(crate) fn service(service: &str, app: &str, host: u8, ports: &[(u16, TargetPort, &str)]) -> Service {
    let mut object = Service::new(name(service));
    object.selector.insert("app".to_owned(), app.to_owned());
    object.addresses.push([10, 96, 0, host].into());
    for (number, target, protocol) in ports {
        let mut written = ServicePort::new(&format!("p{number}"), port(*number));
        written.target = target.clone();
        written.app_protocol = Some((*protocol).to_owned());
        object.ports.push(written);
    }
    object
}

pub(crate) fn number(number: u16) -> TargetPort {
    TargetPort::Number(port(number))
}

pub(crate) fn named(name: &str) -> TargetPort {
    TargetPort::Name(name.to_owned())
}

pub(crate) fn target(target: &str, from: &str, to: &str, rules: &[RouteRule]) -> TrafficTarget {
    let identity = |app: &str| format!("shop/{app}").parse().expect("an identity");
    let mut object = TrafficTarget::new(name(target), identity(to));
    object.sources.push(identity(from));
    object.rules = rules.to_vec();
    object
}

pub(crate) fn http() -> RouteRule {
    RouteRule::Http { group: object("any"), matches: None }
}

pub(crate) fn tcp(route: &str) -> RouteRule {
    RouteRule::Tcp { route: object(route) }
}

pub(crate) fn split(root: &str, backends: &[(&str, u32)]) -> TrafficSplit {
    let mut object = TrafficSplit::new(name(&format!("split-{root}")), name(root));
    let backend = |(to, weight): &(&str, u32)| SplitBackend { service: name(to), weight: *weight };
    object.backends = backends.iter().map(backend).collect();
    object
}

/// The namespace, a buyer, a group of any request and a route of any port, and what is given.
pub(crate) fn mesh(objects: impl IntoIterator<Item = MeshObject>) -> Arc<MeshSnapshot> {
    let mut group = HttpRouteGroup::new(name("any"));
    group.matches.push(HttpMatch {
        name: "any".to_owned(),
        path_regex: None,
        methods: Methods::Any,
        headers: Vec::new(),
    });
    let shop = Namespace::monitored("shop".parse().expect("a name"), "osm");
    let around =
        [shop.into(), pod("buyer", "buyer", 1).into(), group.into(), TcpRoute::new(name("any")).into()];
    from_scratch(around.into_iter().chain(objects))
}

pub(crate) fn ir(snapshot: &MeshSnapshot, pod: &str) -> ProxyIr {
    let workload = snapshot.workload(&name(pod)).expect("the pod is known");
    let proxy = ProxyId::new(workload.proxy.clone().expect("a proxy"), workload.identity());
    policy::compile(snapshot, &proxy).expect("the proxy is known").ir
}

pub(crate) fn dialled(ir: &ProxyIr) -> Vec<String> {
    ir.outbound.iter().map(|service| service.name.to_string()).collect()
}

pub(crate) fn endpoints(ir: &ProxyIr, of: &str) -> Vec<String> {
    let found = ir.endpoints.iter().find(|part| part.name.to_string() == of).expect("an upstream");
    found.addresses.iter().map(|(address, port)| format!("{address}:{port}")).collect()
}

/// Who may reach an inbound port: for each rule its name and principals.
pub(crate) fn access(ir: &ProxyIr, service: &str, target_port: u16) -> String {
    let is_it = |part: &&Arc<_>| -> bool {
        let part: &osm_core::ir::InboundService = part;
        part.service == name(service) && part.target_port.get() == target_port
    };
    let Some(inbound) = ir.inbound.iter().find(is_it) else { return "not served".to_owned() };
    let rules: Vec<(String, String)> = match &inbound.access {
        InboundAccess::Http(Access::These(rules)) => {
            rules.iter().map(|rule| (rule.name.to_string(), format!("{:?}", rule.principals))).collect()
        }
        InboundAccess::Tcp(Access::These(rules)) => {
            rules.iter().map(|rule| (rule.name.to_string(), format!("{:?}", rule.principals))).collect()
        }
        InboundAccess::Http(Access::Nobody(_)) | InboundAccess::Tcp(Access::Nobody(_)) => {
            return "nobody".to_owned();
        }
        InboundAccess::Http(Access::Everyone(_)) | InboundAccess::Tcp(Access::Everyone(_)) => {
            return "everyone".to_owned();
        }
    };
    rules.into_iter().map(|(rule, principals)| format!("{rule} {principals}")).collect::<Vec<_>>().join("; ")
}

pub(crate) fn codes(snapshot: &MeshSnapshot) -> Vec<String> {
    snapshot.diagnostics().map(|found| format!("{} {}", found.code, found.field)).collect()
}
