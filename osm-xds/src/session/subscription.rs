//! What a proxy asked for, of one kind.

use std::sync::Arc;

use crate::resource::ResourceName;

/// The name that asks for everything.
const WILDCARD: &str = "*";

/// Takes the name that asks for everything out of a list; says whether it was there.
pub(super) fn without_wildcard(mut names: Vec<String>) -> (Vec<String>, bool) {
    let before = names.len();
    names.retain(|name| name != WILDCARD);
    let found = names.len() < before;
    (names, found)
}

/// A sorted set of names in one allocation: names are shared with the resources
/// themselves, so a name costs the 16 bytes of a pointer.
#[derive(Debug, Default)]
pub(super) struct NameSet(Vec<ResourceName>);

impl NameSet {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ResourceName> {
        self.0.iter()
    }

    /// Adds names, which are in order and distinct; several are merged in one pass.
    pub(super) fn insert_all(&mut self, names: Vec<ResourceName>) {
        if let [name] = names.as_slice() {
            if let Err(place) = self.position(name.as_str()) {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, name.clone());
            }
            return;
        }
        if self.0.last() < names.first() {
            self.0.reserve_exact(names.len());
            self.0.extend(names);
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len() + names.len());
        let mut new = names.into_iter().peekable();
        for old in self.0.drain(..) {
            while let Some(name) = new.next_if(|name| *name < old) {
                merged.push(name);
            }
            new.next_if(|name| *name == old);
            merged.push(old);
        }
        merged.extend(new);
        merged.shrink_to_fit();
        self.0 = merged;
    }

    /// Takes names out, in one pass.
    pub(super) fn remove_all(&mut self, names: &NameSet) {
        match names.0.as_slice() {
            [] => {}
            [name] => {
                if let Ok(place) = self.position(name.as_str()) {
                    self.0.remove(place);
                }
            }
            _ => self.0.retain(|name| !names.contains(name.as_str())),
        }
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to_fit();
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        if self.0.last().is_none_or(|last| last.as_str() < name) {
            return Err(self.0.len());
        }
        self.0.binary_search_by(|other| other.as_str().cmp(name))
    }
}

impl FromIterator<ResourceName> for NameSet {
    fn from_iter<I: IntoIterator<Item = ResourceName>>(names: I) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }
}

/// What a proxy asked for, of one kind.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Whether any request of this kind came.
    pub(super) seen: bool,
    /// Whether any request named something: from then on an empty list of names
    /// no longer means everything.
    pub(super) named: bool,
    /// Whether everything of the kind is asked for.
    pub(super) wildcard: bool,
    /// The names asked for explicitly.
    pub(super) names: NameSet,
}

impl Interest {
    /// Whether this resource is asked for.
    pub(super) fn covers(&self, name: &ResourceName) -> bool {
        self.wildcard || self.names.contains(name.as_str())
    }
}

/// A name that no resource has (yet), on an allocation of its own.
pub(super) fn unshared(name: &str) -> ResourceName {
    ResourceName::new(Arc::<str>::from(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_set_behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), prop::collection::vec("[a-d]{1,2}", 0..6)), 0..20)) {
            let (mut set, mut model) = (NameSet::default(), BTreeSet::new());
            for (add, names) in steps {
                if add {
                    model.extend(names.iter().cloned());
                    set.insert_all(names.iter().map(|name| unshared(name)).collect::<BTreeSet<_>>().into_iter().collect());
                } else {
                    model.retain(|name| !names.contains(name));
                    set.remove_all(&names.iter().map(|name| unshared(name)).collect());
                }
                prop_assert!(set.iter().map(ResourceName::as_str).eq(model.iter().map(String::as_str)));
                prop_assert_eq!(set.len(), model.len());
            }
        }
    }

    #[test]
    fn a_thousand_names_cost_sixteen_kilobytes() {
        let mut set = NameSet::default();
        for chunk in 0..20 {
            let names: BTreeSet<_> = (0..50).map(|n| unshared(&format!("{}", n * 20 + chunk))).collect();
            set.insert_all(names.into_iter().collect());
        }
        assert_eq!(set.len(), 1000);
        assert!(set.0.capacity() * size_of::<ResourceName>() <= 16_000);
    }
}
