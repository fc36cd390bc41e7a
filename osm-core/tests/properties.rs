//! What holds for every mesh: snapshots do not depend on the order of facts,
//! building step by step gives what building from scratch gives, and policy
//! never widens by accident.

use osm_core::identity::Principal;
use osm_core::ir::{Access, InboundAccess, MemberName, OutboundMember, ServicePortName};
use osm_core::model::{MeshConfig, MeshObject};
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_core::testing::{from_scratch, history, play, proxies, seeded_history, told};
use proptest::prelude::*;
use std::sync::Arc;

/// Builds step by step, a snapshot after every few events.
fn step_by_step(events: Vec<SourceEvent>, every: usize) -> Arc<MeshSnapshot> {
    let mut builder = told([]);
    for (index, event) in events.into_iter().enumerate() {
        builder.apply(event);
        if index % every == 0 {
            builder.build();
        }
    }
    builder.build();
    Arc::clone(builder.current())
}

/// Without them, what holds for random meshes would say nothing of members.
#[test]
fn random_meshes_have_members_with_and_without_names_and_refuse_some() {
    let (mut named, mut anonymous, mut refused) = (0, 0, 0);
    for seed in 0..60 {
        let (_, objects) = play(&seeded_history(seed, 400));
        for snapshot in [from_scratch(objects.clone()), with_config(&objects, true)] {
            for compiled in proxies().iter().filter_map(|proxy| policy::compile(&snapshot, proxy).ok()) {
                for member in &compiled.ir.members {
                    match member.member {
                        MemberName::Host(_) => named += 1,
                        MemberName::Address(_) => anonymous += 1,
                    }
                }
                refused += compiled.ir.refused.iter().filter(|service| service.member.is_some()).count();
            }
        }
    }
    assert!(named > 10 && anonymous > 50 && refused > 50, "{named} {anonymous} {refused}");
}

fn with_config(objects: &[MeshObject], permissive: bool) -> Arc<MeshSnapshot> {
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    config.permissive = permissive;
    let others = objects.iter().filter(|object| !matches!(object, MeshObject::MeshConfig(_))).cloned();
    from_scratch(others.chain([MeshObject::from(config)]))
}

/// Whether a principal may make some request, or connect.
fn lets_in(access: &InboundAccess, client: &Principal) -> bool {
    match access {
        InboundAccess::Http(Access::These(rules)) => {
            rules.iter().any(|rule| rule.principals.contains(client))
        }
        InboundAccess::Tcp(Access::These(rules)) => rules.iter().any(|rule| rule.principals.contains(client)),
        InboundAccess::Http(Access::Everyone(_)) | InboundAccess::Tcp(Access::Everyone(_)) => true,
        InboundAccess::Http(Access::Nobody(_)) | InboundAccess::Tcp(Access::Nobody(_)) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i2_a_snapshot_does_not_depend_on_the_order_of_facts(history in history(40), seed in any::<u64>()) {
        let (_, objects) = play(&history);
        let mut shuffled = objects.clone();
        // A fixed but arbitrary order.
        shuffled.sort_by_key(|object| {
            let text = format!("{seed}{}", object.object_ref());
            text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        });
        prop_assert_eq!(from_scratch(objects), from_scratch(shuffled));
    }

    #[test]
    fn i15_a_snapshot_built_step_by_step_equals_one_from_scratch(history in history(60), every in 1..6usize) {
        let (events, objects) = play(&history);
        prop_assert_eq!(step_by_step(events, every), from_scratch(objects));
    }

    #[test]
    fn i3_policy_is_total_and_repeatable(history in history(40)) {
        let (_, objects) = play(&history);
        let snapshot = from_scratch(objects);
        for proxy in proxies() {
            prop_assert_eq!(policy::compile(&snapshot, &proxy), policy::compile(&snapshot, &proxy));
        }
    }

    #[test]
    fn permissive_mode_lets_through_all_that_policy_lets_through(history in history(40)) {
        let (_, objects) = play(&history);
        let (strict, permissive) = (with_config(&objects, false), with_config(&objects, true));
        for proxy in proxies() {
            let (Ok(strict), Ok(permissive)) =
                (policy::compile(&strict, &proxy), policy::compile(&permissive, &proxy)) else { continue };
            for service in &strict.ir.outbound {
                prop_assert!(permissive.ir.outbound.iter().any(|other| other.name == service.name));
            }
            for member in &strict.ir.members {
                let key = |one: &OutboundMember| (one.name.clone(), one.member.clone(), one.place);
                prop_assert!(permissive.ir.members.iter().any(|other| key(other) == key(member)));
            }
            for upstream in &strict.ir.upstreams {
                let other = permissive.ir.upstreams.iter().find(|other| other.name == upstream.name);
                let other = other.expect("an upstream under policy is one in permissive mode");
                prop_assert!(upstream.server_identities.is_subset(&other.server_identities));
            }
            for inbound in &permissive.ir.inbound {
                let everyone = match &inbound.access {
                    InboundAccess::Http(access) => matches!(access, Access::Everyone(_)),
                    InboundAccess::Tcp(access) => matches!(access, Access::Everyone(_)),
                };
                prop_assert!(everyone);
            }
        }
    }

    #[test]
    fn i10_without_a_target_nobody_reaches_anything(history in history(40)) {
        let (_, objects) = play(&history);
        let without = objects
            .into_iter()
            .filter(|object| !matches!(object, MeshObject::TrafficTarget(_) | MeshObject::MeshConfig(_)));
        let snapshot = from_scratch(without);
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(&snapshot, &proxy) else { continue };
            prop_assert!(compiled.ir.outbound.is_empty() && compiled.ir.upstreams.is_empty());
            prop_assert!(compiled.ir.members.is_empty());
            for inbound in &compiled.ir.inbound {
                let nobody = match &inbound.access {
                    InboundAccess::Http(access) => matches!(access, Access::Nobody(_)),
                    InboundAccess::Tcp(access) => matches!(access, Access::Nobody(_)),
                };
                prop_assert!(nobody, "{:?}", inbound);
            }
        }
    }

    #[test]
    fn a_client_is_given_exactly_the_endpoints_whose_server_lets_it_in(history in history(40)) {
        let (_, objects) = play(&history);
        let snapshot = with_config(&objects, false);
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(&snapshot, &proxy) else { continue };
            for service in snapshot.services() {
                for (number, port) in &service.ports {
                    let name = ServicePortName::new(service.name.clone(), *number);
                    let given = compiled.ir.endpoints.iter().find(|places| places.name == name);
                    for (place, endpoint) in &port.endpoints {
                        let inbound = policy::inbound_service(&snapshot, &endpoint.identity, &[].into(), &name, place.1);
                        let lets_in = inbound.is_some_and(|one| lets_in(&one.access, &compiled.ir.principal));
                        let is_given = given.is_some_and(|places| places.addresses.contains(place));
                        // A pod is one endpoint, however many addresses it has.
                        prop_assert_eq!(is_given, lets_in && !endpoint.is_second, "{} to {} at {:?}", proxy, name, place);
                    }
                }
            }
        }
    }

    #[test]
    fn a_client_is_given_no_upstream_whose_server_would_refuse_it(history in history(40)) {
        let (_, objects) = play(&history);
        let snapshot = with_config(&objects, false);
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(&snapshot, &proxy) else { continue };
            for upstream in &compiled.ir.upstreams {
                for server in &upstream.server_identities {
                    let lets_in = snapshot
                        .targets_to(&server.identity)
                        .iter()
                        .any(|target| target.sources.contains(&proxy.identity));
                    prop_assert!(lets_in, "{} to {}", proxy, server);
                }
            }
        }
    }
}
