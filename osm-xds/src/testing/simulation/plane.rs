//! The control plane of a simulation: catalog, engine, certificates and streams.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use osm_core::catalog::{Catalog, CatalogDriver, MeshCatalog, SnapshotWatch};
use osm_core::identity::ServiceIdentity;
use osm_core::snapshot::{ChangeSet, MeshOptions, MeshSnapshot};

use super::StreamId;
use super::parts::{Parts, StreamSession, ViewEngine, ViewFeed};
use super::wake::{Task, Woken};
use crate::push::SubscriptionId;
use crate::view::View;

/// One process that is the control plane, until it starts anew.
pub(super) struct Plane {
    /// Which one it is, from 0.
    pub(super) generation: u64,
    pub(super) catalog: CatalogDriver,
    snapshots: Snapshots,
    pub(super) engine: Box<dyn ViewEngine>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    /// Whether its source has told everything.
    pub(super) ready: bool,
}

/// The control plane's end of a stream.
pub(super) struct Stream {
    /// The place of the proxy among the proxies.
    pub(super) proxy: usize,
    pub(super) session: Box<dyn StreamSession>,
    pub(super) feed: Box<dyn ViewFeed>,
    pub(super) view: Option<Arc<View>>,
    /// How many responses were sent and not read yet.
    pub(super) unread: usize,
    /// How many may be.
    pub(super) window: usize,
    /// When the session is looked at again although nothing comes in.
    pub(super) timer: Option<Duration>,
}

type Waiting = Pin<Box<dyn Future<Output = (Option<(Arc<MeshSnapshot>, ChangeSet)>, SnapshotWatch)>>>;

/// The wait for the next snapshot.
struct Snapshots(Waiting);

impl Snapshots {
    fn new(mut watch: SnapshotWatch) -> Self {
        Self(Box::pin(async move { (watch.changed().await, watch) }))
    }
}

impl Plane {
    pub(super) fn new(generation: u64, options: MeshOptions, parts: &mut dyn Parts, woken: &Woken) -> Self {
        let (reader, catalog) = Catalog::new(options);
        woken.add(Task::Snapshots(generation));
        Self {
            generation,
            catalog,
            snapshots: Snapshots::new(reader.watch()),
            engine: parts.engine(reader.snapshot()),
            streams: BTreeMap::new(),
            ready: false,
        }
    }

    /// Takes in the snapshots that are there.
    pub(super) fn take_in_snapshots(&mut self, woken: &Woken) {
        let waker = woken.waker(Task::Snapshots(self.generation));
        let mut context = Context::from_waker(&waker);
        while let std::task::Poll::Ready((news, watch)) = self.snapshots.0.as_mut().poll(&mut context) {
            self.snapshots = Snapshots::new(watch);
            let Some((snapshot, change)) = news else { return };
            self.engine.on_snapshot(snapshot, &change);
        }
    }

    /// Ends a stream.
    pub(super) fn close(&mut self, id: StreamId) {
        if self.streams.remove(&id).is_some() {
            self.engine.unsubscribe(SubscriptionId::new(id.0));
        }
    }
}

/// What signs certificates, and outlives control planes.
#[derive(Debug, Default)]
pub(super) struct Authority {
    /// The number of the roots; 0 before there are any.
    pub(super) trust: u32,
    /// The number of each identity's newest certificate.
    pub(super) certificates: BTreeMap<ServiceIdentity, u32>,
    /// The identities whose first certificate is being signed.
    pub(super) signing: BTreeSet<ServiceIdentity>,
}

impl Authority {
    pub(super) fn tell_trust(&self, engine: &mut dyn ViewEngine) {
        if self.trust > 0 {
            engine.on_trust(&format!("roots {}", self.trust));
        }
    }

    /// Shows the certificate of an identity; says whether there is one.
    pub(super) fn tell(&self, engine: &mut dyn ViewEngine, identity: &ServiceIdentity) -> bool {
        let Some(number) = self.certificates.get(identity) else { return false };
        engine.on_certificate(identity, &format!("chain {number} of {identity}"), &format!("key {number}"));
        true
    }
}
