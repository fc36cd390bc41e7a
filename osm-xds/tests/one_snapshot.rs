//! I5: all that a proxy is given in one push comes from one snapshot of the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use osm_core::identity::ProxyId;
use osm_core::policy;
use osm_core::snapshot::{MeshSnapshot, SnapshotBuilder};
use osm_core::source::SourceEvent;
use osm_core::testing::{history, play, proxies, told};
use osm_xds::generate;
use osm_xds::push::{Engine, SubscriptionId};
use osm_xds::resource::{ResourceKey, ResourceKind};
use osm_xds::view::{View, ViewSender, ViewWatch};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

type Contents = BTreeMap<ResourceKey, Bytes>;

/// What a view shows, without secrets, which do not come from the mesh alone.
fn shown(view: &View) -> Contents {
    let kinds = ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Secret);
    let all = kinds.flat_map(|kind| view.iter(kind));
    all.map(|resource| (resource.key.clone(), resource.body.clone())).collect()
}

/// What a proxy is to have in a snapshot.
fn meant(snapshot: &MeshSnapshot, proxy: &ProxyId) -> Option<Contents> {
    let compiled = policy::compile(snapshot, proxy).ok()?;
    let resources = generate::proxy(&compiled.ir).into_iter();
    Some(resources.map(|resource| (resource.key, resource.body)).collect())
}

/// Checks that a view is that of this snapshot, and of no mixture.
fn check_i5(view: &View, snapshot: &MeshSnapshot, proxy: &ProxyId) -> Result<(), String> {
    let (Some(meant), shown) = (meant(snapshot, proxy), shown(view)) else {
        // A proxy whose workload went away keeps what it has.
        return Ok(());
    };
    let differing = meant.keys().chain(shown.keys()).find(|key| meant.get(*key) != shown.get(*key));
    differing
        .map_or(Ok(()), |key| Err(format!("{proxy}: {key} is not that of snapshot {}", snapshot.version())))
}

struct Mesh {
    builder: SnapshotBuilder,
    engine: Engine,
    watches: Vec<(ProxyId, ViewWatch)>,
}

impl Mesh {
    fn new() -> Self {
        let mut builder = told([]);
        let (first, _) = builder.build().expect("the first snapshot");
        let mut engine = Engine::new(first);
        let subscribe = |(number, proxy): (usize, ProxyId)| {
            let sender = ViewSender::new(None);
            let watch = sender.watch();
            engine.subscribe(SubscriptionId::new(number as u64), proxy.clone(), sender);
            (proxy, watch)
        };
        let watches = proxies().into_iter().enumerate().map(subscribe).collect();
        Self { builder, engine, watches }
    }

    /// Takes in an event, and gives the snapshot if there is a new one.
    fn take(&mut self, event: SourceEvent) -> Option<Arc<MeshSnapshot>> {
        self.builder.apply(event);
        let (snapshot, change) = self.builder.build()?;
        self.engine.on_snapshot(Arc::clone(&snapshot), &change);
        // Those who were sent away come again.
        for (number, (proxy, watch)) in self.watches.iter_mut().enumerate() {
            if watch.has_ended() {
                let sender = ViewSender::new(None);
                *watch = sender.watch();
                self.engine.subscribe(SubscriptionId::new(number as u64), proxy.clone(), sender);
            }
        }
        Some(snapshot)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i5_every_view_is_that_of_one_snapshot(history in history(20)) {
        let mut mesh = Mesh::new();
        for event in play(&history).0 {
            let Some(snapshot) = mesh.take(event) else { continue };
            for (proxy, watch) in &mesh.watches {
                let Some(view) = watch.current() else { continue };
                prop_assert_eq!(check_i5(&view, &snapshot, proxy), Ok(()));
            }
        }
    }
}

/// Layers of two snapshots in one view: what an engine without I5 would show.
#[test]
fn i5_a_planted_mixture_of_two_snapshots_is_found() {
    let mut runner = TestRunner::deterministic();
    let mut found = 0;
    for _ in 0..50 {
        let history = history(60).new_tree(&mut runner).expect("a mesh").current();
        let mut mesh = Mesh::new();
        let mut before: Vec<Option<Arc<View>>> = vec![None; mesh.watches.len()];
        for event in play(&history).0 {
            let Some(snapshot) = mesh.take(event) else { continue };
            for ((proxy, watch), old) in mesh.watches.iter().zip(&mut before) {
                let now = watch.current();
                if let (Some(old), Some(now)) = (old.as_ref(), now.as_ref()) {
                    let mixed = old.layers().iter().take(1).chain(now.layers().iter().skip(1)).cloned();
                    found += usize::from(check_i5(&View::new(0, mixed), &snapshot, proxy).is_err());
                }
                *old = now;
            }
        }
    }
    assert!(found > 0, "no mixture was found");
}
