//! What one proxy is to have: an immutable stack of layers of resources.
//!
//! A [`View`] is a value. Layers are shared between the views of many proxies
//! and with their own earlier generations, so that a view costs a few pointers,
//! and comparing two views costs what changed between them. Whoever makes views
//! implements [`ViewSource`]; the server subscribes for each stream.
//!
//! It is not the place to decide what a proxy sees, nor when it is sent.

mod layer;
mod watch;

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use osm_core::identity::TrustDomains;

pub use layer::{Layer, LayerId};
pub(crate) use watch::Follow;
pub use watch::{Refusal, RefusalKind, ViewEnded, ViewSender, ViewSource, ViewWatch};

use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use layer::{LayerIter, same_resource};

/// All resources that one proxy is to have, as of one snapshot of the mesh.
///
/// ```
/// use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
/// use osm_xds::view::{Layer, LayerId, View};
/// use std::sync::Arc;
///
/// let key = ResourceKey::new(ResourceKind::Cluster, ResourceName::new("shop/till|80"));
/// let till = Arc::new(Resource::new(key.clone(), "…".into(), vec![], vec![]));
/// let layer = Layer::new(LayerId::unique(), [till]);
/// let before = View::new(1, [Arc::new(layer.clone())]);
/// let after = View::new(2, [Arc::new(layer.with_changes([(key.clone(), None)]))]);
/// assert_eq!(after.changed_since(&before).into_iter().collect::<Vec<_>>(), [key]);
/// ```
#[derive(Debug, Clone)]
pub struct View {
    layers: Box<[Arc<Layer>]>,
    version: u64,
    domains: Option<Arc<TrustDomains>>,
}

impl View {
    /// A view of these layers, topmost first: a key in an upper layer hides the
    /// same key in the layers below. `version` is that of the mesh snapshot.
    #[must_use]
    pub fn new(version: u64, layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        Self { layers: layers.into_iter().collect(), version, domains: None }
    }

    /// The same, made of a snapshot with these trust domains: a proxy that has it knows identities in all of them.
    #[must_use]
    pub fn in_domains(self, domains: Arc<TrustDomains>) -> Self {
        Self { domains: Some(domains), ..self }
    }

    /// The trust domains in which a proxy that has this knows identities, where they are said.
    #[must_use]
    pub fn domains(&self) -> Option<&Arc<TrustDomains>> {
        self.domains.as_ref()
    }

    /// The version of the mesh snapshot that this view was made from.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The layers, topmost first.
    #[must_use]
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The resource under this key, from the topmost layer that has it.
    #[must_use]
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.find(key.kind, key.name.as_str())
    }

    /// The resource of this kind and name, from the topmost layer that has it.
    #[must_use]
    pub fn find(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Resource>> {
        self.layers.iter().find_map(|layer| layer.find(kind, name))
    }

    /// The resources of a kind in order of their names, hidden ones left out.
    pub fn iter(&self, kind: ResourceKind) -> impl Iterator<Item = &Arc<Resource>> {
        self.iter_after(kind, None)
    }

    /// As [`View::iter`], starting behind a name.
    pub fn iter_after(
        &self,
        kind: ResourceKind,
        after: Option<&ResourceName>,
    ) -> impl Iterator<Item = &Arc<Resource>> {
        self.walk(kind, after)
    }

    fn walk(&self, kind: ResourceKind, after: Option<&ResourceName>) -> ViewIter<'_> {
        let mut layers: Vec<_> =
            self.layers.iter().map(|layer| layer.iter_after(kind, after).peekable()).collect();
        layers.retain_mut(|layer| layer.peek().is_some());
        ViewIter { layers }
    }

    /// Finds resources of a kind by names that come in their order.
    pub(crate) fn in_order(&self, kind: ResourceKind) -> InOrder<'_> {
        InOrder { view: self, kind, walk: None, steps: 0, searches: 0 }
    }

    /// The keys under which this view has something else than `older`: changed,
    /// new or gone. Costs what changed, where both have the same layers within
    /// the last 64 generations, and otherwise a comparison of the layers that
    /// differ.
    #[must_use]
    pub fn changed_since(&self, older: &Self) -> BTreeSet<ResourceKey> {
        let mut candidates = BTreeSet::new();
        if self.shares_order_with(older) {
            for layer in &self.layers {
                match older.layer(layer.id()) {
                    Some(before) => layer.changes_since(before, &mut candidates),
                    None => candidates.extend(layer.keys().cloned()),
                }
            }
            for layer in older.layers.iter().filter(|layer| self.layer(layer.id()).is_none()) {
                candidates.extend(layer.keys().cloned());
            }
        } else {
            for layer in self.layers.iter().chain(&older.layers) {
                candidates.extend(layer.keys().cloned());
            }
        }
        candidates.retain(|key| !same_resource(self.get(key), older.get(key)));
        candidates
    }

    fn layer(&self, id: LayerId) -> Option<&Arc<Layer>> {
        self.layers.iter().find(|layer| layer.id() == id)
    }

    /// Whether the layers that both have lie in the same order, so that only a
    /// layer's own changes can change what is seen.
    fn shares_order_with(&self, older: &Self) -> bool {
        let common = |view: &Self, other: &Self| -> Vec<LayerId> {
            view.layers.iter().map(|layer| layer.id()).filter(|id| other.layer(*id).is_some()).collect()
        };
        common(self, older) == common(older, self)
    }
}

/// Merges the layers' iterators; the topmost of equal names wins. A layer that
/// has no more is left out.
struct ViewIter<'a> {
    layers: Vec<Peekable<LayerIter<'a>>>,
}

impl<'a> Iterator for ViewIter<'a> {
    type Item = &'a Arc<Resource>;

    fn next(&mut self) -> Option<Self::Item> {
        if let [only] = self.layers.as_mut_slice() {
            return only.next();
        }
        let name =
            self.layers.iter_mut().filter_map(|layer| layer.peek().copied()).map(|r| &r.key.name).min()?;
        let mut topmost = None;
        let mut exhausted = false;
        for layer in &mut self.layers {
            let same = layer.next_if(|resource| resource.key.name == *name);
            exhausted |= same.is_some() && layer.peek().is_none();
            topmost = topmost.or(same);
        }
        if exhausted {
            self.layers.retain_mut(|layer| layer.peek().is_some());
        }
        topmost
    }
}

/// Finds resources of a kind by names that come in their order. Names that follow
/// each other in the view too, as those of a proxy that sees a whole layer do,
/// cost a step each; others cost a search.
pub(crate) struct InOrder<'a> {
    view: &'a View,
    kind: ResourceKind,
    /// What follows the name that was found last.
    walk: Option<Peekable<ViewIter<'a>>>,
    steps: usize,
    searches: usize,
}

impl<'a> InOrder<'a> {
    /// The resource of this name.
    pub(crate) fn find(&mut self, name: &str) -> Option<&'a Arc<Resource>> {
        let next = self.walk.as_mut().and_then(|walk| walk.next_if(|next| next.key.name.as_str() == name));
        if next.is_some() {
            self.steps += 1;
            return next;
        }
        self.searches += 1;
        let found = self.view.find(self.kind, name)?;
        // To begin a walk costs more than a search: not for one name, and later as long as it pays.
        let pays = (2..=3 + self.steps / 8).contains(&self.searches);
        self.walk = pays.then(|| self.view.walk(self.kind, Some(&found.key.name)).peekable());
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ResourceKey {
        ResourceKey::new(ResourceKind::Cluster, ResourceName::new(name))
    }

    fn resource(name: &str, body: &str) -> Arc<Resource> {
        Arc::new(Resource::new(key(name), body.to_owned().into(), vec![], vec![]))
    }

    fn layer(names: &[(&str, &str)]) -> Arc<Layer> {
        Arc::new(Layer::new(LayerId::unique(), names.iter().map(|(name, body)| resource(name, body))))
    }

    fn names(view: &View) -> Vec<String> {
        let text = |r: &Arc<Resource>| format!("{}={}", r.key.name, String::from_utf8_lossy(&r.body));
        view.iter(ResourceKind::Cluster).map(text).collect()
    }

    fn changed(newer: &View, older: &View) -> Vec<String> {
        newer.changed_since(older).iter().map(|key| key.name.to_string()).collect()
    }

    #[test]
    fn an_upper_layer_hides_the_same_key_below() {
        let view = View::new(1, [layer(&[("b", "up")]), layer(&[("a", "low"), ("b", "low"), ("c", "low")])]);
        assert_eq!(names(&view), ["a=low", "b=up", "c=low"]);
        assert_eq!(view.get(&key("b")).map(|r| r.body.clone()), Some("up".into()));
        let after: Vec<_> = view
            .iter_after(ResourceKind::Cluster, Some(&ResourceName::new("a")))
            .map(|r| &r.key.name)
            .collect();
        assert_eq!(after, [&ResourceName::new("b"), &ResourceName::new("c")]);
        assert_eq!(view.iter(ResourceKind::Listener).count(), 0);
    }

    #[test]
    fn names_in_order_are_found_in_few_searches_wherever_they_lie() {
        let all: Vec<String> = (0..300).map(|number| format!("n{number:03}")).collect();
        let (odd, even): (Vec<_>, Vec<_>) =
            all.iter().partition(|name| name.ends_with(['1', '3', '5', '7', '9']));
        let of = |names: &[&String]| {
            Arc::new(Layer::new(LayerId::unique(), names.iter().map(|name| resource(name, "low"))))
        };
        let view = View::new(1, [layer(&[("n004", "up")]), of(&odd), of(&even)]);
        for (every, searches) in [(1, 2), (100, 3)] {
            let mut finder = view.in_order(ResourceKind::Cluster);
            for name in all.iter().step_by(every) {
                let found = finder.find(name);
                assert_eq!(found, view.find(ResourceKind::Cluster, name), "{name}");
                assert!(finder.find("absent").is_none());
                finder.searches -= 1;
            }
            assert_eq!(finder.searches, searches, "every {every}");
        }
    }

    #[test]
    fn a_change_below_a_hiding_key_is_no_change() {
        let upper = layer(&[("b", "up")]);
        let lower = layer(&[("a", "1"), ("b", "1")]);
        let changed_lower =
            Arc::new(lower.with_changes([(key("b"), None), (key("a"), Some(resource("a", "2")))]));
        let before = View::new(1, [upper.clone(), lower]);
        let after = View::new(2, [upper, changed_lower]);
        assert_eq!(changed(&after, &before), ["a"]);
    }

    #[test]
    fn exchanging_or_reordering_layers_is_compared_by_content() {
        let (one, two) = (layer(&[("a", "1"), ("b", "1")]), layer(&[("b", "2"), ("c", "2")]));
        let three = layer(&[("a", "1"), ("c", "3")]);
        let before = View::new(1, [one.clone(), two.clone()]);
        assert_eq!(changed(&View::new(2, [two.clone(), one.clone()]), &before), ["b"]);
        assert_eq!(changed(&View::new(2, [three, two]), &before), ["b", "c"]);
        assert_eq!(changed(&View::new(2, [one]), &before), ["c"]);
        assert!(changed(&before.clone(), &before).is_empty());
    }
}
