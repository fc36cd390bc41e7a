//! What every Envoy has, whoever it is: the listener of outgoing connections, as pods of IPv4
//! have it, and trust.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::interception::IpFamilies;
use osm_core::policy;
use osm_core::snapshot::MeshSnapshot;

use super::work::Work;
use crate::generate;
use crate::view::{Layer, LayerId};

/// The lowest layer of every Envoy's view.
pub(super) struct Common(Arc<Layer>);

impl Default for Common {
    fn default() -> Self {
        Self(Arc::new(Layer::new(LayerId::unique(), [])))
    }
}

impl Common {
    /// The layer that shows it.
    pub(super) fn layer(&self) -> Arc<Layer> {
        Arc::clone(&self.0)
    }

    /// Writes it anew, and says whether it changed.
    pub(super) fn refresh(&mut self, snapshot: &MeshSnapshot, trust: Option<&str>, work: &mut Work) -> bool {
        let mut now = generate::outbound_listener(&policy::egress(snapshot), IpFamilies::V4);
        now.extend(trust.map(generate::trust_secret));
        work.generated += now.len() as u64;
        let kept: BTreeSet<_> = now.iter().map(|resource| resource.key.clone()).collect();
        let gone = self.0.iter().map(|resource| resource.key.clone());
        let mut changes: BTreeMap<_, _> =
            gone.filter(|key| !kept.contains(key)).map(|key| (key, None)).collect();
        changes.extend(now.into_iter().map(|resource| (resource.key.clone(), Some(Arc::new(resource)))));
        let layer = self.0.with_changes(changes);
        let changed = layer.generation() != self.0.generation();
        self.0 = Arc::new(layer);
        changed
    }
}
