//! The core of a session: acknowledgements and refusals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use osm_core::diagnostic::harmless;

use super::core::Core;
use super::in_flight::{Item, Nonce, Record, Said};
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
        let Some(record) = Nonce::parse(nonce).and_then(|nonce| self.kind_mut(kind).answered(nonce)) else {
            return received;
        };
        match refusal {
            None => received.acknowledged = Some(now.saturating_duration_since(record.sent_at)),
            Some(message) => received.nack = Some(self.refuse(kind, record, message)),
        }
        if kind != ResourceKind::Endpoints && kind != ResourceKind::Secret {
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
    /// alone is not sent again until it changes; of several, each is sent again
    /// by itself, so that the good ones arrive and the bad ones are found.
    fn refuse(&mut self, kind: ResourceKind, record: Record, message: &str) -> Arc<Nack> {
        let nonce = record.nonce;
        let resources = record.items().iter().filter_map(|item| item.resource());
        let suspects: Vec<_> = resources.map(|resource| Rejected::new(resource)).collect();
        let blame = match suspects.len() {
            _ if record.tainted => Blame::Unknown,
            0 => Blame::Nothing,
            1 => Blame::TheOne,
            _ => Blame::Unknown,
        };
        let message = harmless(message, MAX_MESSAGE).into_owned();
        let nack = Arc::new(Nack { kind, nonce, message, suspects });
        let Some(base) = self.base().cloned() else { return nack };
        let repeats = self.is_whole(kind);
        let state = self.kind_mut(kind);
        match state.in_flight.front_mut() {
            // The next one has all that this one had: its answer counts.
            Some(next) if repeats && blame == Blame::Unknown => next.absorb(record),
            _ => {
                if repeats {
                    state.in_flight.iter_mut().for_each(|record| record.tainted = true);
                }
                state.take_back(record, &base, blame, repeats, &nack);
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
}

impl KindState {
    /// The record of this nonce; those before it are settled with it, since a
    /// proxy answers in order.
    fn answered(&mut self, nonce: Nonce) -> Option<Record> {
        let place = self.in_flight.iter().position(|record| record.nonce == nonce)?;
        let record = self.in_flight.drain(..=place).next_back();
        if self.in_flight.is_empty() {
            self.in_flight.shrink_to(4);
        }
        record
    }

    /// Corrects what the proxy was taken to have. It may have applied parts of
    /// what it refused, so what is not at fault is said again in any case.
    fn take_back(&mut self, record: Record, base: &View, blame: Blame, repeats: bool, nack: &Arc<Nack>) {
        if blame == Blame::Nothing {
            return;
        }
        for item in record.into_items() {
            let (name, said) = (item.name().clone(), item.now());
            if repeats && item.resource().is_none() {
                // Each response that follows says it again by its silence.
                self.owes_answer = true;
                continue;
            }
            // A newer response speaks of it: the proxy's answer to that one counts.
            if let Some(newer) = self.in_flight.iter_mut().find_map(|record| record.item_mut(&name)) {
                if newer.had.same(&said) {
                    let doubtful = item.doubtful || blame == Blame::Unknown || item.resource().is_none();
                    (newer.had, newer.doubtful) = (item.had, doubtful);
                }
                continue;
            }
            // Since then it was given up, and perhaps asked for anew.
            if self.refused.contains_key(&name) || !self.has(&name, Some(base)).same(&said) {
                continue;
            }
            self.account(&name, &said, &item.had);
            let pending = self.take_pending(&name);
            let target = base.get(&self.key(&name));
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
                    let doubtful = pending.doubtful || item.doubtful;
                    self.ready.insert(name, Pending { has: item.had, doubtful, ..pending });
                }
                said => {
                    let pinned = said.into_resource().filter(|_| is_target);
                    let again = Pending { pinned, forced: is_asked, ..Pending::again(item.had) };
                    self.ready.insert(name, again);
                }
            }
        }
    }
}
