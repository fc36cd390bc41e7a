//! From snapshots to views: what the engine shows is what a fresh one would
//! show, what it costs follows the change, and what comes of it at the proxies.

mod cost;
mod incremental;
mod member_cost;
mod publisher;
mod streams;
mod tenant;

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::snapshot::{MeshSnapshot, SnapshotBuilder};
use osm_core::testing::{proxies, told};
use osm_xds::push::{Engine, SubscriptionId};
use osm_xds::resource::{Resource, ResourceKey, ResourceKind};
use osm_xds::view::{View, ViewSender, ViewWatch};

/// A builder that was told these objects, and the snapshot of them.
pub(crate) fn from_scratch(objects: Vec<MeshObject>) -> (SnapshotBuilder, Arc<MeshSnapshot>) {
    let mut builder = told(objects);
    let (snapshot, _) = builder.build().expect("the first snapshot");
    (builder, snapshot)
}

/// Subscribes every proxy of the random universe.
pub(crate) fn subscribe_all(engine: &mut Engine) -> Vec<(SubscriptionId, ViewWatch)> {
    let mut watches = Vec::new();
    for (number, proxy) in proxies().into_iter().enumerate() {
        let sender = ViewSender::new(None);
        let id = SubscriptionId::new(number as u64);
        watches.push((id, sender.watch()));
        engine.subscribe(id, proxy, sender);
    }
    watches
}

/// Subscribes those anew whose subscription was ended, as if they had connected again.
pub(crate) fn subscribe_anew(engine: &mut Engine, watches: &mut [(SubscriptionId, ViewWatch)]) {
    for (proxy, (id, watch)) in proxies().into_iter().zip(watches) {
        if watch.has_ended() {
            let sender = ViewSender::new(None);
            *watch = sender.watch();
            engine.subscribe(*id, proxy, sender);
        }
    }
}

/// What a view shows.
pub(crate) fn contents(view: &View) -> BTreeMap<ResourceKey, Resource> {
    let all = ResourceKind::ALL.into_iter().flat_map(|kind| view.iter(kind));
    all.map(|resource| (resource.key.clone(), Resource::clone(resource))).collect()
}

/// A builder of an empty mesh, and its snapshot.
pub(crate) fn empty() -> (SnapshotBuilder, Arc<MeshSnapshot>) {
    from_scratch(Vec::new())
}
