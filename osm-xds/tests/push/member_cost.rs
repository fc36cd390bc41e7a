//! What a change costs a headless service follows the change, and not how many members
//! it has.

use std::collections::BTreeSet;

use osm_core::model::{EndpointSlice, MeshObject};
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_xds::resource::{ResourceKey, ResourceKind, ResourceName};

use crate::cost::{Mesh, SERVICE, costs, fleet};

/// The members of the service that changes, once it is headless.
const MEMBERS: usize = 50;

/// So many members of the service that changes, as its slice tells them.
fn members(fleet: &Fleet, count: usize) -> EndpointSlice {
    let mut slice = fleet.slice(SERVICE, count);
    for (number, endpoint) in slice.endpoints.iter_mut().enumerate() {
        endpoint.hostname = Some(format!("s-{number}").parse().expect("a valid host name"));
    }
    slice
}

/// What makes the service that changes a headless one, with its members and one to come.
fn headless(fleet: &Fleet) -> Vec<MeshObject> {
    let mut service = Fleet::service(SERVICE);
    service.headless = true;
    let pods = (0..=MEMBERS).map(|number| Fleet::server(SERVICE, number).into());
    [service.into(), members(fleet, MEMBERS).into()].into_iter().chain(pods).collect()
}

fn member_listener(number: usize, address: std::net::IpAddr) -> ResourceKey {
    let name = format!("outbound_fleet/s3/s-{number}_80_http_{address}:80");
    ResourceKey::new(ResourceKind::Listener, ResourceName::new(name))
}

#[test]
fn a_member_more_or_less_is_its_listener_and_the_endpoints_whatever_the_size_of_the_set_and_the_mesh() {
    let endpoints = ResourceKey::new(ResourceKind::Endpoints, ResourceName::new("fleet/s3|80"));
    for permissive in [true, false] {
        for (count, changed, generated) in [(MEMBERS + 1, MEMBERS, 2), (MEMBERS - 1, MEMBERS - 1, 1)] {
            for cost in costs(permissive, headless, |fleet| members(fleet, count).into()) {
                assert_eq!(cost.work.generated, generated, "{:?}", cost.work);
                let clients: Vec<_> =
                    cost.changed.iter().filter(|(name, _)| name.starts_with("client")).collect();
                assert!(!clients.is_empty());
                let expected = BTreeSet::from([
                    endpoints.clone(),
                    member_listener(changed, Fleet::server(SERVICE, changed).addresses[0]),
                ]);
                assert!(clients.iter().all(|(_, keys)| **keys == expected), "{clients:?}");
            }
        }
    }
}

#[test]
fn a_member_that_is_not_ready_or_about_to_end_keeps_its_listener_and_so_its_connections() {
    let endpoints = ResourceKey::new(ResourceKind::Endpoints, ResourceName::new("fleet/s3|80"));
    for permissive in [true, false] {
        let unready = |fleet: &Fleet| {
            let mut slice = members(fleet, MEMBERS);
            slice.endpoints[7].ready = false;
            slice.into()
        };
        for cost in costs(permissive, headless, unready) {
            assert_eq!(cost.work.generated, 1, "{:?}", cost.work);
            let expected = BTreeSet::from([endpoints.clone()]);
            let clients = cost.changed.values().filter(|keys| **keys == expected).count();
            assert!(clients > 0 && clients == cost.changed.len(), "{cost:?}");
        }
    }
}

#[test]
fn a_member_that_moves_is_a_listener_that_goes_one_that_comes_and_the_endpoints() {
    let endpoints = ResourceKey::new(ResourceKind::Endpoints, ResourceName::new("fleet/s3|80"));
    let fleet = fleet(100, 10, true);
    let mut mesh = Mesh::new(fleet, headless(&fleet));
    let elsewhere = [10, 9, 9, 9].into();
    let mut pod = Fleet::server(SERVICE, 7);
    pod.addresses = vec![elsewhere];
    mesh.builder.apply(SourceEvent::apply(pod));
    let mut slice = members(&fleet, MEMBERS);
    slice.endpoints[7].addresses = vec![elsewhere];
    let cost = mesh.apply(slice.into());
    assert_eq!(cost.work.generated, 2, "{:?}", cost.work);
    // One listener comes and one goes: none of them ever moves.
    let before = Fleet::server(SERVICE, 7).addresses[0];
    let expected = BTreeSet::from([endpoints, member_listener(7, before), member_listener(7, elsewhere)]);
    assert!(cost.changed.values().all(|keys| *keys == expected) && !cost.changed.is_empty(), "{cost:?}");
}

#[test]
fn a_split_of_a_headless_service_costs_the_same_however_many_members_it_has() {
    let routes = ResourceKey::new(ResourceKind::Route, ResourceName::new("rds-outbound.fleet/s3_80"));
    for permissive in [true, false] {
        let more = |fleet: &Fleet| [headless(fleet), vec![Fleet::split(SERVICE, 7).into()]].concat();
        for cost in costs(permissive, more, |_| Fleet::split(SERVICE, 8).into()) {
            assert!(cost.work.generated <= 2, "{:?}", cost.work);
            assert!(cost.changed.values().all(|keys| *keys == BTreeSet::from([routes.clone()])), "{cost:?}");
        }
    }
}

/// A mesh in which a headless service has so many members, all of them connected.
fn set_of(count: usize) -> Mesh {
    let fleet = Fleet { endpoints: count, ..fleet(20, 10, true) };
    let mut service = Fleet::service(SERVICE);
    service.headless = true;
    Mesh::new(fleet, vec![service.into(), members(&fleet, count).into()])
}

#[test]
fn what_members_do_for_their_workload_is_not_decided_anew_when_another_one_comes_or_goes() {
    let compiled = [20, 200].map(|count| {
        let mut mesh = set_of(count);
        let fewer = members(&fleet(20, 10, true), count - 1);
        let cost = mesh.apply(fewer.into());
        assert_eq!(cost.work.generated, 1, "{:?}", cost.work);
        cost.work.compiled
    });
    assert_eq!(compiled[0], compiled[1]);
}

#[test]
fn a_change_of_all_members_looks_at_each_of_them_a_few_times() {
    for count in [20, 200] {
        let mut mesh = set_of(count);
        let mut slice = members(&fleet(20, 10, true), count);
        slice.ports[0].port = 8081.try_into().expect("not 0");
        let cost = mesh.apply(slice.into());
        assert!(cost.work.generated >= count as u64, "{:?}", cost.work);
        // Twice as many listeners as members, before and after, in each of two layers.
        assert!(cost.work.reviewed <= 8 * count as u64 + 100, "{count}: {:?}", cost.work);
    }
}
