//! A mesh of any size and a regular shape, for counting work.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use crate::identity::ProxyId;
use crate::model::{
    Endpoint, EndpointPort, EndpointSlice, HttpMatch, HttpRouteGroup, MeshConfig, MeshObject, Methods,
    Namespace, RouteRule, Service, ServicePort, SplitBackend, TrafficSplit, TrafficTarget, Workload,
};
use crate::name::QualifiedName;
use crate::snapshot::MeshOptions;

/// The shape of a regular mesh: one server for each endpoint of each service,
/// and clients that serve nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// How many services.
    pub services: usize,
    /// How many endpoints each has.
    pub endpoints: usize,
    /// How many client proxies.
    pub clients: usize,
    /// How many services a client may reach under policy.
    pub reach: usize,
    /// Whether policy is ignored.
    pub permissive: bool,
}

impl Fleet {
    /// All objects of the mesh.
    #[must_use]
    pub fn objects(&self) -> Vec<MeshObject> {
        let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
        config.permissive = self.permissive;
        let namespace = "fleet".parse().expect("a valid name");
        let mut all: Vec<MeshObject> = vec![Namespace::monitored(namespace, "osm").into(), config.into()];
        all.push(Self::group("/.*").into());
        for service in 0..self.services {
            all.push(Self::service(service).into());
            all.push(self.slice(service, self.endpoints).into());
            all.extend((0..self.endpoints).map(|endpoint| Self::server(service, endpoint).into()));
            all.push(self.target(service).into());
        }
        all.extend((0..self.clients).map(|client| self.client(client).into()));
        all
    }

    /// One service.
    #[must_use]
    pub fn service(service: usize) -> Service {
        let mut object = Service::new(name(&format!("s{service}")));
        // The first address of 10.96.0.0 is the API server's own, where there is one.
        object.addresses.push(address(10, 97, service));
        object.ports.push(ServicePort::new("http", port(80)));
        object
    }

    /// The endpoints of a service, as many as are wanted.
    #[must_use]
    pub fn slice(&self, service: usize, endpoints: usize) -> EndpointSlice {
        let mut object = EndpointSlice::new(name(&format!("s{service}-1")), name(&format!("s{service}")));
        object.ports.push(EndpointPort { name: "http".to_owned(), port: port(80) });
        let endpoint = |endpoint| Endpoint {
            addresses: vec![server_address(service, endpoint)],
            ready: true,
            workload: Some(format!("s{service}-{endpoint}").parse().expect("a valid name")),
            hostname: None,
        };
        object.endpoints = (0..endpoints).map(endpoint).collect();
        object
    }

    /// The clients that may reach a service, by all routes of the fleet.
    #[must_use]
    pub fn target(&self, service: usize) -> TrafficTarget {
        let destination = format!("fleet/s{service}").parse().expect("a valid identity");
        let mut object = TrafficTarget::new(name(&format!("to-s{service}")), destination);
        object.rules =
            vec![RouteRule::Http { group: "routes".parse().expect("a valid name"), matches: None }];
        let reaches =
            |client: &usize| (service + self.services - client % self.services) % self.services < self.reach;
        let sources = (0..self.clients.min(self.services)).filter(reaches);
        object.sources = sources.map(|client| format!("fleet/c{client}").parse().expect("valid")).collect();
        object
    }

    /// A split of one service to itself and its neighbour.
    #[must_use]
    pub fn split(service: usize, weight: u32) -> TrafficSplit {
        let mut object = TrafficSplit::new(name(&format!("split-s{service}")), name(&format!("s{service}")));
        object.backends = vec![SplitBackend { service: name(&format!("s{service}")), weight }];
        object
    }

    /// The routes that every target of the fleet names.
    #[must_use]
    pub fn group(path: &str) -> HttpRouteGroup {
        Self::group_named("routes", path)
    }

    /// Routes of another name.
    #[must_use]
    pub fn group_named(group: &str, path: &str) -> HttpRouteGroup {
        let mut object = HttpRouteGroup::new(name(group));
        object.matches.push(HttpMatch {
            name: "all".to_owned(),
            path_regex: Some(path.to_owned()),
            methods: Methods::Any,
            headers: Vec::new(),
        });
        object
    }

    /// A client's proxy.
    #[must_use]
    pub fn client_proxy(&self, client: usize) -> ProxyId {
        let account = client % self.services.max(1);
        let identity = format!("fleet/c{account}").parse().expect("a valid identity");
        ProxyId::new(format!("client-{client}").parse().expect("a valid UUID"), identity)
    }

    fn client(&self, client: usize) -> Workload {
        let account = client % self.services.max(1);
        Self::workload(&format!("client-{client}"), &format!("c{account}"), address(10, 200, client), None)
    }

    /// A server of a service.
    #[must_use]
    pub fn server(service: usize, endpoint: usize) -> Workload {
        let pod = format!("s{service}-{endpoint}");
        let proxy = format!("server-{service}-{endpoint}");
        Self::workload(&pod, &format!("s{service}"), server_address(service, endpoint), Some(proxy))
    }

    fn workload(pod: &str, account: &str, address: IpAddr, proxy: Option<String>) -> Workload {
        let mut object = Workload::new(name(pod), account.parse().expect("a valid name"));
        object.addresses.push(address);
        object.ready = true;
        object.proxy = Some(proxy.unwrap_or_else(|| pod.to_owned()).parse().expect("a valid UUID"));
        object
    }
}

fn name(text: &str) -> QualifiedName {
    format!("fleet/{text}").parse().expect("a valid name")
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

fn address(a: u8, b: u8, host: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, (host / 250) as u8, (host % 250) as u8 + 1))
}

fn server_address(service: usize, endpoint: usize) -> IpAddr {
    if endpoint >= 100 {
        // So many only a few services have.
        return address(11, service as u8, endpoint);
    }
    IpAddr::V4(Ipv4Addr::new(10, 100 + endpoint as u8, (service / 250) as u8, (service % 250) as u8 + 1))
}
