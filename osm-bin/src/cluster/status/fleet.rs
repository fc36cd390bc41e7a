//! The connected proxies, counted by who they are: what is asked about each of many objects
//! must not cost what there are proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;

use osm_core::diagnostic::Origin;
use osm_core::identity::ServiceIdentity;
use osm_core::name::ObjectRef;
use osm_k8s::status::Programmed;
use osm_xds::server::{ProxyStatus, Registry};

/// A connected proxy, as far as it matters here.
pub(super) struct Proxy {
    identity: ServiceIdentity,
    has_everything: bool,
    /// The objects that made what it refuses, each with what it says.
    refused: Vec<(ObjectRef, String)>,
}

/// All of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fleet {
    everyone: Count,
    by_identity: BTreeMap<ServiceIdentity, Count>,
    refused: BTreeMap<ObjectRef, BTreeMap<ServiceIdentity, Refusals>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    all: u32,
    /// How many of them have everything.
    have: u32,
}

impl Count {
    fn add(&mut self, has_everything: bool) {
        self.all += 1;
        self.have += u32::from(has_everything);
    }
}

impl<'a> Sum<&'a Self> for Count {
    fn sum<I: Iterator<Item = &'a Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self { all: sum.all + one.all, have: sum.have + one.have })
    }
}

/// Those that refuse what was made of one object.
#[derive(Debug, PartialEq)]
struct Refusals {
    count: Count,
    /// What the first of them says.
    message: String,
}

impl Fleet {
    /// The proxies that are connected now, each once: of several streams, the newest.
    pub(super) fn connected(registry: &Registry) -> Self {
        let newest: BTreeMap<_, _> =
            registry.statuses().into_iter().map(|status| (status.proxy.uuid.clone(), status)).collect();
        newest.into_values().map(Proxy::from).collect()
    }

    /// How many proxies have what they need of an object, among those of some identities
    /// or among all.
    pub(super) fn programmed(
        &self,
        name: &ObjectRef,
        identities: Option<&BTreeSet<ServiceIdentity>>,
    ) -> Programmed {
        let count = match identities {
            None => self.everyone,
            Some(identities) => identities.iter().filter_map(|one| self.by_identity.get(one)).sum(),
        };
        let mut programmed = Programmed::new(count.have, count.all);
        for (identity, Refusals { count, message }) in self.refused.get(name).into_iter().flatten() {
            if identities.is_none_or(|identities| identities.contains(identity)) {
                programmed.has -= count.have;
                programmed.refused.get_or_insert_with(|| (0, message.clone())).0 += count.all;
            }
        }
        programmed
    }
}

impl FromIterator<Proxy> for Fleet {
    fn from_iter<I: IntoIterator<Item = Proxy>>(proxies: I) -> Self {
        let mut fleet = Self::default();
        for Proxy { identity, has_everything, refused } in proxies {
            fleet.everyone.add(has_everything);
            let mut of_this = BTreeMap::new();
            for (object, message) in refused {
                of_this.entry(object).or_insert(message);
            }
            for (object, message) in of_this {
                let of_object = fleet.refused.entry(object).or_default();
                let refusals = of_object
                    .entry(identity.clone())
                    .or_insert_with(|| Refusals { count: Count::default(), message });
                refusals.count.add(has_everything);
            }
            fleet.by_identity.entry(identity).or_default().add(has_everything);
        }
        fleet
    }
}

impl From<ProxyStatus> for Proxy {
    fn from(status: ProxyStatus) -> Self {
        let refused = status.session.refused.iter().flat_map(|(rejected, nack)| {
            let objects = rejected.origins.iter().filter_map(|origin| match origin {
                Origin::Object(object, _) => Some(object.clone()),
                Origin::Default(_) => None,
            });
            objects.map(|object| (object, nack.message.clone()))
        });
        let refused = refused.collect();
        Self { identity: status.proxy.identity, has_everything: status.in_sync, refused }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use osm_core::name::{Kind, QualifiedName};

    use super::*;

    pub(in crate::cluster::status) fn identity(text: &str) -> ServiceIdentity {
        let name: QualifiedName = text.parse().expect("a name");
        ServiceIdentity::new(name.namespace, name.name)
    }

    pub(in crate::cluster::status) fn proxy(of: &str, has_everything: bool, refused: &[&ObjectRef]) -> Proxy {
        let refused = refused.iter().map(|name| ((*name).clone(), "bad regex".to_owned())).collect();
        Proxy { identity: identity(of), has_everything, refused }
    }

    #[test]
    fn an_object_is_counted_on_the_proxies_that_it_concerns() {
        let name = ObjectRef::namespaced(Kind::TrafficTarget, &"shop/t".parse().expect("a name"));
        let fleet: Fleet = [
            proxy("shop/buyer", true, &[]),
            proxy("shop/store", false, &[]),
            // It refuses two resources that were made of one object.
            proxy("shop/store", true, &[&name, &name]),
            proxy("shop/other", false, &[&name]),
        ]
        .into_iter()
        .collect();
        let of = |identities: &[&str]| {
            let identities = identities.iter().map(|one| identity(one)).collect();
            fleet.programmed(&name, Some(&identities))
        };
        assert_eq!(of(&["shop/buyer"]), Programmed::new(1, 1));
        assert_eq!(of(&["shop/nobody"]), Programmed::new(0, 0));
        let some = of(&["shop/buyer", "shop/store"]);
        assert_eq!((some.has, some.all, some.refused), (1, 3, Some((1, "bad regex".to_owned()))));
        let all = fleet.programmed(&name, None);
        assert_eq!((all.has, all.all, all.refused), (1, 4, Some((2, "bad regex".to_owned()))));
    }
}
