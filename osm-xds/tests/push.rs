//! The incremental engine: what it shows is what a fresh one would show, and
//! what it costs follows the change.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_core::source::SourceEvent;
use osm_core::testing::{Fleet, history, play, proxies};
use osm_xds::generate;
use osm_xds::push::{Engine, SubscriptionId, Work};
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, Version};
use osm_xds::view::{View, ViewSender, ViewWatch};
use proptest::prelude::*;

fn from_scratch(objects: Vec<MeshObject>) -> (SnapshotBuilder, Arc<MeshSnapshot>) {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    builder.apply(SourceEvent::Reset);
    objects.into_iter().for_each(|object| builder.apply(SourceEvent::apply(object)));
    builder.apply(SourceEvent::Ready);
    let (snapshot, _) = builder.build().expect("the first snapshot");
    (builder, snapshot)
}

fn subscribe_all(engine: &mut Engine) -> Vec<(SubscriptionId, ViewWatch)> {
    let mut watches = Vec::new();
    for (number, proxy) in proxies().into_iter().enumerate() {
        let sender = ViewSender::new(None);
        let id = SubscriptionId::new(number as u64);
        watches.push((id, sender.watch()));
        engine.subscribe(id, proxy, sender);
    }
    watches
}

fn contents(view: &View) -> BTreeMap<ResourceKey, Resource> {
    let all = ResourceKind::ALL.into_iter().flat_map(|kind| view.iter(kind));
    all.map(|resource| (resource.key.clone(), Resource::clone(resource))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i15_incremental_views_equal_views_from_scratch(history in history(30), every in 1..4usize) {
        let (events, _) = play(&history);
        let mut builder = SnapshotBuilder::new(MeshOptions::default());
        builder.apply(SourceEvent::Reset);
        builder.apply(SourceEvent::Ready);
        let (first, _) = builder.build().expect("the first snapshot");
        let mut engine = Engine::new(first);
        engine.on_trust("a root");
        let watches = subscribe_all(&mut engine);
        for (index, event) in events.into_iter().enumerate() {
            builder.apply(event);
            if index % every == 0 && let Some((snapshot, change)) = builder.build() {
                engine.on_snapshot(snapshot, &change);
            }
        }
        if let Some((snapshot, change)) = builder.build() {
            engine.on_snapshot(snapshot, &change);
        }
        for (proxy, (id, watch)) in proxies().into_iter().zip(&watches) {
            let Ok(compiled) = policy::compile(engine.snapshot(), &proxy) else { continue };
            prop_assert_eq!(engine.audit(*id).len(), 0);
            let view = watch.current().expect("a known proxy has a view");
            let mut ours = contents(&view);
            ours.retain(|key, _| key.kind != ResourceKind::Secret);
            let theirs: BTreeMap<_, _> =
                generate::proxy(&compiled.ir).into_iter().map(|r| (r.key.clone(), r)).collect();
            for (key, resource) in &theirs {
                prop_assert_eq!(ours.get(key).map(|r| &r.body), Some(&resource.body), "{}", key);
            }
            prop_assert_eq!(ours.len(), theirs.len(), "{:?}", ours.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn i7_a_version_is_a_hash_of_content(history in history(30)) {
        let (_, objects) = play(&history);
        let (_, snapshot) = from_scratch(objects);
        let mut engine = Engine::new(Arc::clone(&snapshot));
        for (_, watch) in subscribe_all(&mut engine) {
            let Some(view) = watch.current() else { continue };
            for resource in contents(&view).values() {
                prop_assert_eq!(resource.version, Version::of(&resource.body));
            }
        }
    }
}

/// The work that one change takes in a fleet of this shape, and how many
/// proxies it reaches.
fn work_of(fleet: Fleet, change: impl Fn(&Fleet) -> MeshObject) -> (Work, usize) {
    let (mut builder, snapshot) = from_scratch(fleet.objects());
    let mut engine = Engine::new(snapshot);
    engine.on_trust("a root");
    let mut watches = Vec::new();
    for client in 0..fleet.clients {
        let sender = ViewSender::new(None);
        watches.push(sender.watch());
        engine.subscribe(SubscriptionId::new(client as u64), fleet.client_proxy(client), sender);
    }
    let before = engine.work();
    builder.apply(SourceEvent::apply(change(&fleet)));
    let (snapshot, change) = builder.build().expect("a change");
    assert!(!change.is_empty() && !change.settings);
    let proxies = engine.on_snapshot(snapshot, &change);
    (engine.work() - before, proxies)
}

fn fleet(services: usize, clients: usize, permissive: bool) -> Fleet {
    Fleet { services, endpoints: 2, clients, reach: 10, permissive }
}

#[test]
fn one_endpoint_costs_the_same_whatever_the_size_of_the_mesh() {
    for permissive in [true, false] {
        let endpoint = |fleet: &Fleet| fleet.slice(3, 1).into();
        let (small, _) = work_of(fleet(100, 10, permissive), endpoint);
        let (many_services, _) = work_of(fleet(1000, 10, permissive), endpoint);
        let (many_proxies, _) = work_of(fleet(100, 1000, permissive), endpoint);
        assert_eq!(small.generated, many_services.generated, "permissive: {permissive}");
        assert_eq!(small.generated, many_proxies.generated, "permissive: {permissive}");
        // Once as seen from the namespace, once from elsewhere.
        assert!(small.generated <= 2 && many_proxies.compiled <= 4, "{small:?} {many_proxies:?}");
    }
}

#[test]
fn a_split_costs_the_same_whatever_the_size_of_the_mesh() {
    for permissive in [true, false] {
        let split = |_: &Fleet| Fleet::split(3, 7).into();
        let (small, _) = work_of(fleet(100, 10, permissive), split);
        assert_eq!(small.generated, work_of(fleet(1000, 10, permissive), split).0.generated);
        assert_eq!(small.generated, work_of(fleet(100, 1000, permissive), split).0.generated);
    }
}

#[test]
fn a_change_of_a_service_reaches_only_the_proxies_that_see_it() {
    let (work, proxies) = work_of(fleet(100, 1000, false), |fleet| fleet.slice(3, 1).into());
    assert_eq!(proxies, 100, "10 identities with 10 clients each reach service 3");
    assert_eq!(work.views, 100);
}

#[test]
fn a_policy_of_one_service_concerns_nobody_who_is_not_named() {
    let (work, proxies) = work_of(fleet(100, 1000, false), |fleet| {
        let mut target = fleet.target(3);
        target.sources.push("fleet/c50".parse().expect("a valid identity"));
        target.into()
    });
    assert_eq!(proxies, 10, "the ten clients of identity c50 get one service more");
    assert!(work.generated <= 100, "{work:?}");
}

#[test]
fn nothing_is_kept_of_proxies_that_left() {
    let fleet = fleet(20, 50, false);
    let (_, snapshot) = from_scratch(fleet.objects());
    let mut engine = Engine::new(snapshot);
    for round in 0..3u64 {
        for client in 0..fleet.clients {
            let sender = ViewSender::new(None);
            let id = SubscriptionId::new(round * 1000 + client as u64);
            engine.subscribe(id, fleet.client_proxy(client), sender);
        }
        for client in 0..fleet.clients {
            engine.unsubscribe(SubscriptionId::new(round * 1000 + client as u64));
        }
        assert!(engine.is_idle(), "something is left of round {round}");
    }
}
