//! Random meshes for property tests.
//!
//! The universe is small on purpose, so that random objects meet: two namespaces
//! in the mesh and one outside it, four accounts, four services.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::identity::{ProxyId, ServiceIdentity};
use crate::model::{
    ContainerPort, Endpoint, EndpointPort, EndpointSlice, HttpMatch, HttpRouteGroup, MeshConfig, MeshObject,
    Methods, Namespace, RouteRule, Service, ServiceAccount, ServicePort, SplitBackend, TargetPort, TcpRoute,
    TlsSettings, TlsVersion, TrafficSplit, TrafficTarget, Workload,
};
use crate::name::{Hostname, ObjectRef, QualifiedName};
use crate::snapshot::MeshOptions;
use crate::source::SourceEvent;

const NAMESPACES: [&str; 3] = ["bank", "shop", "zoo"];
pub(super) const ACCOUNTS: [&str; 4] = ["alice", "bob", "carol.c", "dave"];
pub(super) const SERVICES: [&str; 4] = ["api", "db", "root", "web"];
const REGEXES: [&str; 6] = ["/a", "/b/.*", ".*", "(?=bad)", "[0-9]{1,3}", ""];

pub(super) fn name(namespace: usize, name: &str) -> QualifiedName {
    let namespace = NAMESPACES[namespace % NAMESPACES.len()];
    format!("{namespace}/{name}").parse().expect("the universe has valid names")
}

pub(super) fn identity(namespace: usize, account: usize) -> ServiceIdentity {
    let name = name(namespace, ACCOUNTS[account % ACCOUNTS.len()]);
    ServiceIdentity::new(name.namespace, name.name)
}

pub(super) fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

pub(super) fn service_name(namespace: usize, service: usize) -> QualifiedName {
    name(namespace, SERVICES[service % SERVICES.len()])
}

pub(super) fn pod_address(namespace: usize, pod: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 244, namespace as u8, pod as u8 + 1))
}

/// A random object of the small universe.
pub fn object() -> impl Strategy<Value = MeshObject> {
    prop_oneof![
        1 => namespace(),
        1 => (0..3usize, 0..4usize).prop_map(|(n, a)| ServiceAccount::new(name(n, ACCOUNTS[a])).into()),
        4 => service(),
        6 => workload(),
        2 => slice(),
        5 => target(),
        2 => group(),
        2 => tcp_route(),
        3 => split(),
        1 => config(),
    ]
}

fn namespace() -> impl Strategy<Value = MeshObject> {
    (0..3usize, 0..8u8).prop_map(|(n, luck)| {
        let name = NAMESPACES[n].parse().expect("the universe has valid names");
        let monitored = if n == 2 { luck == 0 } else { luck > 0 };
        if monitored { Namespace::monitored(name, "osm").into() } else { Namespace::new(name).into() }
    })
}

fn service_port() -> impl Strategy<Value = ServicePort> {
    (select(vec![80u16, 81, 3306]), 0..3u16, 0..6u8).prop_map(|(number, target, protocol)| {
        let mut written = ServicePort::new(&format!("p{number}"), port(number));
        written.target = match target {
            0 => TargetPort::Number(port(8080)),
            1 => TargetPort::Number(port(9090)),
            _ => TargetPort::Name("web".to_owned()),
        };
        written.app_protocol = match protocol {
            0 => Some("tcp".to_owned()),
            1 => Some("tcp-server-first".to_owned()),
            2 => Some("grpc".to_owned()),
            3 => Some("mongo".to_owned()),
            _ => None,
        };
        written
    })
}

fn service() -> impl Strategy<Value = MeshObject> {
    (0..3usize, 0..4usize, 0..4u8, 0..8u8, vec(service_port(), 0..3)).prop_map(
        |(n, s, label, address, ports)| {
            let mut service = Service::new(service_name(n, s));
            if label > 0 {
                service.selector.insert("app".to_owned(), format!("app{label}"));
            }
            service.addresses = match address {
                // Some are to have none: their members are dialled. Some have none yet.
                0..3 => Vec::new(),
                // Now and then two services claim one address, or that of a pod.
                3 => vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1))],
                4 => vec![pod_address(n, s)],
                _ => vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, (n * 4 + s) as u8 + 10))],
            };
            service.headless = address < 3 && (address, label) != (0, 0);
            service.publish_not_ready = address == 1;
            service.ports = ports;
            service.into()
        },
    )
}

fn workload() -> impl Strategy<Value = MeshObject> {
    (0..3usize, 0..5usize, 0..4usize, 0..4u8, any::<bool>(), 0..8u8, (hostname(), 0..4usize)).prop_map(
        |(n, pod, account, label, ready, proxy, (hostname, subdomain))| {
            let pod_name = name(n, &format!("pod{pod}"));
            let mut workload = Workload::new(pod_name, identity(n, account).service_account);
            workload.labels.insert("app".to_owned(), format!("app{label}"));
            workload.labels.insert("other".to_owned(), "x".to_owned());
            let second = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, n as u16, pod as u16 + 1));
            workload.addresses = match label {
                0 | 1 => vec![pod_address(n, pod)],
                2 => vec![pod_address(n, pod), second],
                _ => vec![second, pod_address(n, pod)],
            };
            workload
                .ports
                .push(ContainerPort { name: "web".to_owned(), port: port(8000 + u16::from(label)) });
            workload.ready = ready;
            workload.subdomain = hostname.is_some().then(|| service_name(n, subdomain).name);
            workload.hostname = hostname;
            workload.proxy = match proxy {
                0 => None,
                1 => Some("proxy-shared".parse().expect("valid")),
                _ => Some(format!("proxy-{n}-{pod}").parse().expect("valid")),
            };
            workload.into()
        },
    )
}

/// A host name, now and then one that another workload has as well.
fn hostname() -> impl Strategy<Value = Option<Hostname>> {
    (0..4u8).prop_map(|which| (which < 3).then(|| format!("web-{which}").parse().expect("valid")))
}

fn slice() -> impl Strategy<Value = MeshObject> {
    let endpoint = (0..5usize, any::<bool>(), any::<bool>(), hostname());
    (0..3usize, 0..4usize, 0..2u8, vec(endpoint, 0..3)).prop_map(|(n, s, which, pods)| {
        let service = service_name(n, s);
        let slice_name = name(n, &format!("{}-{which}", SERVICES[s]));
        let mut slice = EndpointSlice::new(slice_name, service);
        slice.ports.push(EndpointPort { name: "p80".to_owned(), port: port(8080) });
        slice.endpoints = pods
            .into_iter()
            .map(|(pod, ready, named, hostname)| Endpoint {
                addresses: vec![pod_address(n, pod)],
                ready,
                workload: named.then(|| format!("pod{pod}").parse().expect("valid")),
                hostname,
            })
            .collect();
        slice.into()
    })
}

fn target() -> impl Strategy<Value = MeshObject> {
    let rule = (0..2u8, 0..3u8, 0..4u8).prop_map(|(kind, which, matches)| match kind {
        0 => RouteRule::Tcp { route: format!("tcp{which}").parse().expect("valid") },
        _ => RouteRule::Http {
            group: format!("group{which}").parse().expect("valid"),
            matches: (matches < 2).then(|| vec![format!("m{matches}")]),
        },
    });
    let sources = vec((0..3usize, 0..4usize), 0..3);
    (0..3usize, 0..3u8, 0..3usize, 0..4usize, sources, vec(rule, 0..3)).prop_map(
        |(n, which, other, account, sources, rules)| {
            // Mostly within its own namespace, as it must be.
            let destination = identity(if other == 0 { other } else { n }, account);
            let mut target = TrafficTarget::new(name(n, &format!("target{which}")), destination);
            target.sources = sources.into_iter().map(|(n, a)| identity(n, a)).collect();
            target.rules = rules;
            target.into()
        },
    )
}

fn group() -> impl Strategy<Value = MeshObject> {
    let one = (select(REGEXES.to_vec()), 0..3u8, any::<bool>());
    (0..3usize, 0..3u8, vec(one, 0..3)).prop_map(|(n, which, matches)| {
        let mut group = HttpRouteGroup::new(name(n, &format!("group{which}")));
        let matches = matches.into_iter().enumerate().map(|(index, (regex, methods, header))| HttpMatch {
            name: format!("m{index}"),
            path_regex: Some(regex.to_owned()),
            methods: match methods {
                0 => Methods::Any,
                1 => Methods::These(BTreeSet::from(["GET".to_owned()])),
                _ => Methods::These(BTreeSet::from(["GET".to_owned(), "POST".to_owned()])),
            },
            headers: if header { vec![("host".to_owned(), "web.*".to_owned())] } else { Vec::new() },
        });
        group.matches = matches.collect();
        group.into()
    })
}

fn tcp_route() -> impl Strategy<Value = MeshObject> {
    (0..3usize, 0..3u8, 0..3u8).prop_map(|(n, which, ports)| {
        let mut route = TcpRoute::new(name(n, &format!("tcp{which}")));
        route.ports = match ports {
            0 => None,
            1 => Some(BTreeSet::from([8080])),
            _ => Some(BTreeSet::from([9090, 3306])),
        };
        route.into()
    })
}

fn split() -> impl Strategy<Value = MeshObject> {
    // Mostly everything is divided; else the requests of some groups, which may not be there.
    let matches = prop_oneof![2 => Just(None), 1 => vec(0..4u8, 0..3).prop_map(Some)];
    let backends = vec((0..4usize, 0..3u32), 0..4);
    (0..3usize, 0..3u8, 0..4usize, backends, matches).prop_map(|(n, which, root, backends, matches)| {
        let mut split = TrafficSplit::new(name(n, &format!("split{which}")), service_name(n, root));
        let backend = |(s, weight)| SplitBackend { service: service_name(n, s), weight };
        split.backends = backends.into_iter().map(backend).collect();
        let group = |which: u8| format!("group{which}").parse().expect("valid");
        split.matches = matches.map(|groups| groups.into_iter().map(group).collect());
        split.into()
    })
}

fn config() -> impl Strategy<Value = MeshObject> {
    (any::<bool>(), any::<bool>(), 0..4u8).prop_map(|(permissive, egress, other)| {
        let options = MeshOptions::default();
        let mut config =
            MeshConfig::new(if other == 0 { name(0, "other-config") } else { options.mesh_config });
        config.permissive = permissive;
        config.egress = egress;
        let mut tls = TlsSettings::default();
        tls.oldest = if other == 1 { TlsVersion::V1_3 } else { tls.oldest };
        config.tls = tls.into();
        config.into()
    })
}

/// One step of a random history: an object is applied, or one applied earlier is deleted.
#[derive(Debug, Clone)]
pub enum Step {
    /// The object is applied.
    Apply(Box<MeshObject>),
    /// One of the objects that exist is deleted.
    Delete(Index),
}

/// A random history: a mesh in which something is in force, most of the time, and at
/// most `length` steps after that.
pub fn history(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => object().prop_map(|object| Step::Apply(Box::new(object))),
        1 => any::<Index>().prop_map(Step::Delete),
    ];
    (0..5u8, vec(step, 1..length)).prop_map(|(luck, steps)| {
        // Mostly something is in force from the start, so that steps have an effect.
        let start = if luck > 0 { super::bazaar::objects() } else { Vec::new() };
        start.into_iter().map(|object| Step::Apply(Box::new(object))).chain(steps).collect()
    })
}

/// The random history of a number: the same one wherever it is asked for.
#[must_use]
pub fn seeded_history(seed: u64, length: usize) -> Vec<Step> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = history(length).new_tree(&mut runner);
    tree.expect("no history is filtered out").current()
}

/// Plays a history: the event of each step, and the objects that exist in the end.
#[must_use]
pub fn play(history: &[Step]) -> (Vec<SourceEvent>, Vec<MeshObject>) {
    let mut objects: Vec<(ObjectRef, MeshObject)> = Vec::new();
    let mut events = Vec::new();
    let apply = |objects: &mut Vec<(ObjectRef, MeshObject)>, mut object: MeshObject| {
        let name = object.object_ref();
        if let Some(at) = objects.iter().position(|(other, _)| *other == name) {
            // As in an API server, an object that is other than before has the next generation.
            let (_, old) = objects.remove(at);
            let generation = old.meta().generation;
            object.meta_mut().generation = generation;
            object.meta_mut().generation = generation + i64::from(object != old);
        }
        objects.push((name, object.clone()));
        SourceEvent::apply(object)
    };
    for namespace in &NAMESPACES[..2] {
        let name = namespace.parse().expect("the universe has valid names");
        events.push(apply(&mut objects, Namespace::monitored(name, "osm").into()));
    }
    for step in history {
        match step {
            Step::Apply(object) => events.push(apply(&mut objects, MeshObject::clone(object))),
            Step::Delete(index) => {
                let (name, _) = objects.remove(index.index(objects.len().max(1)).min(objects.len() - 1));
                events.push(SourceEvent::Delete(name));
                if objects.is_empty() {
                    break;
                }
            }
        }
    }
    (events, objects.into_iter().map(|(_, object)| object).collect())
}

/// Every proxy that the universe can have.
#[must_use]
pub fn proxies() -> Vec<ProxyId> {
    let mut all = Vec::new();
    for n in 0..NAMESPACES.len() {
        for account in 0..ACCOUNTS.len() {
            let uuids = (0..5).map(|pod| format!("proxy-{n}-{pod}")).chain(["proxy-shared".to_owned()]);
            all.extend(uuids.map(|uuid| ProxyId::new(uuid.parse().expect("valid"), identity(n, account))));
        }
    }
    all
}
