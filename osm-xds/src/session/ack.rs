//! The core of a session: acknowledgements and refusals.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use osm_core::diagnostic::harmless;

use super::core::Core;
use super::in_flight::{Has, Item, Nonce, Record, Said};
use super::kind::{KindState, Pending, Refused};
use super::status::{Nack, Received, Rejected};
use crate::resource::{ResourceKind, ResourceName};
use crate::view::View;

/// How much of a proxy's message is kept, in characters.
const MAX_MESSAGE: usize = 1024;

impl Core {
    /// Takes the answer to a response, if the request is one to a response that
    /// still waits; anything else is stale and ignored.
    pub(super) fn on_answer(
        &mut self,
        kind: ResourceKind,
        nonce: &str,
        refusal: Option<&str>,
        now: Instant,
    ) -> Received {
        let mut received = Received { kind: Some(kind), ..Received::default() };
        let is_accepted = refusal.is_none();
        let answered = |nonce| self.kind_mut(kind).answered(nonce, is_accepted);
        let Some(record) = Nonce::parse(nonce).and_then(answered) else {
            return received;
        };
        match refusal {
            None => received.acknowledged = Some(now.saturating_duration_since(record.sent_at)),
            Some(message) => received.nack = Some(self.refuse(kind, record, message)),
        }
        if kind == ResourceKind::Secret {
            self.say_what_is_uncertain();
        } else if kind != ResourceKind::Endpoints {
            self.release_held(false);
        }
        self.note_sync();
        received
    }

    /// The clusters that were sent and not acknowledged yet, and whose endpoints
    /// were not told since.
    pub(super) fn warming(&self) -> BTreeSet<ResourceName> {
        let told_since = |nonce: Nonce, name: &ResourceName| {
            let records = self.kind(ResourceKind::Endpoints).in_flight.iter();
            records.filter(|record| record.nonce > nonce).any(|record| record.item(name).is_some())
        };
        let mut warming = BTreeSet::new();
        for record in &self.kind(ResourceKind::Cluster).in_flight {
            let names = record.items().iter().map(Item::name);
            warming.extend(names.filter(|name| !told_since(record.nonce, name)).cloned());
        }
        warming
    }

    /// Takes back what a refused response said. A resource that was refused
    /// alone is not sent again until it changes, nor are those that the proxy
    /// names: Envoy says which clusters and listeners it means. If it names none of
    /// several, each is sent again by itself, so that the good ones arrive and the
    /// bad ones are found; in a response that holds everything that takes the others
    /// away for a while.
    fn refuse(&mut self, kind: ResourceKind, record: Record, message: &str) -> Arc<Nack> {
        let nonce = record.nonce;
        let repeats = self.is_whole(kind);
        let named = Some(self.kind(kind)).filter(|_| kind.has_wildcard());
        let named = named.and_then(|state| state.named(&record, message));
        let named = named.filter(|named| repeats || !named.is_empty());
        let is_suspect = |item: &&Item| named.as_ref().is_none_or(|named| named.contains(item.name()));
        let resources = record.items().iter().filter(is_suspect).filter_map(|item| item.resource());
        let mut suspects: Vec<_> = resources.map(|resource| Rejected::new(resource)).collect();
        if named.as_ref().is_some_and(BTreeSet::is_empty) {
            let known = self.kind(kind).refused.values().map(|refused| &refused.resource);
            let meant = known.filter(|resource| mentions(message, resource.key.name.as_str()));
            suspects.extend(meant.map(|resource| Rejected::new(resource)));
        }
        let blame = match suspects.len() {
            _ if record.tainted => Blame::Unknown,
            0 => Blame::Nothing,
            1 => Blame::TheOne,
            _ => Blame::Unknown,
        };
        let message = harmless(message, MAX_MESSAGE).into_owned();
        let nack = Arc::new(Nack { kind, nonce, message, suspects });
        let Some(base) = self.base().cloned() else { return nack };
        let state = self.kind_mut(kind);
        match (named, state.in_flight.front_mut()) {
            (Some(named), _) => {
                let are_tainted = repeats && !named.is_empty();
                state.in_flight.iter_mut().for_each(|record| record.tainted |= are_tainted);
                state.take_back_named(record, &named, &base, repeats, &nack);
            }
            // The next one has all that this one had: its answer counts.
            (None, Some(next)) if repeats && blame == Blame::Unknown => {
                next.absorb(record.into_items(), false)
            }
            (None, _) => {
                if repeats {
                    state.in_flight.iter_mut().for_each(|record| record.tainted = true);
                }
                state.take_back(record.into_items(), &base, blame, repeats, &nack);
            }
        }
        nack
    }
}

/// What a refusal says about the resources of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// There is none: what is gone can't be at fault.
    Nothing,
    /// There is one, and it is at fault.
    TheOne,
    /// Any of them, or something that was refused before.
    Unknown,
    /// Others: the proxy may have applied these, and may not.
    Others,
}

impl KindState {
    /// The record of this nonce; those before it are settled with it, since a
    /// proxy answers in order.
    fn answered(&mut self, nonce: Nonce, is_accepted: bool) -> Option<Record> {
        // When it read that, and whatever it was sent before, it had asked for nothing that is not known by now.
        self.let_go.take_if(|in_doubt| *in_doubt <= nonce);
        let place = self.in_flight.iter().position(|record| record.nonce == nonce)?;
        self.doubt_answered(place, is_accepted);
        let record = self.in_flight.drain(..=place).next_back();
        if self.in_flight.is_empty() {
            // Most of the time nothing is on its way: then there is no room for it either.
            self.in_flight = VecDeque::new();
        }
        record
    }

    /// The names in a response that the message of its refusal names; `None` when
    /// it names none of this response, and none that was refused before and that
    /// the response repeats.
    fn named(&self, record: &Record, message: &str) -> Option<BTreeSet<ResourceName>> {
        let is_named = |name: &&ResourceName| mentions(message, name.as_str());
        let changed = record.items().iter().filter(|item| item.resource().is_some()).map(Item::name);
        let named: BTreeSet<_> = changed.filter(is_named).cloned().collect();
        let pending = self.ready.iter().chain(&self.held);
        let repeats = |pending: &Pending| record.tainted || matches!(pending.has, Has::Kept(_));
        let kept = pending.filter(|(_, pending)| repeats(pending)).map(|(name, _)| name);
        // What was kept and has changed since is in a newer response already.
        let newer = self.in_flight.iter().flat_map(Record::items);
        let newer = newer.filter(|item| record.tainted || matches!(item.had, Has::Kept(_))).map(Item::name);
        let is_known = self.refused.keys().chain(kept).chain(newer).any(|name| is_named(&name));
        (is_known || !named.is_empty()).then_some(named)
    }

    /// Takes back what is named, and says the rest again together. If nothing new is
    /// named, the response was refused for what it repeats: where any other would
    /// be refused for that as well, the rest is taken to be in force.
    fn take_back_named(
        &mut self,
        record: Record,
        named: &BTreeSet<ResourceName>,
        base: &View,
        repeats: bool,
        nack: &Arc<Nack>,
    ) {
        if named.is_empty() && !record.tainted {
            return;
        }
        let (bad, others): (Vec<_>, Vec<_>) =
            record.into_items().into_iter().partition(|item| named.contains(item.name()));
        self.take_back(bad, base, Blame::TheOne, repeats, nack);
        match self.in_flight.front_mut().filter(|_| repeats) {
            Some(next) => next.absorb(others, true),
            None => self.take_back(others, base, Blame::Others, repeats, nack),
        }
    }

    /// Corrects what the proxy was taken to have. It may have applied parts of
    /// what it refused, so what is not at fault is said again in any case.
    fn take_back(&mut self, items: Vec<Item>, base: &View, blame: Blame, repeats: bool, nack: &Arc<Nack>) {
        if blame == Blame::Nothing {
            return;
        }
        for mut item in items {
            let (name, said) = (item.name().clone(), item.now());
            item.doubtful |= self.doubt(&name, nack.nonce);
            if repeats && item.resource().is_none() {
                // Each response that follows says it again by its silence.
                self.owes_answer = true;
                continue;
            }
            // A newer response speaks of it: the proxy's answer to that one counts.
            if let Some(newer) = self.in_flight.iter_mut().find_map(|record| record.item_mut(&name)) {
                if newer.had.same(&said) {
                    let doubtful = item.doubtful || blame != Blame::TheOne || item.resource().is_none();
                    newer.doubtful = doubtful;
                    if blame != Blame::Others {
                        newer.had = item.had;
                    }
                }
                continue;
            }
            // Since then it was given up, and perhaps asked for anew.
            let is_current = self.interest.covers(&name) && self.has(&name, Some(base)).same(&said);
            if self.refused.contains_key(&name) || !is_current {
                continue;
            }
            if let (Said::Resource(resource), true, true) = (&item.said, repeats, blame == Blame::TheOne)
                && item.doubtful
                && item.had.nothing()
            {
                item.had = Has::Kept(Arc::clone(resource));
            }
            if blame == Blame::Others {
                item.had = item.now();
            }
            self.account(&name, &said, &item.had);
            let pending = self.take_pending(&name);
            let target = self.target(&name, base);
            let is_target = target.map(|target| target.version) == said.version();
            // Whoever asked since then is answered once more.
            let is_asked = pending.as_ref().is_some_and(|pending| pending.forced);
            match item.said {
                Said::Resource(resource) if blame == Blame::TheOne && is_target && !is_asked => {
                    let nack = Arc::clone(nack);
                    let refused = Refused { resource, last_good: item.had, doubtful: item.doubtful, nack };
                    self.refused.insert(name, refused);
                }
                Said::Resource(_) if blame == Blame::TheOne => {
                    let pending = pending.unwrap_or_else(|| Pending::new(item.had.clone()));
                    // Nothing of refused endpoints is applied, and their cluster starts without
                    // any. To say the last ones again when they are gone would never end.
                    let is_answered = self.kind == ResourceKind::Endpoints && target.is_none();
                    let doubtful = !is_answered && (pending.doubtful || item.doubtful);
                    let pending = Pending { has: item.had, doubtful, ..pending };
                    // What was refused may be gone by now: then nothing is left to say of it.
                    if !pending.is_moot(target.map(|target| target.version)) {
                        self.ready.insert(name, pending);
                    }
                }
                said => {
                    let pinned = said.into_resource().filter(|_| is_target);
                    let alone = blame != Blame::Others;
                    let again = Pending { pinned, forced: is_asked, alone, ..Pending::again(item.had) };
                    self.ready.insert(name, again);
                }
            }
        }
    }
}

/// Whether a message names this resource: the name stands in it, and is no part
/// of a longer one. Envoy names the clusters and listeners that it refuses.
fn mentions(message: &str, name: &str) -> bool {
    let goes_on = |next: char| next.is_alphanumeric() || "-_./|".contains(next);
    message.match_indices(name).any(|(place, _)| {
        let before = message[..place].chars().next_back();
        let after = message[place + name.len()..].chars().next();
        !before.is_some_and(goes_on) && !after.is_some_and(goes_on)
    })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_message_names_whole_names() {
        let message = "Error adding/updating cluster(s) shop/till|80: bad, shop/s10|80|local: bad";
        assert!(mentions(message, "shop/till|80") && mentions(message, "shop/s10|80|local"));
        assert!(
            !mentions(message, "shop/s1") && !mentions(message, "till") && !mentions(message, "shop/s10|80")
        );
    }
}
