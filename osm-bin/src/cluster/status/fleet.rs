//! The connected proxies, counted by who they are: what is asked about each of many objects
//! must not cost what there are proxies, and replicas tell each other of theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;

use osm_core::diagnostic::Origin;
use osm_core::identity::ServiceIdentity;
use osm_core::name::ObjectRef;
use osm_k8s::replicas::MAX_TEXT;
use osm_k8s::status::Programmed;
use osm_xds::server::{ProxyStatus, Registry};
use serde::{Deserialize, Serialize};

/// How much of the text of a refusal it tells, in bytes.
const MAX_MESSAGE: usize = 300;

/// A connected proxy, as far as it matters here.
pub(super) struct Proxy {
    identity: ServiceIdentity,
    has_everything: bool,
    /// The objects that made what it refuses, each with what it says.
    refused: Vec<(ObjectRef, String)>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fleet {
    everyone: Count,
    by_identity: BTreeMap<ServiceIdentity, Count>,
    /// By the object's kind and name.
    refused: BTreeMap<String, Refused<ServiceIdentity>>,
}

/// A fleet as replicas tell it. Identities are text here.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    proxies: BTreeMap<String, Count>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, Refused<String>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
struct Count {
    all: u32,
    /// How many of them have everything.
    have: u32,
}

impl Count {
    fn of_one(has_everything: bool) -> Self {
        Self { all: 1, have: u32::from(has_everything) }
    }

    /// What others tell may be anything.
    fn add(&mut self, other: Self) {
        self.all = self.all.saturating_add(other.all);
        self.have = self.have.saturating_add(other.have).min(self.all);
    }
}

impl From<(u32, u32)> for Count {
    fn from((all, have): (u32, u32)) -> Self {
        Self { all, have }
    }
}

impl From<Count> for (u32, u32) {
    fn from(Count { all, have }: Count) -> Self {
        (all, have)
    }
}

impl<'a> Sum<&'a Self> for Count {
    fn sum<I: Iterator<Item = &'a Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, one| {
            sum.add(*one);
            sum
        })
    }
}

/// Those that refuse what was made of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Refused<I: Ord> {
    /// What the first of them says.
    message: String,
    by: BTreeMap<I, Count>,
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
        if self.refused.is_empty() {
            return programmed;
        }
        let Some(Refused { message, by }) = self.refused.get(&name.to_string()) else { return programmed };
        for (identity, count) in by {
            if identities.is_none_or(|identities| identities.contains(identity)) {
                programmed.has = programmed.has.saturating_sub(count.have);
                let refused = programmed.refused.get_or_insert_with(|| (0, message.clone()));
                refused.0 = refused.0.saturating_add(count.all);
            }
        }
        programmed
    }

    /// Adds the proxies of another replica.
    pub(super) fn add(&mut self, other: &Self) {
        for (identity, count) in &other.by_identity {
            self.count(identity.clone(), *count);
        }
        for (object, Refused { message, by }) in &other.refused {
            for (identity, count) in by {
                self.refuse(object.clone(), identity.clone(), *count, message);
            }
        }
    }

    fn count(&mut self, identity: ServiceIdentity, count: Count) {
        self.everyone.add(count);
        self.by_identity.entry(identity).or_default().add(count);
    }

    fn refuse(&mut self, object: String, identity: ServiceIdentity, count: Count, message: &str) {
        let of_object = || Refused { message: message.to_owned(), by: BTreeMap::new() };
        let refused = self.refused.entry(object).or_insert_with(of_object);
        refused.by.entry(identity).or_default().add(count);
    }

    /// What other replicas are told: all proxies, and of refused objects as many as fit beside them.
    pub(super) fn to_text(&self) -> String {
        let proxies = self.by_identity.iter().map(|(identity, one)| (identity.to_string(), *one)).collect();
        let mut told = Told { proxies, refused: BTreeMap::new() };
        let mut left = MAX_TEXT.saturating_sub(json(&told).len() + r#","refused":{}"#.len());
        for (object, Refused { message, by }) in &self.refused {
            let refused = Refused {
                message: message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned(),
                by: by.iter().map(|(identity, count)| (identity.to_string(), *count)).collect(),
            };
            let length = json(&(object, &refused)).len();
            if length <= left {
                left -= length;
                told.refused.insert(object.clone(), refused);
            }
        }
        json(&told)
    }

    /// What another replica told. What does not read is left out.
    pub(super) fn of_text(text: &str) -> Self {
        let told: Told = serde_json::from_str(text).unwrap_or_default();
        let mut fleet = Self::default();
        for (identity, count) in &told.proxies {
            if let Ok(identity) = identity.parse() {
                fleet.count(identity, *count);
            }
        }
        for (object, Refused { message, by }) in told.refused {
            for (identity, count) in by {
                if let Ok(identity) = identity.parse() {
                    fleet.refuse(object.clone(), identity, count, &message);
                }
            }
        }
        fleet
    }
}

fn json(told: &impl Serialize) -> String {
    serde_json::to_string(told).expect("names, numbers and texts are JSON")
}

impl FromIterator<Proxy> for Fleet {
    fn from_iter<I: IntoIterator<Item = Proxy>>(proxies: I) -> Self {
        let mut fleet = Self::default();
        for Proxy { identity, has_everything, refused } in proxies {
            let count = Count::of_one(has_everything);
            let of_this: BTreeMap<_, _> =
                refused.into_iter().map(|(object, message)| (object.to_string(), message)).collect();
            for (object, message) in of_this {
                fleet.refuse(object, identity.clone(), count, &message);
            }
            fleet.count(identity, count);
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

    #[test]
    fn a_fleet_is_the_same_to_those_who_are_told_of_it_and_two_add_up() {
        let name = ObjectRef::namespaced(Kind::TrafficTarget, &"shop/t".parse().expect("a name"));
        let one: Fleet =
            [proxy("shop/buyer", true, &[]), proxy("shop/store", true, &[&name])].into_iter().collect();
        let mut both: Fleet =
            [proxy("shop/store", false, &[]), proxy("shop/store", true, &[&name])].into_iter().collect();
        assert_eq!(Fleet::of_text(&one.to_text()), one);
        both.add(&Fleet::of_text(&one.to_text()));
        let all = both.programmed(&name, None);
        assert_eq!((all.has, all.all, all.refused), (1, 4, Some((2, "bad regex".to_owned()))));
        let store = BTreeSet::from([identity("shop/store")]);
        assert_eq!(both.programmed(&name, Some(&store)).all, 3);
    }

    #[test]
    fn a_text_that_is_no_fleet_adds_nothing_and_a_false_one_breaks_nothing() {
        for text in ["", "hello", "[]", r#"{"proxies":{"no identity":[1,1]}}"#, r#"{"proxies":{"a/b":[1]}}"#]
        {
            assert_eq!(Fleet::of_text(text), Fleet::default(), "{text}");
        }
        let name = ObjectRef::namespaced(Kind::TrafficTarget, &"shop/t".parse().expect("a name"));
        let huge = r#"{"proxies":{"shop/a":[4294967295,4294967295]},
            "refused":{"TrafficTarget shop/t":{"message":"x","by":{"shop/a":[7,4294967295]}}}}"#;
        let mut fleet = Fleet::of_text(huge);
        fleet.add(&Fleet::of_text(huge));
        let programmed = fleet.programmed(&name, None);
        assert_eq!((programmed.has, programmed.all), (u32::MAX - 14, u32::MAX));
    }

    fn object(number: usize) -> ObjectRef {
        let name = format!("shop/{number}").parse().expect("a name");
        ObjectRef::namespaced(Kind::TrafficTarget, &name)
    }

    /// A fleet of that many accounts, whose names with their namespaces have 30 characters, with
    /// hundreds of proxies each.
    fn large(accounts: usize) -> Fleet {
        let mut fleet = Fleet::default();
        for number in 0..accounts {
            let name = format!("a-namespace/a-name-with-n-{number:04}");
            assert_eq!(name.len(), 30);
            fleet.count(identity(&name), Count { all: 999, have: 999 });
        }
        fleet
    }

    #[test]
    fn as_many_accounts_fit_into_what_is_told_as_the_documentation_says() {
        let length = |accounts| large(accounts).to_text().len();
        assert!(length(4_500) <= MAX_TEXT, "{}", length(4_500));
        assert!(length(5_000) > MAX_TEXT, "{}", length(5_000));
    }

    #[test]
    fn what_many_refuse_is_told_with_one_message_and_no_more_than_fits_beside_the_proxies() {
        let message = "\u{1}ä".repeat(1_000);
        let refusing = |accounts: usize, objects: usize| {
            let mut fleet = large(accounts);
            let identities: Vec<_> = fleet.by_identity.keys().cloned().collect();
            for object in (0..objects).map(object) {
                for identity in identities.iter().take(100) {
                    fleet.refuse(object.to_string(), identity.clone(), Count { all: 2, have: 1 }, &message);
                }
            }
            fleet
        };
        let one = refusing(100, 1).to_text();
        assert!(one.len() < 10_000, "{}", one.len());
        let heard = Fleet::of_text(&one).programmed(&object(0), None);
        assert_eq!(heard.refused.map(|(count, _)| count), Some(200));
        let many = refusing(4_000, 300).to_text();
        assert!(many.len() <= MAX_TEXT, "{}", many.len());
        let heard = Fleet::of_text(&many);
        assert_eq!((heard.by_identity.len(), heard.everyone.all), (4_000, 4_000 * 999));
        assert!((1..300).contains(&heard.refused.len()), "{}", heard.refused.len());
        assert_eq!(Fleet::of_text(&refusing(4_500, 300).to_text()).by_identity.len(), 4_500);
    }
}
