//! I4: what a representation lacks is found.

use std::sync::Arc;

use osm_core::ir::{OutboundRoute, ProxyIr};
use osm_core::model::MeshObject;
use osm_core::testing::from_scratch;
use osm_core::testing::invariant::check_i4;

use crate::{ir_of, shop};

#[test]
fn i4_a_planted_gap_is_found() {
    let whole = ir_of(&from_scratch(shop()), "buyer");
    assert_eq!(check_i4(&whole), Ok(()));
    assert!(whole.outbound.iter().any(|service| matches!(service.route, OutboundRoute::Weighted { .. })));
    type Plant = fn(&mut ProxyIr);
    let plants: [Plant; 5] = [
        |ir| drop(ir.upstreams.remove(1)),
        |ir| drop(ir.endpoints.pop()),
        |ir| {
            ir.upstreams.pop();
            ir.endpoints.pop();
        },
        |ir| ir.outbound.reverse(),
        |ir| Arc::make_mut(&mut ir.outbound[0]).hostnames.clear(),
    ];
    for (index, plant) in plants.iter().enumerate() {
        let mut ir = whole.clone();
        plant(&mut ir);
        assert!(check_i4(&ir).is_err(), "plant {index}");
    }
}

#[test]
fn i4_two_at_one_place_are_found() {
    let mut objects = shop();
    for object in &mut objects {
        if let MeshObject::Service(service) = object {
            service.headless = true;
        }
    }
    let whole = ir_of(&from_scratch(objects), "buyer");
    assert_eq!((check_i4(&whole), whole.members.len()), (Ok(()), 3));
    type Plant = fn(&mut ProxyIr);
    let plants: [Plant; 3] = [
        |ir| {
            let taken = ir.members[0].place;
            Arc::make_mut(&mut ir.members[1]).place = taken;
        },
        |ir| ir.members.push(Arc::clone(&ir.members[0])),
        |ir| drop(ir.outbound.remove(0)),
    ];
    for (index, plant) in plants.iter().enumerate() {
        let mut ir = whole.clone();
        plant(&mut ir);
        assert!(check_i4(&ir).is_err(), "plant {index}");
    }
}
