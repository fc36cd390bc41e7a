//! Refusals of services that a client may not reach, the same for all clients:
//! who may reach one has its listener in a layer above.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::ir::RefusedService;
use osm_core::name::ServiceName;
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;

use super::part::reuse;
use super::work::Work;
use crate::generate;
use crate::resource::{Resource, ResourceKey};
use crate::view::{Layer, LayerId};

/// All refusals, as one layer.
pub(super) struct Refusals {
    services: BTreeMap<ServiceName, Vec<(RefusedService, Arc<Resource>)>>,
    layer: Arc<Layer>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { services: BTreeMap::new(), layer: Arc::new(Layer::new(LayerId::unique(), [])) }
    }
}

impl Refusals {
    /// The layer that shows them.
    pub(super) fn layer(&self) -> Arc<Layer> {
        Arc::clone(&self.layer)
    }

    /// Writes the refusals of changed services anew, or of all (`None`); says
    /// whether any changed.
    pub(super) fn refresh(
        &mut self,
        snapshot: &MeshSnapshot,
        services: Option<&BTreeSet<ServiceName>>,
        work: &mut Work,
    ) -> bool {
        let wanted = policy::refuses_unreachable(snapshot);
        if !wanted && self.services.is_empty() {
            return false;
        }
        let mut names: BTreeSet<ServiceName> = match services {
            Some(services) => services.clone(),
            None => snapshot.services().map(|service| service.name.clone()).collect(),
        };
        if services.is_none() {
            names.extend(self.services.keys().cloned());
        }
        let mut changes: BTreeMap<ResourceKey, Option<Arc<Resource>>> = BTreeMap::new();
        for name in names {
            let before = self.services.remove(&name);
            for (_, resource) in before.iter().flatten() {
                changes.insert(resource.key.clone(), None);
            }
            let Some(service) = snapshot.service(&name).filter(|_| wanted) else { continue };
            let refused = policy::refused(snapshot, service);
            let after = reuse(refused, before.as_deref(), work, |refused, work| {
                work.generated += 1;
                Arc::new(generate::refused(refused))
            });
            changes.extend(after.iter().map(|(_, made)| (made.key.clone(), Some(Arc::clone(made)))));
            self.services.insert(name, after);
        }
        let layer = self.layer.with_changes(changes);
        let changed = layer.generation() != self.layer.generation();
        self.layer = Arc::new(layer);
        changed
    }
}
