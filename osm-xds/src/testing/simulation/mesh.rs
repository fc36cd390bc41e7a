//! The mesh of a simulation, and how it changes.

use std::collections::BTreeMap;

use osm_core::identity::ProxyId;
use osm_core::model::MeshObject;
use osm_core::name::ObjectRef;
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;
use osm_core::testing::{play, seeded_history};

/// How many steps a random mesh takes at most after its start.
const LENGTH: usize = 24;

/// A mesh, and what is to happen to it. Every workload that ever has a proxy is
/// played with one.
///
/// ```
/// use osm_core::model::Namespace;
/// use osm_core::source::SourceEvent;
/// use osm_xds::testing::simulation::Mesh;
///
/// let shop = Namespace::monitored("shop".parse()?, "osm");
/// let bank = Namespace::monitored("bank".parse()?, "osm");
/// let mesh = Mesh::new([shop.into()]).then([SourceEvent::apply(bank)]);
/// assert_eq!(mesh.changes(), 1);
/// # Ok::<(), osm_core::name::InvalidName>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    pub(super) objects: Objects,
    pub(super) changes: Vec<Vec<SourceEvent>>,
    pub(super) options: MeshOptions,
}

impl Mesh {
    /// A mesh of these objects that does not change yet.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = MeshObject>) -> Self {
        let mut mesh = Self::default();
        mesh.objects.take(&objects.into_iter().map(SourceEvent::apply).collect::<Vec<_>>());
        mesh
    }

    /// A small random mesh with random changes: services, pods, policies and
    /// splits of few names, so that they meet.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let (events, _) = play(&seeded_history(seed, LENGTH));
        let start = events.len() / 2;
        let mut mesh = Self::default();
        mesh.objects.take(&events[..start]);
        mesh.changes = events[start..].iter().map(|event| vec![event.clone()]).collect();
        mesh
    }

    /// The same mesh, to which this happens next: objects are applied and
    /// deleted, all at once. Other events have no meaning here.
    #[must_use]
    pub fn then(mut self, events: impl IntoIterator<Item = SourceEvent>) -> Self {
        self.changes.push(events.into_iter().collect());
        self
    }

    /// The same mesh under other settings.
    #[must_use]
    pub fn options(mut self, options: MeshOptions) -> Self {
        self.options = options;
        self
    }

    /// How many changes are to happen.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// The proxies of all workloads that there ever are, each once.
    pub(super) fn proxies(&self) -> Vec<ProxyId> {
        let later = self.changes.iter().flatten().filter_map(|event| match event {
            SourceEvent::Apply(object) => Some(&**object),
            _ => None,
        });
        let mut proxies = Vec::new();
        for object in self.objects.0.values().chain(later) {
            let MeshObject::Workload(workload) = object else { continue };
            let Some(uuid) = &workload.proxy else { continue };
            let proxy = ProxyId::new(uuid.clone(), workload.identity());
            if !proxies.contains(&proxy) {
                proxies.push(proxy);
            }
        }
        proxies
    }
}

/// The objects that exist.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects(BTreeMap<ObjectRef, MeshObject>);

impl Objects {
    pub(super) fn take(&mut self, events: &[SourceEvent]) {
        for event in events {
            match event {
                SourceEvent::Apply(object) => {
                    self.0.insert(object.object_ref(), MeshObject::clone(object));
                }
                SourceEvent::Delete(name) => drop(self.0.remove(name)),
                _ => {}
            }
        }
    }

    /// All that a source tells when it begins.
    pub(super) fn told_anew(&self) -> Vec<SourceEvent> {
        SourceEvent::round(self.0.values().cloned()).collect()
    }
}
