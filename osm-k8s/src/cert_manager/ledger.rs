//! Which requests are waited for, and which are to be deleted. Pure: it is told the time.
//!
//! Requests are known by their uid, which only the answer to their creation tells: what others write under our labels
//! is never taken for an answer. A request goes when nobody waits for it any more; one of another process, which may be
//! about to read it, goes when it has been there for longer than anybody waits. How long that is, is judged by how
//! long it was seen, so that clocks that differ do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::request::{Open, Shown, State};

/// How long a request may be seen before the answer to its creation comes.
const UNKNOWN: Duration = Duration::from_secs(20);
/// How long a finished request of another process is left to it.
const FINISHED: Duration = Duration::from_secs(60);
/// How long one is left that is not finished.
const ABANDONED: Duration = Duration::from_secs(600);
/// When a deletion is tried again that has had no effect.
const AGAIN: Duration = Duration::from_secs(30);

/// Who waits: a number for each call.
pub(super) type Ticket = u64;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Tell the one who waits.
    Answer(Ticket, Outcome),
    /// Delete a request: this one, not another of that name.
    Delete(Identity),
}

/// What has become of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered like this.
    Final(State),
    /// Not in time; this far it was.
    Silent(Open),
    /// Somebody has deleted it.
    Gone,
}

/// Which request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) uid: String,
    pub(super) name: String,
}

/// The requests of one mesh, as this process sees them.
#[derive(Debug)]
pub(super) struct Ledger {
    requester: String,
    patience: Duration,
    requests: BTreeMap<String, Request>,
    /// Those that a list has not shown yet, while it is read.
    unlisted: BTreeSet<String>,
}

#[derive(Debug)]
struct Request {
    name: String,
    state: State,
    owner: Owner,
    /// When it was seen first, or finished.
    since: Instant,
    deleted: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Somebody waits here, and since when.
    Waiting(Ticket, Instant),
    /// It has our label, and its creation has not been answered.
    Unknown,
    /// Nobody needs it.
    Nobody,
    /// Another process.
    Other,
}

impl Ledger {
    /// Nothing is known yet. Who waits is told after `patience`.
    pub(super) fn new(requester: &str, patience: Duration) -> Self {
        let (requests, unlisted) = (BTreeMap::new(), BTreeSet::new());
        Self { requester: requester.to_owned(), patience, requests, unlisted }
    }

    /// Whether nothing happens with time.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let owners = self.requests.values().map(|request| request.owner);
        owners.filter(|owner| matches!(owner, Owner::Waiting(..))).count()
    }

    /// Takes in that a request was created; for nobody, if who asked has gone meanwhile.
    pub(super) fn on_created(&mut self, id: Identity, ticket: Option<Ticket>, now: Instant) -> Vec<Act> {
        let Identity { uid, name } = id;
        let state = State::Open(Open::Unseen);
        let new = Request { name, state, owner: Owner::Unknown, since: now, deleted: None };
        let request = self.requests.entry(uid.clone()).or_insert(new);
        request.owner = ticket.map_or(Owner::Nobody, |ticket| Owner::Waiting(ticket, now));
        self.settle(&uid, now)
    }

    /// Takes in a request as it is now.
    pub(super) fn on_shown(&mut self, shown: Shown, now: Instant) -> Vec<Act> {
        let Shown { uid, name, requester, state } = shown;
        self.unlisted.remove(&uid);
        let owner = if requester == self.requester { Owner::Unknown } else { Owner::Other };
        let open = State::Open(Open::Unseen);
        let new = Request { name, state: open, owner, since: now, deleted: None };
        let request = self.requests.entry(uid.clone()).or_insert(new);
        if request.state.is_open() && !state.is_open() {
            request.since = now;
        }
        request.state = state;
        self.settle(&uid, now)
    }

    /// Takes in that a request is gone.
    pub(super) fn on_gone(&mut self, uid: &str) -> Vec<Act> {
        match self.requests.remove(uid).map(|request| request.owner) {
            Some(Owner::Waiting(ticket, _)) => vec![Act::Answer(ticket, Outcome::Gone)],
            _ => Vec::new(),
        }
    }

    /// Takes in that nobody waits any more.
    pub(super) fn on_taken_back(&mut self, ticket: Ticket, now: Instant) -> Vec<Act> {
        let is_its = |request: &Request| matches!(request.owner, Owner::Waiting(of, _) if of == ticket);
        let found = self.requests.iter_mut().find(|(_, request)| is_its(request));
        let Some((uid, request)) = found else { return Vec::new() };
        request.owner = Owner::Nobody;
        let uid = uid.clone();
        self.settle(&uid, now)
    }

    /// Takes in that all requests follow.
    pub(super) fn on_list_begun(&mut self) {
        self.unlisted = self.requests.keys().cloned().collect();
    }

    /// Takes in that those were all. What is waited for may be younger than the list.
    pub(super) fn on_list_done(&mut self) {
        for uid in std::mem::take(&mut self.unlisted) {
            let is_needed = |request: &Request| matches!(request.owner, Owner::Waiting(..));
            if !self.requests.get(&uid).is_some_and(is_needed) {
                self.requests.remove(&uid);
            }
        }
    }

    /// What time has brought.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Act> {
        let all: Vec<String> = self.requests.keys().cloned().collect();
        all.iter().flat_map(|uid| self.settle(uid, now)).collect()
    }

    /// What follows from how a request stands.
    fn settle(&mut self, uid: &str, now: Instant) -> Vec<Act> {
        let Some(request) = self.requests.get_mut(uid) else { return Vec::new() };
        let mut acts = Vec::new();
        if let Owner::Waiting(ticket, since) = request.owner {
            let outcome = match &request.state {
                State::Open(open) if now >= since + self.patience => Outcome::Silent(open.clone()),
                State::Open(_) => return acts,
                answered => Outcome::Final(answered.clone()),
            };
            acts.push(Act::Answer(ticket, outcome));
            request.owner = Owner::Nobody;
        }
        let left = match request.owner {
            Owner::Unknown => UNKNOWN,
            Owner::Other if request.state.is_open() => ABANDONED,
            Owner::Other => FINISHED,
            Owner::Waiting(..) | Owner::Nobody => Duration::ZERO,
        };
        let is_tried = request.deleted.is_some_and(|deleted| now < deleted + AGAIN);
        if now >= request.since + left && !is_tried {
            request.deleted = Some(now);
            acts.push(Act::Delete(Identity { uid: uid.to_owned(), name: request.name.clone() }));
        }
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert_manager::request::Issued;

    const PATIENCE: Duration = Duration::from_secs(25);

    fn id(uid: &str) -> Identity {
        Identity { uid: uid.to_owned(), name: format!("osm-{uid}") }
    }

    fn shown(uid: &str, requester: &str, state: State) -> Shown {
        Shown { uid: uid.to_owned(), name: format!("osm-{uid}"), requester: requester.to_owned(), state }
    }

    fn open() -> State {
        State::Open(Open::Approved)
    }

    fn issued() -> State {
        State::Issued(Issued { certificate: b"A".to_vec(), authority: Vec::new() })
    }

    fn delete(uid: &str) -> Act {
        Act::Delete(id(uid))
    }

    fn ledger() -> (Ledger, Instant) {
        (Ledger::new("us", PATIENCE), Instant::now())
    }

    #[test]
    fn an_answer_is_given_to_who_waits_and_its_request_goes() {
        let (mut ledger, now) = ledger();
        assert_eq!(ledger.on_created(id("a"), Some(7), now), []);
        assert_eq!(ledger.on_shown(shown("a", "us", open()), now), []);
        assert_eq!(ledger.waiting(), 1);
        let answered = ledger.on_shown(shown("a", "us", issued()), now);
        assert_eq!(answered, [Act::Answer(7, Outcome::Final(issued())), delete("a")]);
        assert_eq!(ledger.on_shown(shown("a", "us", issued()), now), [], "it is under way");
        assert_eq!((ledger.on_gone("a"), ledger.is_empty()), (vec![], true));
    }

    #[test]
    fn an_answer_that_comes_before_the_one_to_its_creation_is_kept() {
        let (mut ledger, now) = ledger();
        assert_eq!(ledger.on_shown(shown("a", "us", issued()), now), []);
        let answered = ledger.on_created(id("a"), Some(7), now);
        assert_eq!(answered, [Act::Answer(7, Outcome::Final(issued())), delete("a")]);
    }

    #[test]
    fn what_others_write_under_our_label_is_no_answer_and_goes() {
        let (mut ledger, now) = ledger();
        ledger.on_created(id("a"), Some(7), now);
        assert_eq!(ledger.on_shown(shown("forged", "us", issued()), now), []);
        assert_eq!(ledger.due(now + UNKNOWN), [delete("forged")]);
    }

    #[test]
    fn who_waits_is_told_after_a_while_how_far_it_came() {
        let (mut ledger, now) = ledger();
        ledger.on_created(id("a"), Some(7), now);
        assert_eq!(ledger.due(now + PATIENCE / 2), []);
        ledger.on_shown(shown("a", "us", open()), now);
        let told = Act::Answer(7, Outcome::Silent(Open::Approved));
        assert_eq!(ledger.due(now + PATIENCE), [told, delete("a")]);
    }

    #[test]
    fn a_request_goes_when_who_waits_does() {
        let (mut ledger, now) = ledger();
        ledger.on_created(id("a"), Some(7), now);
        assert_eq!(ledger.on_taken_back(7, now), [delete("a")]);
        assert_eq!(ledger.on_taken_back(7, now), []);
        assert_eq!(ledger.on_created(id("b"), None, now), [delete("b")], "it came too late");
    }

    #[test]
    fn a_request_that_somebody_deletes_is_told() {
        let (mut ledger, now) = ledger();
        ledger.on_created(id("a"), Some(7), now);
        assert_eq!(ledger.on_gone("a"), [Act::Answer(7, Outcome::Gone)]);
    }

    #[test]
    fn requests_of_another_process_go_when_nobody_can_wait_for_them_any_more() {
        let (mut ledger, now) = ledger();
        ledger.on_shown(shown("open", "dead", open()), now);
        ledger.on_shown(shown("done", "dead", issued()), now);
        assert_eq!(ledger.due(now + FINISHED / 2), []);
        ledger.on_shown(shown("late", "alive", open()), now);
        ledger.on_shown(shown("late", "alive", issued()), now + FINISHED / 2);
        assert_eq!(ledger.due(now + FINISHED), [delete("done")]);
        assert_eq!(ledger.due(now + FINISHED + FINISHED / 2), [delete("done"), delete("late")]);
        let due = ledger.due(now + ABANDONED);
        assert!(due.contains(&delete("open")), "{due:?}");
    }

    #[test]
    fn a_deletion_without_effect_is_tried_again_now_and_then() {
        let (mut ledger, now) = ledger();
        assert_eq!(ledger.on_created(id("a"), None, now), [delete("a")]);
        assert_eq!(ledger.due(now + AGAIN / 2), []);
        assert_eq!(ledger.due(now + AGAIN), [delete("a")]);
    }

    #[test]
    fn what_a_list_does_not_show_is_gone_unless_it_is_waited_for() {
        let (mut ledger, now) = ledger();
        ledger.on_created(id("a"), Some(7), now);
        ledger.on_shown(shown("b", "dead", open()), now);
        ledger.on_list_begun();
        ledger.on_list_done();
        assert_eq!((ledger.waiting(), ledger.requests.len()), (1, 1));
        ledger.on_list_begun();
        ledger.on_shown(shown("a", "us", open()), now);
        ledger.on_list_done();
        assert_eq!(ledger.requests.len(), 1);
    }
}
