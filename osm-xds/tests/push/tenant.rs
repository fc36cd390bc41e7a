//! What somebody who may write whatever they like in one namespace can do to the proxies of
//! the others: offer services of their own to those who may reach them, and nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use osm_core::identity::ProxyId;
use osm_core::ir::ProxyIr;
use osm_core::model::{
    Endpoint, MeshConfig, MeshObject, Namespace, RouteRule, Service, ServicePort, TcpRoute, TrafficTarget,
    Workload,
};
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::testing::{from_scratch, history, object, play, proxies};
use osm_xds::generate;
use osm_xds::resource::Resource;
use proptest::prelude::*;

/// Whose namespace it is; the bazaar of the random universe is in another one.
const TENANT: &str = "bank";
/// The others, as they are numbered there.
const OTHERS: [(u8, &str); 2] = [(1, "shop"), (2, "zoo")];

fn is_tenants(object: &MeshObject) -> bool {
    object.object_ref().namespace.is_some_and(|namespace| namespace.as_str() == TENANT)
}

/// What the tenant writes: any object, also one that points at what others have.
fn written() -> impl Strategy<Value = MeshObject> {
    (object(), 0..3usize, 0..2usize, 0..5u8).prop_map(|(mut object, spice, other, pod)| {
        let (number, namespace) = OTHERS[other];
        let stolen: IpAddr = [10, 244, number, pod + 1].into();
        match &mut object {
            MeshObject::Workload(workload) if spice == 1 => workload.addresses = vec![stolen],
            MeshObject::Workload(workload) if spice == 2 => {
                workload.proxy = Some(format!("proxy-{number}-{pod}").parse().expect("a valid name"));
            }
            MeshObject::EndpointSlice(slice) => {
                let workload = (spice == 1).then(|| format!("pod{pod}").parse().expect("a valid name"));
                slice.endpoints.push(Endpoint {
                    addresses: vec![stolen],
                    ready: true,
                    workload,
                    hostname: None,
                });
            }
            MeshObject::TrafficTarget(target) if spice == 1 => {
                target.destination = format!("{namespace}/alice").parse().expect("a valid identity");
            }
            _ => {}
        }
        object
    })
}

/// The objects of a mesh before the tenant goes to work, and after.
fn meshes() -> impl Strategy<Value = (Vec<MeshObject>, Vec<MeshObject>)> {
    let settings = (any::<bool>(), any::<bool>());
    (history(30), settings, vec_of_written(), any::<u64>()).prop_map(
        |(history, (permissive, egress), written, kept)| {
            let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
            (config.permissive, config.egress) = (permissive, egress);
            let (_, mut before) = play(&history);
            before.retain(|object| object.object_ref() != MeshObject::from(config.clone()).object_ref());
            before.push(config.into());
            let mut after = before.clone();
            let mut number = 0;
            after.retain(|object| {
                number += u32::from(is_tenants(object));
                !is_tenants(object) || kept.rotate_left(number) & 1 == 1
            });
            for object in written.into_iter().filter(is_tenants) {
                after.retain(|other| other.object_ref() != object.object_ref());
                after.push(object);
            }
            (as_a_server_takes_them(before), as_a_server_takes_them(after))
        },
    )
}

fn vec_of_written() -> impl Strategy<Value = Vec<MeshObject>> {
    proptest::collection::vec(written(), 1..60)
}

/// Without services of the tenant that claim an address which others have: an API server
/// gives an address to one service
/// (`an_address_of_a_service_is_given_to_no_other_and_what_is_outside_is_carried_for_none`).
/// Nor are pods of the tenant dialled at an address that a pod of others has: the addresses of
/// pods are in their status, which kubelets write, and no two pods of a network share one.
fn as_a_server_takes_them(mut objects: Vec<MeshObject>) -> Vec<MeshObject> {
    let of_others = addresses(objects.iter().filter(|object| !is_tenants(object)));
    let pods_of_others = pod_addresses(objects.iter().filter(|object| !is_tenants(object)));
    let is_headless = |object: &MeshObject| match object {
        MeshObject::Service(service) => service.headless && is_tenants(object),
        _ => false,
    };
    if objects.iter().any(is_headless) {
        for object in objects.iter_mut().filter(|object| is_tenants(object)) {
            if let MeshObject::Workload(pod) = object {
                pod.addresses.retain(|address| !pods_of_others.contains(address));
            }
        }
    }
    objects.retain(|object| match object {
        MeshObject::Service(Service { addresses, .. }) if is_tenants(object) => {
            addresses.iter().all(|address| !of_others.contains(address))
        }
        _ => true,
    });
    objects
}

fn addresses<'a>(objects: impl IntoIterator<Item = &'a MeshObject>) -> BTreeSet<IpAddr> {
    let services = objects.into_iter().filter_map(|object| match object {
        MeshObject::Service(service) => Some(&service.addresses),
        _ => None,
    });
    services.flatten().copied().collect()
}

fn pod_addresses<'a>(objects: impl IntoIterator<Item = &'a MeshObject>) -> BTreeSet<IpAddr> {
    let pods = objects.into_iter().filter_map(|object| match object {
        MeshObject::Workload(pod) => Some(&pod.addresses),
        _ => None,
    });
    pods.flatten().copied().collect()
}

/// The proxies of others, however they claim to be called.
fn others() -> impl Iterator<Item = ProxyId> {
    proxies().into_iter().filter(|proxy| proxy.identity.namespace.as_str() != TENANT)
}

/// What is generated of a decision, parted in what is about services of the tenant and
/// the rest.
fn parted(ir: &ProxyIr) -> (Vec<Resource>, Vec<Resource>) {
    let own = format!("{TENANT}/");
    generate::proxy(ir).into_iter().partition(|resource| resource.key.name.as_str().contains(&own))
}

/// What is told of services of the tenant is theirs: their addresses, their pods, their
/// identities.
fn check_tenants_part(ir: &ProxyIr, objects: &[MeshObject]) -> Result<(), TestCaseError> {
    let own: Vec<&MeshObject> = objects.iter().filter(|object| is_tenants(object)).collect();
    let (of_services, of_others) =
        (addresses(own.iter().copied()), addresses(objects.iter().filter(|object| !is_tenants(object))));
    let is_own = |namespace: &str| namespace == TENANT;
    let of_pods = pod_addresses(own.iter().copied());
    let at =
        |places: &BTreeSet<(IpAddr, NonZeroU16)>| places.iter().map(|(at, _)| *at).collect::<BTreeSet<_>>();
    let dialled = ir
        .outbound
        .iter()
        .map(|one| (&one.name, false, one.addresses.iter().copied().collect::<BTreeSet<_>>()));
    let members = ir.members.iter().map(|one| (&one.name, true, BTreeSet::from([one.place.0])));
    let refused = ir.refused.iter().map(|one| (&one.name, one.member.is_some(), at(&one.places)));
    let all = dialled.chain(members).chain(refused);
    for (name, is_member, dialled) in all.filter(|(name, ..)| is_own(name.service.namespace.as_str())) {
        let own = if is_member { &of_pods } else { &of_services };
        prop_assert!(dialled.is_subset(own), "{} is dialled at {:?}", name, dialled);
        prop_assert!(
            dialled.iter().all(|at| !of_others.contains(at)),
            "{} is dialled at {:?}",
            name,
            dialled
        );
    }
    for upstream in ir.upstreams.iter().filter(|one| is_own(one.name.service.namespace.as_str())) {
        let mut servers = upstream.server_identities.iter();
        prop_assert!(servers.all(|server| server.identity.namespace.as_str() == TENANT), "{:?}", upstream);
    }
    for upstream in ir.upstreams.iter().filter(|one| !is_own(one.name.service.namespace.as_str())) {
        let mut servers = upstream.server_identities.iter();
        prop_assert!(servers.all(|server| server.identity.namespace.as_str() != TENANT), "{:?}", upstream);
    }
    Ok(())
}

/// Whether a target of the tenant lets somebody of a namespace reach the tenant's services.
fn names(objects: &[MeshObject], namespace: &str) -> bool {
    let names = |target: &TrafficTarget| target.sources.iter().any(|one| one.namespace.as_str() == namespace);
    objects.iter().filter(|object| is_tenants(object)).any(|object| match object {
        MeshObject::TrafficTarget(target) => names(target),
        _ => false,
    })
}

fn of(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Result<ProxyIr, policy::Unknown> {
    policy::compile(snapshot, proxy).map(|compiled| compiled.ir)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_a_tenant_writes_others_keep_their_configuration_to_the_byte((before, after) in meshes()) {
        let (was, is) = (from_scratch(before.clone()), from_scratch(after.clone()));
        for proxy in others() {
            let namespace = proxy.identity.namespace.as_str();
            let (old, new) = match (of(&was, &proxy), of(&is, &proxy)) {
                (Ok(old), Ok(new)) => (old, new),
                (old, new) => {
                    prop_assert_eq!(old, new);
                    continue;
                }
            };
            prop_assert_eq!(&old.inbound, &new.inbound, "{}", &proxy);
            let ((tenants_before, before_it), (tenants_now, now)) = (parted(&old), parted(&new));
            prop_assert_eq!(before_it, now, "{}", &proxy);
            // What of a service of theirs can be seen at all: by those whom they let in, by all
            // where all may reach all, and as a refusal where strangers are let through.
            let shows_all = is.config().permissive || is.config().egress;
            if !shows_all && !names(&before, namespace) && !names(&after, namespace) {
                prop_assert_eq!(tenants_before, vec![], "{}", &proxy);
                prop_assert_eq!(tenants_now, vec![], "{}", &proxy);
            }
            check_tenants_part(&new, &after)?;
        }
    }
}

/// A mesh in which the tenant offers a service to others, and lets in who is named.
fn offering(permissive: bool, egress: bool, source: Option<&str>) -> Vec<MeshObject> {
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    (config.permissive, config.egress) = (permissive, egress);
    let mut client = Workload::new("shop/pod0".parse().expect("a name"), "alice".parse().expect("a name"));
    client.proxy = Some("proxy-1-0".parse().expect("a name"));
    let mut server = Workload::new("bank/pod0".parse().expect("a name"), "bob".parse().expect("a name"));
    server.labels.insert("app".to_owned(), "web".to_owned());
    server.ready = true;
    let mut service = Service::new("bank/web".parse().expect("a name"));
    service.selector.insert("app".to_owned(), "web".to_owned());
    service.addresses.push([10, 96, 0, 9].into());
    service.ports.push(ServicePort::new("tcp", 80.try_into().expect("a port")));
    let mut target =
        TrafficTarget::new("bank/in".parse().expect("a name"), "bank/bob".parse().expect("an identity"));
    target.sources = source.map(|source| source.parse().expect("an identity")).into_iter().collect();
    target.rules = vec![RouteRule::Tcp { route: "all".parse().expect("a name") }];
    let namespaces = ["shop", TENANT].map(|name| Namespace::monitored(name.parse().expect("a name"), "osm"));
    let mut all: Vec<MeshObject> = namespaces.into_iter().map(MeshObject::from).collect();
    all.extend([config.into(), client.into(), server.into(), service.into(), target.into()]);
    all.push(TcpRoute::new("bank/all".parse().expect("a name")).into());
    all
}

#[test]
fn a_copy_of_a_proxys_name_in_another_namespace_is_nothing_to_it() {
    let mut objects = offering(false, false, None);
    let client =
        ProxyId::new("proxy-1-0".parse().expect("a name"), "shop/alice".parse().expect("an identity"));
    for object in &mut objects {
        if let MeshObject::Workload(server) = object {
            server.proxy = Some(client.uuid.clone());
        }
    }
    assert!(of(&from_scratch(objects.clone()), &client).is_ok());
    // Its pod is gone: it keeps what it has, as if there were no copy.
    objects.retain(
        |object| !matches!(object, MeshObject::Workload(one) if one.name.namespace.as_str() == "shop"),
    );
    let unknown = policy::Unknown::NoWorkload { proxy: client.clone() };
    assert_eq!(of(&from_scratch(objects), &client), Err(unknown));
}

#[test]
fn a_service_of_a_tenant_is_shown_to_whom_it_lets_in_and_to_all_where_all_may_reach_all() {
    let client =
        ProxyId::new("proxy-1-0".parse().expect("a name"), "shop/alice".parse().expect("an identity"));
    let shown = |permissive, egress, source| {
        let ir = of(&from_scratch(offering(permissive, egress, source)), &client).expect("it is known");
        let (tenants, others) = parted(&ir);
        assert!(!others.is_empty(), "the listeners of both directions are always there");
        tenants.len()
    };
    assert_eq!(shown(false, false, None), 0);
    assert_eq!(shown(false, false, Some("zoo/alice")), 0);
    assert_eq!(shown(false, false, Some("shop/alice")), 3, "listener, cluster and endpoints");
    assert_eq!(shown(true, false, None), 3);
    assert_eq!(shown(false, true, None), 1, "its port is refused where strangers are let through");
}
