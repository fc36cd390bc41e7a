//! Random streams: a modelled Envoy on a session, whatever comes in whatever
//! order, has in the end what the last view says, and nothing was broken on the
//! way. Views are synthetic here, and so stranger than any that a mesh makes;
//! `testing::simulation` has those.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::resource::ResourceKind;
use crate::session::{Dialect, SessionOptions};
use crate::testing::{references, resources};
use world::{SECRETS, Step, World, step};

fn quiet_time() -> Duration {
    SessionOptions::default().acknowledgement_timeout
}

/// The proxy has in the end exactly what the view says, and no cluster was used
/// before it was active or went while it was in use.
fn ends_with_the_view(dialect: Dialect, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(dialect);
    for step in steps {
        world.step(step);
    }
    // All that is waited for comes in the end.
    for secret in 0..SECRETS.len() {
        world.secrets.entry(secret).or_insert(0);
    }
    world.publish();
    world.settle();
    for kind in ResourceKind::ALL {
        prop_assert_eq!(world.envoy.has(kind), &world.expected(kind), "{}s", kind);
    }
    prop_assert!(world.envoy.is_warm());
    let status = world.session.status();
    prop_assert_eq!(status.synced_version, Some(world.version), "{:?}", status);
    let reconnected = steps.iter().any(|step| matches!(step, Step::Reconnect));
    // Nobody knows then what the proxy uses, or whether what it says to have is warm.
    let excused = (reconnected && dialect == Dialect::Sotw) || world.broke_while_warming;
    if !excused {
        prop_assert_eq!(world.envoy.violations(), &[]);
    }
    // State of the world cannot say that endpoints are gone that Envoy waits for.
    let may_wait = reconnected || dialect == Dialect::Sotw;
    prop_assert!(may_wait || !world.waited, "nothing waits for time to pass");
    prop_assert!(may_wait || status.gate_timeouts == 0);
    Ok(())
}

/// Bad resources are found and do not keep good ones away; when they have been
/// mended the proxy has everything.
fn bad_ones_hurt_nobody_else(dialect: Dialect, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(dialect);
    // State of the world cannot say that endpoints are gone.
    world.may_give_up = dialect == Dialect::Sotw;
    for secret in 0..SECRETS.len() {
        world.secrets.insert(secret, 0);
    }
    for step in steps {
        if let Step::Reconnect = step {
            // Envoy forgets that it applied the good parts of what it refused.
            world.settle();
        }
        world.step(step);
    }
    world.publish();
    world.settle();
    let refused: BTreeSet<_> = world.session.status().refused.into_iter().map(|(r, _)| r.key).collect();
    let view = world.view();
    for kind in ResourceKind::ALL {
        let has = world.envoy.has(kind);
        for (name, body) in world.expected(kind) {
            let key = resources::key(kind, &name);
            prop_assert!(has.get(&name).is_none_or(|body| !World::is_bad(body)), "{} was accepted", key);
            if World::is_bad(&body) {
                let needs = references(kind, &body).expect("a message").clusters;
                // It may have the cluster from a response that it refused for another.
                let waits =
                    needs.iter().any(|name| refused.contains(&resources::key(ResourceKind::Cluster, name)));
                prop_assert!(waits || refused.contains(&key), "{} is refused", key);
                continue;
            }
            prop_assert!(!refused.contains(&key), "{} is good", key);
            let target = view.get(&key).expect("it is expected");
            let waits = target.needs.iter().any(|need| refused.contains(need));
            prop_assert!(waits || has.get(&name) == Some(&body), "{} has arrived", key);
        }
    }
    // Mended, all arrives.
    for service in world.services.values_mut() {
        service.cluster.bad = false;
        service.endpoints.bad = false;
        service.listener.bad = false;
        if let Some((note, _)) = &mut service.routes {
            note.bad = false;
        }
    }
    world.publish();
    world.settle();
    let reconnected = steps.iter().any(|step| matches!(step, Step::Reconnect));
    for kind in ResourceKind::ALL {
        let mut has = world.envoy.has(kind).clone();
        if reconnected && dialect == Dialect::Delta && kind.has_wildcard() {
            // Envoy does not tell a new stream of the good parts of what it refused.
            has.retain(|name, _| world.expected(kind).contains_key(name));
        }
        prop_assert_eq!(has, world.expected(kind), "{}s", kind);
    }
    prop_assert_eq!(world.session.status().refused, vec![]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_incremental_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        ends_with_the_view(Dialect::Delta, &steps)?;
    }

    #[test]
    fn a_state_of_the_world_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        ends_with_the_view(Dialect::Sotw, &steps)?;
    }

    #[test]
    fn i9_bad_resources_hurt_no_incremental_proxy(steps in vec(step(true), 0..60)) {
        bad_ones_hurt_nobody_else(Dialect::Delta, &steps)?;
    }

    #[test]
    fn i9_bad_resources_hurt_no_state_of_the_world_proxy(steps in vec(step(true), 0..60)) {
        bad_ones_hurt_nobody_else(Dialect::Sotw, &steps)?;
    }

    /// Nothing is sent twice, over streams that broke when all was acknowledged
    /// too; but endpoints of changed clusters are.
    #[test]
    fn i7_nothing_is_sent_twice(steps in vec(step(false), 0..60)) {
        let mut world = World::new(Dialect::Delta);
        for step in &steps {
            world.step(step);
            // Who asks again on the way is answered again.
            world.settle();
        }
        world.publish();
        world.settle();
        for kind in ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Endpoints) {
            prop_assert_eq!(world.envoy.repeated(kind), 0, "{}s", kind);
        }
        let before = ResourceKind::ALL.map(|kind| world.envoy.received(kind));
        world.reconnect();
        world.settle();
        prop_assert_eq!(before, ResourceKind::ALL.map(|kind| world.envoy.received(kind)));
    }

    /// A proxy that never answers is told everything all the same.
    #[test]
    fn a_silent_proxy_ends_with_the_view(steps in vec(step(false), 0..60)) {
        let mut world = World::new(Dialect::Delta);
        drop(world.envoy.keep_silent(true));
        for secret in 0..SECRETS.len() {
            world.secrets.insert(secret, 0);
        }
        for step in steps.iter().filter(|step| !matches!(step, Step::Reconnect)) {
            world.step(step);
        }
        world.publish();
        world.settle();
        for _ in 0..10 {
            world.now += quiet_time();
            world.settle();
        }
        for kind in ResourceKind::ALL {
            prop_assert_eq!(world.envoy.has(kind), &world.expected(kind), "{}s", kind);
        }
    }
}
