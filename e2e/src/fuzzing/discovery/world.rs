//! A session of either dialect, and a small mesh whose view it delivers.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::identity::ProxyId;
use osm_xds::resource::Resource;
use osm_xds::session::{Dialect, SessionOptions};
use osm_xds::testing::resources;
use osm_xds::testing::simulation::{Parts, RealParts, StreamSession};
use osm_xds::view::{Layer, LayerId, View};

use crate::fuzzing::script::Script;

/// The node of the proxy.
pub(super) const NODE: &str = "till-1";
/// How many services there are at most.
pub(super) const SERVICES: usize = 4;
/// Versions that a proxy may say it has.
pub(super) const VERSIONS: [&str; 4] = ["", "0000000000000000", "ffffffffffffffff", "x"];

/// A session of one of the dialects.
pub(super) fn session(dialect: Dialect, options: SessionOptions) -> Box<dyn StreamSession> {
    let proxy = ProxyId::new(NODE.parse().expect("a name"), "shop/till".parse().expect("an identity"));
    RealParts.session(&proxy, dialect, &Arc::new(options))
}

/// What is to be delivered.
pub(super) struct World {
    /// What the resources of each service have as a note, and how they are used.
    services: BTreeMap<usize, u8>,
    secrets: BTreeMap<&'static str, u8>,
    layer: Layer,
    version: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            secrets: BTreeMap::new(),
            layer: Layer::new(LayerId::unique(), []),
            version: 0,
        }
    }
}

impl World {
    /// The view after a change of one service or secret.
    pub(super) fn change(&mut self, script: &mut Script<'_>) -> Arc<View> {
        let (what, note) = (script.below(SERVICES + 2), script.byte());
        match what {
            service if service < SERVICES && note.is_multiple_of(4) => drop(self.services.remove(&service)),
            service if service < SERVICES => drop(self.services.insert(service, note)),
            SERVICES => drop(self.secrets.insert("certificate", note)),
            _ => drop(self.secrets.insert("trust", note)),
        }
        let now: BTreeMap<_, _> =
            self.resources().into_iter().map(|resource| (resource.key.clone(), resource)).collect();
        let before = self.layer.iter().map(|resource| resource.key.clone());
        let gone: Vec<_> = before.filter(|key| !now.contains_key(key)).map(|key| (key, None)).collect();
        let changes = gone.into_iter().chain(now.into_iter().map(|(key, resource)| (key, Some(resource))));
        self.layer = self.layer.with_changes(changes);
        self.version += 1;
        Arc::new(View::new(self.version, [Arc::new(self.layer.clone())]))
    }

    fn resources(&self) -> Vec<Arc<Resource>> {
        let mut all: Vec<_> =
            self.secrets.iter().map(|(name, note)| resources::secret(name, &note.to_string())).collect();
        for (number, note) in &self.services {
            let (cluster, listener) = (format!("c{number}"), format!("l{number}"));
            let secrets: &[&str] = if note & 16 == 0 { &[] } else { &["certificate", "trust"] };
            let note_text = note.to_string();
            all.push(resources::cluster(&cluster, &note_text, secrets));
            all.push(resources::endpoints(&cluster, &note_text));
            if note & 32 == 0 {
                all.push(resources::tcp_listener(&listener, &note_text, &cluster));
            } else {
                let routes = format!("r{number}");
                all.push(resources::http_listener(&listener, &note_text, &routes));
                all.push(resources::routes(&routes, &note_text, &[&cluster]));
            }
        }
        all
    }
}
