//! One layer of resources: a persistent map that knows what changed lately.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpds::RedBlackTreeMapSync;

use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};

/// How many generations a layer remembers the changes of.
const REMEMBERED: usize = 64;

/// How many changed keys a layer remembers at least, over all generations; a
/// larger layer remembers as many as it has resources.
const REMEMBERED_KEYS: usize = 1024;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Which layer a [`Layer`] is a generation of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(u64);

impl LayerId {
    /// An identity that no other layer of this process has.
    #[must_use]
    pub fn unique() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A set of resources that many views share, at one generation. Cheap to clone;
/// a generation shares with its predecessor all that did not change.
#[derive(Debug, Clone)]
pub struct Layer {
    id: LayerId,
    /// Unique in the process, so that two successors of one generation are never
    /// taken for each other.
    generation: u64,
    /// Those of each kind by name, so that one of a kind of which there are few, such as a secret, is found
    /// among few.
    kinds: [Resources; ResourceKind::ALL.len()],
    /// The last changes, oldest first.
    recent: Box<[Arc<Change>]>,
}

type Resources = RedBlackTreeMapSync<ResourceName, Arc<Resource>>;

/// What one generation changed.
#[derive(Debug)]
struct Change {
    /// The generation it was made from.
    from: u64,
    keys: Box<[ResourceKey]>,
}

impl Layer {
    /// The first generation of a layer. Of resources with equal keys the last counts.
    #[must_use]
    pub fn new(id: LayerId, resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut kinds: [Resources; ResourceKind::ALL.len()] = Default::default();
        for resource in resources {
            kinds[resource.key.kind as usize].insert_mut(resource.key.name.clone(), resource);
        }
        Self { id, generation: LayerId::unique().0, kinds, recent: Box::default() }
    }

    /// The next generation: each key gets its resource, or with `None` loses it.
    /// A resource whose version is the same is no change; if nothing changes,
    /// the same generation comes back.
    #[must_use]
    pub fn with_changes(
        &self,
        changes: impl IntoIterator<Item = (ResourceKey, Option<Arc<Resource>>)>,
    ) -> Self {
        let mut next = self.clone();
        let mut changed = BTreeSet::new();
        for (key, resource) in changes {
            if same_resource(next.get(&key), resource.as_ref()) {
                continue;
            }
            let resources = &mut next.kinds[key.kind as usize];
            match resource {
                Some(resource) => resources.insert_mut(key.name.clone(), resource),
                None => {
                    resources.remove_mut(&key.name);
                }
            }
            changed.insert(key);
        }
        // A key that changed and changed back within one call is no change.
        changed.retain(|key| !same_resource(self.get(key), next.get(key)));
        if changed.is_empty() {
            return self.clone();
        }
        let change = Arc::new(Change { from: self.generation, keys: changed.into_iter().collect() });
        next.generation = LayerId::unique().0;
        next.recent = remember(&self.recent, change, next.len());
        next
    }

    /// Which layer this is a generation of.
    #[must_use]
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// Which generation this is: equal numbers mean equal content.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The resource under this key.
    #[must_use]
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.find(key.kind, key.name.as_str())
    }

    /// The resource of this kind and name.
    #[must_use]
    pub fn find(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Resource>> {
        self.kinds[kind as usize].get(name)
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.iter().map(Resources::size).sum()
    }

    /// Whether there is no resource.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(Resources::is_empty)
    }

    /// All resources in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.iter().flat_map(Resources::values)
    }

    /// All keys in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ResourceKey> {
        self.iter().map(|resource| &resource.key)
    }

    /// The resources of a kind, behind a name if there is one, in order.
    pub(super) fn iter_after(&self, kind: ResourceKind, after: Option<&ResourceName>) -> LayerIter<'_> {
        let start = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        let range = self.kinds[kind as usize].range::<ResourceName, _>((start, Bound::Unbounded));
        Box::new(range.map(|(_, resource)| resource))
    }

    /// Adds the keys that may differ between this generation and another of the
    /// same layer: at least all that do.
    pub(super) fn changes_since(&self, older: &Self, into: &mut BTreeSet<ResourceKey>) {
        if self.generation == older.generation {
            return;
        }
        match self.recent.iter().position(|change| change.from == older.generation) {
            Some(first) => {
                into.extend(self.recent[first..].iter().flat_map(|change| change.keys.iter().cloned()));
            }
            None => self.compare(older, into),
        }
    }

    /// Walks both maps.
    fn compare(&self, older: &Self, into: &mut BTreeSet<ResourceKey>) {
        let differs =
            |this: &Self, resource: &&Arc<Resource>| !same_resource(this.get(&resource.key), Some(resource));
        into.extend(older.iter().filter(|resource| differs(self, resource)).map(|r| r.key.clone()));
        into.extend(self.iter().filter(|resource| differs(older, resource)).map(|r| r.key.clone()));
    }
}

/// Whether two resources under one key are the same one.
pub(super) fn same_resource(one: Option<&Arc<Resource>>, other: Option<&Arc<Resource>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.version == other.version,
        (None, None) => true,
        _ => false,
    }
}

/// The remembered changes with one more, bounded in number and in keys.
fn remember(recent: &[Arc<Change>], change: Arc<Change>, resources: usize) -> Box<[Arc<Change>]> {
    let mut budget = REMEMBERED_KEYS.max(resources);
    let kept = recent
        .iter()
        .chain([&change])
        .rev()
        .take(REMEMBERED)
        .take_while(|change| {
            let fits = change.keys.len() <= budget;
            budget = budget.saturating_sub(change.keys.len());
            fits
        })
        .count();
    let skipped = (recent.len() + 1) - kept;
    recent.iter().chain([&change]).skip(skipped).cloned().collect()
}

/// The resources of one kind in one layer.
pub(super) type LayerIter<'a> = Box<dyn Iterator<Item = &'a Arc<Resource>> + Send + 'a>;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: usize) -> ResourceKey {
        ResourceKey::new(ResourceKind::Route, ResourceName::new(format!("r{name:05}")))
    }

    fn change(name: usize, body: usize) -> (ResourceKey, Option<Arc<Resource>>) {
        (key(name), Some(Arc::new(Resource::new(key(name), body.to_string().into(), vec![], vec![]))))
    }

    fn changes(newer: &Layer, older: &Layer) -> BTreeSet<ResourceKey> {
        let mut keys = BTreeSet::new();
        newer.changes_since(older, &mut keys);
        keys
    }

    #[test]
    fn an_equal_resource_is_no_new_generation() {
        let layer = Layer::new(LayerId::unique(), []).with_changes([change(1, 1)]);
        assert_eq!(layer.with_changes([change(1, 1), (key(2), None)]).generation(), layer.generation());
        assert_eq!(layer.with_changes([change(1, 2), change(1, 1)]).generation(), layer.generation());
        assert_ne!(layer.with_changes([change(1, 2)]).generation(), layer.generation());
    }

    #[test]
    fn remembered_changes_and_a_full_comparison_agree() {
        let mut generations = vec![Layer::new(LayerId::unique(), [])];
        for step in 0..100 {
            let last = generations.last().expect("at least one");
            let next = last.with_changes([change(step % 7, step), (key((step + 3) % 7), None)]);
            generations.push(next);
        }
        let last = &generations[100];
        for older in &generations {
            let mut compared = BTreeSet::new();
            last.compare(older, &mut compared);
            assert!(changes(last, older).is_superset(&compared));
        }
        assert_eq!(changes(last, &generations[99]).len(), 2);
    }

    #[test]
    fn two_successors_of_one_generation_are_told_apart() {
        let base = Layer::new(LayerId::unique(), []);
        let (left, right) = (base.with_changes([change(1, 1)]), base.with_changes([change(2, 2)]));
        assert_eq!(changes(&left, &right), BTreeSet::from([key(1), key(2)]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut layer = Layer::new(LayerId::unique(), []);
        for step in 0..1_000 {
            layer = layer.with_changes((0..50).map(|name| change(name, step)));
        }
        assert!(layer.recent.len() <= REMEMBERED);
        assert!(layer.recent.iter().map(|change| change.keys.len()).sum::<usize>() <= REMEMBERED_KEYS);
        assert!(!layer.recent.is_empty());
    }
}
