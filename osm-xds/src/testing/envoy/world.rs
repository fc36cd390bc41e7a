//! What the model's resources mean to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::{References, references};
use crate::resource::ResourceKind;

/// Where make before break was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A listener or route came before a cluster that it sends to was active.
    Early {
        /// The kind of the user.
        kind: ResourceKind,
        /// The name of the user.
        user: String,
        /// The cluster.
        cluster: String,
    },
    /// Something went while it was used.
    Gone {
        /// The kind of what went.
        kind: ResourceKind,
        /// Its name.
        name: String,
        /// The name of a user.
        user: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early { kind, user, cluster } => {
                write!(f, "{kind} {user} came before its cluster {cluster} was active")
            }
            Self::Gone { kind, name, user } => write!(f, "{kind} {name} went while {user} uses it"),
        }
    }
}

/// Clusters, listeners and routes in force.
#[derive(Default)]
pub(super) struct World {
    /// Clusters that can be used, by name.
    active: BTreeMap<String, References>,
    /// Clusters that are to replace those, or are new.
    pub(super) warming: BTreeMap<String, Warming>,
    listeners: BTreeMap<String, References>,
    routes: BTreeMap<String, References>,
    secrets: BTreeSet<String>,
    pub(super) violations: Vec<Violation>,
}

/// The places of listeners, by the name of the listener.
pub(super) struct Places(BTreeMap<String, BTreeSet<(String, u32)>>);

impl Places {
    /// Gives a listener its places in exchange for those that it had; the message of
    /// the refusal where another one has one of them.
    pub(super) fn take(&mut self, name: &str, body: &[u8]) -> Result<(), String> {
        let wanted = references(ResourceKind::Listener, body).expect("a listener").places;
        let others = self.0.iter().filter(|(other, _)| *other != name);
        if let Some((other, _)) = others.into_iter().find(|(_, places)| !places.is_disjoint(&wanted)) {
            return Err(format!("it has a duplicate address as existing listener `{other}`"));
        }
        self.0.insert(name.to_owned(), wanted);
        Ok(())
    }
}

pub(super) struct Warming {
    found: References,
    lacks_endpoints: bool,
    /// Whether it becomes active without what it lacks.
    gave_up: bool,
}

impl World {
    pub(super) fn apply(&mut self, kind: ResourceKind, name: &str, found: References, is_new: bool) {
        match kind {
            ResourceKind::Cluster if is_new => {
                let lacks_endpoints = found.endpoints.is_some();
                self.warming.insert(name.to_owned(), Warming { found, lacks_endpoints, gave_up: false });
            }
            ResourceKind::Cluster => {}
            ResourceKind::Endpoints => self.endpoints_came(name),
            ResourceKind::Secret => drop(self.secrets.insert(name.to_owned())),
            ResourceKind::Listener => {
                self.check(kind, name, &found, is_new);
                self.listeners.insert(name.to_owned(), found);
            }
            ResourceKind::Route => {
                self.check(kind, name, &found, is_new);
                self.routes.insert(name.to_owned(), found);
            }
        }
    }

    pub(super) fn remove(&mut self, kind: ResourceKind, name: &str) {
        match kind {
            ResourceKind::Cluster => {
                let users = self.listeners.iter().chain(&self.routes);
                let users = users.filter(|(_, found)| found.clusters.contains(name));
                self.note_gone(kind, name, users.map(|(user, _)| user.clone()).collect());
                self.active.remove(name);
                self.warming.remove(name);
            }
            // It is told that there are none, which is an answer.
            ResourceKind::Endpoints => self.endpoints_came(name),
            ResourceKind::Secret => drop(self.secrets.remove(name)),
            ResourceKind::Listener => drop(self.listeners.remove(name)),
            ResourceKind::Route => {
                let users = self.listeners.iter().filter(|(_, found)| found.routes.contains(name));
                self.note_gone(kind, name, users.map(|(user, _)| user.clone()).collect());
                self.routes.remove(name);
            }
        }
    }

    /// Where listeners are, but for those that go.
    pub(super) fn places(&self, gone: &[String]) -> Places {
        let stay = self.listeners.iter().filter(|(name, _)| !gone.contains(name));
        Places(stay.map(|(name, found)| (name.clone(), found.places.clone())).collect())
    }

    fn note_gone(&mut self, kind: ResourceKind, name: &str, users: Vec<String>) {
        let name = name.to_owned();
        self.violations.extend(users.into_iter().map(|user| Violation::Gone {
            kind,
            name: name.clone(),
            user,
        }));
    }

    /// Lets clusters that lack nothing become active.
    pub(super) fn warm_up(&mut self) {
        let warm = |warming: &Warming, secrets: &BTreeSet<String>| {
            warming.gave_up || (!warming.lacks_endpoints && warming.found.secrets.is_subset(secrets))
        };
        let names: Vec<_> = self.warming.keys().cloned().collect();
        for name in names {
            if self.warming.get(&name).is_some_and(|warming| warm(warming, &self.secrets))
                && let Some(warming) = self.warming.remove(&name)
            {
                self.active.insert(name, warming.found);
            }
        }
        // What is no longer referred to is forgotten with its subscription.
        let (secrets, routes) = (self.wanted(ResourceKind::Secret), self.wanted(ResourceKind::Route));
        self.secrets.retain(|name| secrets.contains(name));
        self.routes.retain(|name, _| routes.contains(name));
    }

    pub(super) fn stop_waiting(&mut self) {
        self.warming.values_mut().for_each(|warming| warming.gave_up = true);
    }

    /// The names of a kind that something refers to.
    pub(super) fn wanted(&self, kind: ResourceKind) -> BTreeSet<String> {
        let clusters = self.active.values().chain(self.warming.values().map(|warming| &warming.found));
        let listeners = self.listeners.values();
        match kind {
            ResourceKind::Endpoints => clusters.filter_map(|found| found.endpoints.clone()).collect(),
            ResourceKind::Secret => {
                clusters.chain(listeners).flat_map(|found| found.secrets.iter().cloned()).collect()
            }
            ResourceKind::Route => listeners.flat_map(|found| found.routes.iter().cloned()).collect(),
            ResourceKind::Cluster | ResourceKind::Listener => BTreeSet::new(),
        }
    }

    pub(super) fn endpoints_came(&mut self, name: &str) {
        for warming in self.warming.values_mut() {
            if warming.found.endpoints.as_deref() == Some(name) {
                warming.lacks_endpoints = false;
            }
        }
    }

    fn check(&mut self, kind: ResourceKind, name: &str, found: &References, is_new: bool) {
        if !is_new {
            return;
        }
        for cluster in found.clusters.iter().filter(|cluster| !self.active.contains_key(*cluster)) {
            let (user, cluster) = (name.to_owned(), cluster.clone());
            self.violations.push(Violation::Early { kind, user, cluster });
        }
    }
}
