//! A mesh of the random universe in which each kind of policy is in force.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::random::{ACCOUNTS, SERVICES, identity, name, pod_address, port, service_name};
use crate::model::{
    ContainerPort, HttpMatch, HttpRouteGroup, MeshObject, Methods, RouteRule, Service, ServicePort,
    SplitBackend, TargetPort, TcpRoute, TrafficSplit, TrafficTarget, Workload,
};
use crate::name::ObjectName;

/// The namespace that it lives in, by its place in the universe.
const SHOP: usize = 1;

/// Its objects: a pod for each account, services by HTTP and TCP, one of them
/// headless with a member that has a name, targets by requests and by ports, a split that leads back to its root, and one of some
/// requests to the same root.
pub(super) fn objects() -> Vec<MeshObject> {
    let mut all: Vec<MeshObject> = (0..ACCOUNTS.len()).map(|account| pod(account).into()).collect();
    let mut headless = service(1, 2, 3306, Some("tcp"));
    headless.headless = true;
    headless.addresses.clear();
    all.extend([service(0, 1, 80, None), headless].map(MeshObject::from));
    all.extend([service(2, 1, 80, None), service(3, 3, 80, Some("grpc"))].map(MeshObject::from));
    let mut group = HttpRouteGroup::new(name(SHOP, "group0"));
    group.matches = vec![request("m0", Some("/a")), request("m1", Some("/b/.*"))];
    all.push(group.into());
    let mut route = TcpRoute::new(name(SHOP, "tcp1"));
    route.ports = Some(BTreeSet::from([8080, 9090]));
    all.extend([TcpRoute::new(name(SHOP, "tcp0")).into(), route.into()]);
    let http = |matches| RouteRule::Http { group: object("group0"), matches };
    let tcp = |route| RouteRule::Tcp { route: object(route) };
    all.push(target("target0", 1, &[0, 3], vec![http(None)]).into());
    all.push(target("target1", 2, &[0, 1], vec![tcp("tcp0")]).into());
    all.push(target("target2", 3, &[0], vec![http(Some(vec!["m0".to_owned()])), tcp("tcp1")]).into());
    let mut split = TrafficSplit::new(name(SHOP, "split0"), service_name(SHOP, 2));
    let backend = |(service, weight)| SplitBackend { service: service_name(SHOP, service), weight };
    split.backends = [(0, 1), (2, 2), (3, 1)].map(backend).into();
    all.push(split.into());
    let mut some = TrafficSplit::new(name(SHOP, "split1"), service_name(SHOP, 2));
    some.backends = [(0, 1)].map(backend).into();
    some.matches = Some(vec![object("group0")]);
    all.push(some.into());
    all
}

fn object(text: &str) -> ObjectName {
    text.parse().expect("the universe has valid names")
}

fn pod(account: usize) -> Workload {
    let mut pod =
        Workload::new(name(SHOP, &format!("pod{account}")), identity(SHOP, account).service_account);
    pod.labels.insert("app".to_owned(), format!("app{account}"));
    pod.addresses.push(pod_address(SHOP, account));
    pod.ports.push(ContainerPort { name: "web".to_owned(), port: port(8000) });
    pod.hostname = Some(format!("web-{account}").parse().expect("a valid name"));
    pod.subdomain = Some(service_name(SHOP, 1).name);
    pod.ready = true;
    pod.proxy = Some(format!("proxy-{SHOP}-{account}").parse().expect("a valid name"));
    pod
}

fn service(which: usize, app: usize, number: u16, app_protocol: Option<&str>) -> Service {
    let mut service = Service::new(name(SHOP, SERVICES[which]));
    service.selector.insert("app".to_owned(), format!("app{app}"));
    service.addresses.push(IpAddr::V4(Ipv4Addr::new(10, 96, 1, which as u8)));
    let mut written = ServicePort::new(&format!("p{number}"), port(number));
    written.target = TargetPort::Number(port(8080));
    written.app_protocol = app_protocol.map(str::to_owned);
    service.ports.push(written);
    service
}

fn request(name: &str, path: Option<&str>) -> HttpMatch {
    let path_regex = path.map(str::to_owned);
    HttpMatch { name: name.to_owned(), path_regex, methods: Methods::Any, headers: Vec::new() }
}

fn target(which: &str, to: usize, from: &[usize], rules: Vec<RouteRule>) -> TrafficTarget {
    let mut target = TrafficTarget::new(name(SHOP, which), identity(SHOP, to));
    target.sources = from.iter().map(|account| identity(SHOP, *account)).collect();
    target.rules = rules;
    target
}
