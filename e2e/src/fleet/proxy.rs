//! What a proxy asks for and acknowledges: a state machine without I/O, for both
//! dialects, in the order in which Envoy does it.
//!
//! Envoy asks for clusters first, then for what they refer to; when that is
//! there, for listeners, and then for routes. It acknowledges every response,
//! and asks for more whenever something new refers to it.

use std::collections::HashSet;
use std::sync::Arc;

use osm_xds::resource::ResourceKind;
use rustc_hash::FxHashMap;

use super::plan::DialectKind;
use super::references::{Known, Reference};

/// A request that a proxy sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// What it is about.
    pub(super) kind: ResourceKind,
    /// The response that it acknowledges, or, for the state of the world, the last one.
    pub(super) nonce: String,
    /// The version of that response; state of the world only.
    pub(super) version: String,
    /// The names that are asked for: new ones, or in the state of the world all.
    pub(super) names: Vec<Arc<str>>,
    /// The names that are not asked for any more; incremental dialect only.
    pub(super) dropped: Vec<Arc<str>>,
    /// What it has of an earlier stream, with versions; incremental dialect only.
    pub(super) held: Vec<(Arc<str>, Arc<str>)>,
}

/// A response, taken apart.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    /// What it is about.
    pub(super) kind: ResourceKind,
    /// Its nonce.
    pub(super) nonce: &'a str,
    /// Its version; state of the world only.
    pub(super) version: &'a str,
    /// The clusters or listeners in it.
    pub(super) known: Vec<Arc<Known>>,
    /// The names of resources of the other kinds in it.
    pub(super) names: Vec<&'a str>,
    /// The names of resources that are gone; incremental dialect only.
    pub(super) removed: Vec<&'a str>,
    /// The names and versions of those that have come, for proxies that connect anew; incremental dialect only.
    pub(super) versions: Vec<(&'a str, &'a str)>,
}

/// What is known of a kind of resource.
#[derive(Debug, Default)]
struct OfKind {
    asked: bool,
    answered: bool,
    nonce: String,
    version: String,
    /// Clusters or listeners.
    holds: FxHashMap<Arc<str>, Arc<Known>>,
    /// Resources of the other kinds that these refer to.
    wanted: FxHashMap<Arc<str>, Wanted>,
    /// The versions of what has come.
    versions: FxHashMap<Arc<str>, Arc<str>>,
}

/// A resource that clusters or listeners refer to.
#[derive(Debug, Default)]
struct Wanted {
    /// How many do.
    count: u32,
    /// Whether it has come.
    has: bool,
}

/// One proxy's side of its stream.
#[derive(Debug)]
pub(super) struct SimulatedProxy {
    dialect: DialectKind,
    kinds: [OfKind; ResourceKind::ALL.len()],
    /// How many of the resources that are wanted have not come.
    missing: usize,
}

impl SimulatedProxy {
    /// A proxy that has just connected.
    pub(super) fn new(dialect: DialectKind) -> Self {
        Self { dialect, kinds: Default::default(), missing: 0 }
    }

    /// The first requests of a stream: after an earlier one, for all that was asked for in it.
    pub(super) fn start(&mut self) -> Vec<Outgoing> {
        use ResourceKind::{Cluster, Endpoints, Listener, Route, Secret};
        self.of(Cluster).asked = true;
        let asked = [Cluster, Endpoints, Secret, Listener, Route].into_iter();
        let asked: Vec<_> = asked.filter(|kind| self.kinds[*kind as usize].asked).collect();
        asked.into_iter().map(|kind| self.again(kind)).collect()
    }

    fn again(&mut self, kind: ResourceKind) -> Outgoing {
        let names = self.all_wanted(kind);
        let of_kind = self.of(kind);
        of_kind.nonce.clear();
        let held = of_kind.versions.iter().map(|(name, version)| (Arc::clone(name), Arc::clone(version)));
        Outgoing { names, held: held.collect(), ..request(kind) }
    }

    /// Whether everything that it asked for has come.
    pub(super) fn is_synced(&self) -> bool {
        self.is_answered(ResourceKind::Listener) && self.missing == 0
    }

    /// Takes in a response: the acknowledgement first, then what follows from it.
    pub(super) fn on_response(&mut self, response: Incoming<'_>) -> Vec<Outgoing> {
        let Incoming { kind, nonce, version, known, names, removed, versions } = response;
        let of_kind = self.of(kind);
        of_kind.versions.extend(versions.into_iter().map(|(name, version)| (name.into(), version.into())));
        for name in &removed {
            of_kind.versions.remove(*name);
        }
        of_kind.answered = true;
        nonce.clone_into(&mut of_kind.nonce);
        version.clone_into(&mut of_kind.version);
        // Acknowledged are the names asked for so far: new ones follow.
        let all = if self.dialect == DialectKind::Sotw { self.all_wanted(kind) } else { Vec::new() };
        let (nonce, version) = (nonce.to_owned(), version.to_owned());
        let mut out = vec![Outgoing { nonce, version, names: all, ..request(kind) }];
        if kind.has_wildcard() {
            out.extend(self.take_holders(kind, known, &removed));
        } else {
            // What is said not to exist will not be waited for.
            names.into_iter().chain(removed).for_each(|name| self.came(kind, name));
        }
        let is_ready = self.is_answered(ResourceKind::Cluster) && self.missing == 0;
        if is_ready && !self.of(ResourceKind::Listener).asked {
            self.of(ResourceKind::Listener).asked = true;
            out.push(request(ResourceKind::Listener));
        }
        out
    }

    fn came(&mut self, kind: ResourceKind, name: &str) {
        if let Some(wanted) = self.of(kind).wanted.get_mut(name) {
            self.missing -= usize::from(!std::mem::replace(&mut wanted.has, true));
        }
    }

    /// Takes in clusters or listeners, and asks for what they newly refer to.
    fn take_holders(
        &mut self,
        kind: ResourceKind,
        known: Vec<Arc<Known>>,
        removed: &[&str],
    ) -> Vec<Outgoing> {
        let mut added = Vec::new();
        let mut dropped = Vec::new();
        let mut gone: Vec<Arc<str>> = removed.iter().map(|name| Arc::from(*name)).collect();
        if self.dialect == DialectKind::Sotw {
            let now: HashSet<&str> = known.iter().map(|one| &*one.name).collect();
            gone.extend(self.of(kind).holds.keys().filter(|name| !now.contains(&***name)).cloned());
        }
        for one in known {
            let old = self.of(kind).holds.insert(Arc::clone(&one.name), Arc::clone(&one));
            if old.as_ref().is_some_and(|old| old.references == one.references) {
                continue;
            }
            one.references.iter().for_each(|reference| self.want(reference, &mut added));
            old.iter()
                .flat_map(|old| &old.references)
                .for_each(|reference| self.drop(reference, &mut dropped));
        }
        for name in gone {
            let old = self.of(kind).holds.remove(&name);
            old.iter()
                .flat_map(|old| &old.references)
                .for_each(|reference| self.drop(reference, &mut dropped));
        }
        self.subscriptions(&added, &dropped)
    }

    fn want(&mut self, reference: &Reference, added: &mut Vec<Reference>) {
        let (kind, name) = reference;
        let wanted = self.of(*kind).wanted.entry(Arc::clone(name)).or_default();
        wanted.count += 1;
        if wanted.count == 1 {
            self.missing += 1;
            added.push(reference.clone());
        }
    }

    fn drop(&mut self, reference: &Reference, dropped: &mut Vec<Reference>) {
        let (kind, name) = reference;
        let Some(wanted) = self.of(*kind).wanted.get_mut(name) else { return };
        wanted.count -= 1;
        if wanted.count == 0 {
            let had = wanted.has;
            self.missing -= usize::from(!had);
            self.of(*kind).wanted.remove(name);
            self.of(*kind).versions.remove(name);
            dropped.push(reference.clone());
        }
    }

    fn subscriptions(&mut self, added: &[Reference], dropped: &[Reference]) -> Vec<Outgoing> {
        let mut out = Vec::new();
        for kind in [ResourceKind::Endpoints, ResourceKind::Secret, ResourceKind::Route] {
            let of_kind = |all: &[Reference]| -> Vec<Arc<str>> {
                all.iter().filter(|(of, _)| *of == kind).map(|(_, name)| Arc::clone(name)).collect()
            };
            let (names, dropped) = (of_kind(added), of_kind(dropped));
            if names.is_empty() && dropped.is_empty() {
                continue;
            }
            self.of(kind).asked = true;
            out.push(match self.dialect {
                DialectKind::Delta => Outgoing { names, dropped, ..request(kind) },
                DialectKind::Sotw => {
                    let names = self.all_wanted(kind);
                    let OfKind { nonce, version, .. } = self.of(kind);
                    Outgoing { nonce: nonce.clone(), version: version.clone(), names, ..request(kind) }
                }
            });
        }
        out
    }

    fn all_wanted(&mut self, kind: ResourceKind) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.of(kind).wanted.keys().cloned().collect();
        names.sort();
        names
    }

    fn of(&mut self, kind: ResourceKind) -> &mut OfKind {
        &mut self.kinds[kind as usize]
    }

    fn is_answered(&self, kind: ResourceKind) -> bool {
        self.kinds[kind as usize].answered
    }
}

fn request(kind: ResourceKind) -> Outgoing {
    let (nonce, version) = (String::new(), String::new());
    Outgoing { kind, nonce, version, names: Vec::new(), dropped: Vec::new(), held: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, references: &[(ResourceKind, &str)]) -> Arc<Known> {
        let references = references.iter().map(|(kind, name)| (*kind, Arc::from(*name))).collect();
        Arc::new(Known { name: name.into(), references })
    }

    fn response<'a>(
        kind: ResourceKind,
        known: Vec<Arc<Known>>,
        names: &[&'a str],
        removed: &[&'a str],
    ) -> Incoming<'a> {
        let (names, removed) = (names.to_vec(), removed.to_vec());
        let versions = names.iter().map(|name| (*name, "v1")).collect();
        Incoming { kind, nonce: "a nonce", version: "v1", known, names, removed, versions }
    }

    fn shown(out: &[Outgoing]) -> Vec<String> {
        let show = |one: &Outgoing| {
            let names = |sign: &str, all: &[Arc<str>]| {
                all.iter().map(|name| format!(" {sign}{name}")).collect::<String>()
            };
            let acknowledges = if one.nonce.is_empty() { "" } else { "ack " };
            format!("{acknowledges}{}{}{}", one.kind, names("+", &one.names), names("-", &one.dropped))
        };
        out.iter().map(show).collect()
    }

    #[test]
    fn it_asks_as_envoy_does_and_acknowledges_first() {
        use ResourceKind::{Cluster, Endpoints, Listener, Route, Secret};
        let mut proxy = SimulatedProxy::new(DialectKind::Delta);
        assert_eq!(shown(&proxy.start()), ["cluster"]);
        let cluster = known("c", &[(Endpoints, "c"), (Secret, "cert")]);
        let out = proxy.on_response(response(Cluster, vec![cluster], &[], &[]));
        assert_eq!(shown(&out), ["ack cluster", "endpoints +c", "secret +cert"]);
        assert_eq!(shown(&proxy.on_response(response(Secret, vec![], &["cert"], &[]))), ["ack secret"]);
        let out = proxy.on_response(response(Endpoints, vec![], &["c"], &[]));
        assert_eq!(shown(&out), ["ack endpoints", "listener"]);
        assert!(!proxy.is_synced());
        let listener = known("l", &[(Route, "r"), (Secret, "cert")]);
        let out = proxy.on_response(response(Listener, vec![listener], &[], &[]));
        assert_eq!(shown(&out), ["ack listener", "route +r"]);
        assert!(!proxy.is_synced());
        proxy.on_response(response(Route, vec![], &["r"], &[]));
        assert!(proxy.is_synced());
        let out = proxy.on_response(response(Cluster, vec![], &[], &["c"]));
        assert_eq!(shown(&out), ["ack cluster", "endpoints -c"], "the secret is still the listener's");
        assert!(proxy.is_synced());
    }

    #[test]
    fn in_a_new_stream_it_asks_for_all_that_it_wants_and_says_what_it_has() {
        use ResourceKind::{Cluster, Endpoints, Secret};
        let mut proxy = SimulatedProxy::new(DialectKind::Delta);
        proxy.start();
        let cluster = known("c", &[(Endpoints, "c"), (Secret, "cert")]);
        proxy.on_response(response(Cluster, vec![cluster], &[], &[]));
        proxy.on_response(response(Secret, vec![], &["cert"], &[]));
        let again = proxy.start();
        assert_eq!(shown(&again), ["cluster", "endpoints +c", "secret +cert"]);
        let held: Vec<usize> = again.iter().map(|request| request.held.len()).collect();
        assert_eq!((held, &*again[2].held[0].1), (vec![0, 0, 1], "v1"));
    }

    #[test]
    fn a_proxy_without_clusters_asks_for_listeners_at_once() {
        let mut proxy = SimulatedProxy::new(DialectKind::Delta);
        proxy.start();
        let out = proxy.on_response(response(ResourceKind::Cluster, vec![], &[], &[]));
        assert_eq!(shown(&out), ["ack cluster", "listener"]);
    }

    #[test]
    fn in_the_state_of_the_world_all_names_are_said_each_time() {
        use ResourceKind::{Cluster, Endpoints};
        let mut proxy = SimulatedProxy::new(DialectKind::Sotw);
        proxy.start();
        let (a, b) = (known("a", &[(Endpoints, "a")]), known("b", &[(Endpoints, "b")]));
        let out = proxy.on_response(response(Cluster, vec![Arc::clone(&a)], &[], &[]));
        assert_eq!(shown(&out), ["ack cluster", "endpoints +a"]);
        proxy.on_response(response(Endpoints, vec![], &["a"], &[]));
        let out = proxy.on_response(response(Cluster, vec![a, Arc::clone(&b)], &[], &[]));
        assert_eq!(shown(&out), ["ack cluster", "ack endpoints +a +b"]);
        let out = proxy.on_response(response(Cluster, vec![b], &[], &[]));
        assert_eq!(shown(&out)[1], "ack endpoints +b", "what is not said any more is gone");
    }
}
