//! What the engine shows is what a fresh one would show.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;
use osm_core::source::SourceEvent;
use osm_core::testing::{history, play, proxies};
use osm_xds::generate;
use osm_xds::push::{Engine, SubscriptionId};
use osm_xds::resource::{ResourceKey, ResourceKind, Version};
use osm_xds::view::{View, ViewSender};
use proptest::prelude::*;

use crate::cost::fleet;
use crate::{contents, empty, from_scratch, subscribe_all, subscribe_anew};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i15_incremental_views_equal_views_from_scratch(history in history(30), every in 1..4usize) {
        let (events, _) = play(&history);
        let (mut builder, first) = empty();
        let mut engine = Engine::new(first);
        engine.on_trust("a root");
        let mut watches = subscribe_all(&mut engine);
        for (index, event) in events.into_iter().enumerate() {
            builder.apply(event);
            if index % every == 0 && let Some((snapshot, change)) = builder.build() {
                engine.on_snapshot(snapshot, &change);
                subscribe_anew(&mut engine, &mut watches);
            }
        }
        if let Some((snapshot, change)) = builder.build() {
            engine.on_snapshot(snapshot, &change);
            subscribe_anew(&mut engine, &mut watches);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// After each piece of news, every view is wholly that of one snapshot: none
    /// has a part of an earlier one, though layers are shared and made one by one.
    #[test]
    fn i5_every_view_is_of_one_snapshot(history in history(20)) {
        let (events, _) = play(&history);
        let (mut builder, first) = empty();
        let mut engine = Engine::new(first);
        let mut watches = subscribe_all(&mut engine);
        for event in events {
            builder.apply(event);
            let Some((snapshot, change)) = builder.build() else { continue };
            engine.on_snapshot(Arc::clone(&snapshot), &change);
            subscribe_anew(&mut engine, &mut watches);
            for (proxy, (_, watch)) in proxies().into_iter().zip(&watches) {
                // A proxy whose workload is gone keeps its last view.
                let Some(expected) = wholly_of(&snapshot, &proxy) else { continue };
                let view = watch.current().expect("a known proxy has a view");
                prop_assert_eq!(shown(&view), expected, "{} at {}", proxy, snapshot.version());
            }
        }
    }
}

/// What a proxy is to have as of a snapshot, but for secrets; `None` when its
/// workload is not known.
fn wholly_of(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Option<BTreeMap<ResourceKey, Version>> {
    let compiled = policy::compile(snapshot, proxy).ok()?;
    Some(generate::proxy(&compiled.ir).into_iter().map(|resource| (resource.key, resource.version)).collect())
}

/// What a view shows, but for secrets.
fn shown(view: &View) -> BTreeMap<ResourceKey, Version> {
    let all = contents(view).into_iter().filter(|(key, _)| key.kind != ResourceKind::Secret);
    all.map(|(key, resource)| (key, resource.version)).collect()
}

#[test]
fn i5_a_planted_view_of_two_snapshots_is_seen() {
    let fleet = fleet(20, 5, true);
    let (mut builder, first) = from_scratch(fleet.objects());
    let mut engine = Engine::new(first);
    let (proxy, sender) = (fleet.client_proxy(0), ViewSender::new(None));
    let watch = sender.watch();
    engine.subscribe(SubscriptionId::new(1), proxy.clone(), sender);
    let before = watch.current().expect("a view");
    builder.apply(SourceEvent::apply(fleet.slice(3, 1)));
    builder.apply(SourceEvent::apply(fleet.slice(4, 1)));
    let (snapshot, change) = builder.build().expect("a change");
    engine.on_snapshot(Arc::clone(&snapshot), &change);
    let after = watch.current().expect("a view");
    let expected = wholly_of(&snapshot, &proxy).expect("a known proxy");
    assert_eq!(shown(&after), expected);
    // One of the two services is still as it was.
    let late = after.changed_since(&before).pop_first().expect("two services changed");
    let old = before.get(&late).cloned();
    let layers = after.layers().iter().map(|layer| match layer.get(&late) {
        Some(_) => Arc::new(layer.with_changes([(late.clone(), old.clone())])),
        None => Arc::clone(layer),
    });
    let planted = View::new(after.version(), layers.collect::<Vec<_>>());
    assert_ne!(shown(&planted), expected);
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
