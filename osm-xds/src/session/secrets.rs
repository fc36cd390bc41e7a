//! What a proxy may have of certificates and trust.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::Core;
use super::in_flight::{Has, Item, Nonce, Record};
use super::kind::{KindState, Pending};
use crate::generate::names::CERTIFICATE_SECRET;
use crate::resource::{Resource, ResourceKind, ResourceName};
use crate::view::View;

/// What a proxy may have of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrets {
    /// It has none, and nothing that it has needs one.
    None,
    /// It may have some, and it is not known which.
    Unknown,
    /// It has asked for these. Of what stands under each name it has one.
    These(Vec<(ResourceName, Vec<Possible>)>),
}

/// What a proxy may have under a name; `Err` is something that nobody here knows.
pub type Possible = Result<Arc<Resource>, UnknownSecret>;

/// A secret from before this stream, or one that was refused and may have been applied in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSecret;

impl Core {
    /// What the proxy may have of its secrets. Costs as much as it has of them.
    pub(super) fn secrets(&self) -> Secrets {
        let state = self.kind(ResourceKind::Secret);
        // No proxy of ours asks for all of them.
        let is_told = !state.interest.wildcard && state.let_go.is_none();
        let Some(base) = self.base().filter(|_| is_told) else { return Secrets::Unknown };
        // What it let go of may be asked for anew, in a request that is on its way, and then be read.
        let let_go = state.in_flight.iter().flat_map(Record::items).map(Item::name);
        let names: BTreeSet<_> = state.interest.names.iter().chain(let_go).collect();
        if names.is_empty() {
            let is_without = self.needs_no_secret(base);
            return if is_without { Secrets::None } else { Secrets::Unknown };
        }
        Secrets::These(names.into_iter().map(|name| (name.clone(), possible(state, name, base))).collect())
    }

    /// Whether the proxy has just what the view says, and nothing of that names the secret by which it would prove itself.
    /// A listener that does may be there before its proxy asks. A client that does not ask for all clusters and listeners is
    /// no Envoy: it has its certificates from files, of which nothing is known here.
    fn needs_no_secret(&self, base: &View) -> bool {
        let name = CERTIFICATE_SECRET.as_bytes();
        let names_it = |resource: &Arc<Resource>| resource.body.windows(name.len()).any(|part| part == name);
        [ResourceKind::Cluster, ResourceKind::Listener].into_iter().all(|kind| {
            let state = self.kind(kind);
            state.interest.wildcard && state.is_as_viewed() && !base.iter(kind).any(names_it)
        })
    }

    /// Has what is uncertain said again when the proxy has answered all that was said: its answer will tell.
    pub(super) fn say_what_is_uncertain(&mut self) {
        let base = self.base().cloned();
        let state = self.kind_mut(ResourceKind::Secret);
        if !state.in_flight.is_empty() {
            return;
        }
        let is_open =
            |name: &&ResourceName| state.pending(name).is_none() && !state.refused.contains_key(*name);
        let names: Vec<_> = state.uncertain.keys().filter(is_open).cloned().collect();
        for name in names {
            let has = state.has(&name, base.as_deref());
            state.ready.insert(name, Pending { doubtful: true, ..Pending::new(has) });
        }
    }
}

impl KindState {
    /// Notes that what the proxy has under a name is not known until it accepts something that is said after this
    /// response. Says whether it was not known before.
    pub(super) fn doubt(&mut self, name: &ResourceName, said: Nonce) -> bool {
        if self.kind != ResourceKind::Secret || !self.interest.covers(name) {
            return false;
        }
        let known = self.uncertain.entry(name.clone()).or_default();
        let was_uncertain = *known != Nonce::default();
        *known = said.max(*known);
        was_uncertain
    }

    /// Takes note that a name is about to be asked for, of which the proxy is taken to have this. What is on its way
    /// may have come before it let go of the name, or may come after it asked anew.
    pub(super) fn doubt_asked(&mut self, name: &ResourceName, has: &Has) {
        let (ResourceKind::Secret, Some(last)) = (self.kind, self.last_nonce) else { return };
        let newest = self.in_flight.iter().rev().find_map(|record| record.item(name));
        let comes = newest.is_some_and(|item| !item.now().same(has));
        if self.let_go.is_some() || comes || self.pending(name).is_some_and(|pending| pending.doubtful) {
            self.uncertain.insert(name.clone(), last);
        }
    }

    /// Takes note of the answer to the response at this place.
    pub(super) fn doubt_answered(&mut self, place: usize, is_accepted: bool) {
        if self.kind != ResourceKind::Secret {
            return;
        }
        let told = self.in_flight.iter().take(place + usize::from(is_accepted));
        let names: Vec<_> = told
            .flat_map(|record| record.items().iter().map(|item| (item.name().clone(), record.nonce)))
            .collect();
        for (name, nonce) in names {
            if !is_accepted {
                // One answer for several: it may have refused this one.
                self.doubt(&name, nonce);
            } else if self.uncertain.get(&name).is_some_and(|since| *since < nonce) {
                self.uncertain.remove(&name);
            }
        }
    }

    /// Forgets the oldest response that was never answered. What became of it will not be known.
    pub(super) fn give_up_oldest(&mut self) {
        let Some(record) = self.in_flight.pop_front() else { return };
        for item in record.items() {
            if self.interest.covers(item.name()) {
                self.doubt(item.name(), record.nonce);
            } else if self.kind == ResourceKind::Secret {
                self.let_go = self.let_go.max(Some(record.nonce));
            }
        }
    }
}

/// What may be under a name: what was there before anything that is on its way, and each of that. Nothing at all is no secret
/// that could be used.
fn possible(state: &KindState, name: &ResourceName, base: &View) -> Vec<Possible> {
    let on_its_way = state.in_flight.iter().filter_map(|record| record.item(name));
    let mut possible = Vec::new();
    let mut add = |has: &Has| match has {
        Has::Nothing => {}
        Has::Resource(resource) => possible.push(Ok(Arc::clone(resource))),
        Has::Version(_) | Has::Unknown | Has::Kept(_) => possible.push(Err(UnknownSecret)),
    };
    let mut is_first = true;
    let mut is_doubtful = false;
    for item in on_its_way {
        if std::mem::take(&mut is_first) {
            add(&item.had);
        }
        add(&item.now());
        is_doubtful |= item.doubtful;
    }
    if is_first {
        add(&state.has(name, Some(base)));
    }
    let refused = state.refused.get(name);
    if let Some(refused) = refused {
        add(&Has::Resource(Arc::clone(&refused.resource)));
        is_doubtful |= refused.doubtful;
    }
    is_doubtful |= state.pending(name).is_some_and(|pending| pending.doubtful);
    // What was refused last is known, whether it was applied or not.
    is_doubtful |= state
        .uncertain
        .get(name)
        .is_some_and(|since| refused.is_none_or(|refused| refused.nack.nonce != *since));
    if is_doubtful {
        add(&Has::Unknown);
    }
    possible
}
