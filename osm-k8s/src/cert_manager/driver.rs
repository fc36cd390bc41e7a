//! The part of the issuer that asks the API server: it creates requests, watches all of them by one watch, and deletes
//! them. What is done when is the ledger's to say.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use osm_certs::issuer::IssuerError;
use osm_certs::request::SigningRequest;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use super::ledger::{Act, Identity, Ledger, Outcome, Ticket};
use super::options::CertManagerOptions;
use super::request::{self, Issued, Shown, State};
use super::trouble;
use crate::client::{ANSWER, ApiClient, bounded};

/// How often is looked at what time has brought.
const TICK: Duration = Duration::from_secs(1);
/// How many requests are deleted at a time.
const DELETIONS: usize = 16;

/// What the driver is told.
pub(super) enum Message {
    /// A certificate is asked for.
    Ask(Ask),
    /// Nobody waits for it any more.
    TakeBack(Ticket),
}

/// A call that waits.
pub(super) struct Ask {
    pub(super) ticket: Ticket,
    pub(super) request: SigningRequest,
    pub(super) reply: oneshot::Sender<Result<Issued, IssuerError>>,
}

/// What has come of a call to the API server.
enum Done {
    Created(Ticket, kube::Result<Option<Identity>>),
    Deleted(Identity, kube::Result<()>),
}

/// The part of a [`CertManagerIssuer`](super::CertManagerIssuer) that does the work, for a task of the caller's. When
/// it is dropped, calls are answered that requests have stopped; what is left of them is deleted by the next
/// process of the mesh.
pub struct CertManagerDriver {
    api: Api<DynamicObject>,
    options: CertManagerOptions,
    requester: String,
    messages: mpsc::UnboundedReceiver<Message>,
    ledger: Ledger,
    /// Those for whom no request was made yet.
    queue: VecDeque<Ask>,
    /// Those who wait for an answer.
    replies: BTreeMap<Ticket, oneshot::Sender<Result<Issued, IssuerError>>>,
    creating: usize,
    deletions: VecDeque<Identity>,
    deleting: usize,
    /// Why requests can't be watched.
    blind: Option<IssuerError>,
    /// Whether the watch is to begin anew, at once.
    is_to_look: bool,
    /// Whether it has begun anew since it failed.
    has_looked: bool,
}

impl CertManagerDriver {
    pub(super) fn new(
        server: &ApiClient,
        options: CertManagerOptions,
        requester: String,
        messages: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        Self {
            api: request::api(server.kube(), &options),
            ledger: Ledger::new(&requester, options.patience),
            options,
            requester,
            messages,
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            creating: 0,
            deletions: VecDeque::new(),
            deleting: 0,
            blind: None,
            is_to_look: false,
            has_looked: false,
        }
    }

    /// Has requests made, answered and deleted, until it is dropped.
    pub async fn run(mut self) {
        let config = Config::default().labels(&request::selector(&self.options));
        let watch =
            |api: &Api<DynamicObject>| Box::pin(watcher(api.clone(), config.clone()).default_backoff());
        let mut events = watch(&self.api);
        let mut calls = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if std::mem::take(&mut self.is_to_look) {
                events = watch(&self.api);
            }
            self.begin(&mut calls);
            tokio::select! {
                Some(message) = self.messages.recv() => {
                    self.on_message(message);
                    // What was taken back already is not begun.
                    while let Ok(message) = self.messages.try_recv() {
                        self.on_message(message);
                    }
                }
                Some(event) = events.next() => self.on_event(event),
                Some(done) = calls.next() => self.on_done(done),
                _ = ticks.tick(), if !self.ledger.is_empty() => {
                    let due = self.ledger.due(Instant::now());
                    self.act(due);
                }
            }
        }
    }

    /// Begins what may be begun.
    fn begin(&mut self, calls: &mut FuturesUnordered<BoxFuture<'static, Done>>) {
        while self.creating + self.ledger.waiting() < self.options.at_once.max(1)
            && let Some(Ask { ticket, request, reply }) = self.queue.pop_front()
        {
            self.creating += 1;
            self.replies.insert(ticket, reply);
            let object = request::object(&self.options, &self.requester, &request);
            let api = self.api.clone();
            let create = async move {
                let created = bounded(ANSWER, api.create(&PostParams::default(), &object)).await;
                Done::Created(ticket, created.map(|object| identity(&object)))
            };
            calls.push(Box::pin(create));
        }
        while self.deleting < DELETIONS
            && let Some(id) = self.deletions.pop_front()
        {
            self.deleting += 1;
            let api = self.api.clone();
            let preconditions = Preconditions { uid: Some(id.uid.clone()), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            let delete = async move {
                let deleted = bounded(ANSWER, api.delete(&id.name, &params)).await;
                Done::Deleted(id, deleted.map(drop))
            };
            calls.push(Box::pin(delete));
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Ask(ask) => self.queue.push_back(ask),
            Message::TakeBack(ticket) => {
                self.queue.retain(|ask| ask.ticket != ticket);
                self.replies.remove(&ticket);
                let acts = self.ledger.on_taken_back(ticket, Instant::now());
                self.act(acts);
            }
        }
    }

    fn on_event(&mut self, event: watcher::Result<Event<DynamicObject>>) {
        let now = Instant::now();
        match event {
            Err(error) => {
                if self.blind.is_none() {
                    tracing::warn!(%error, "requests to cert-manager cannot be watched");
                }
                self.blind = Some(trouble::of_watch(error, &self.options));
                self.has_looked = false;
                return;
            }
            Ok(Event::Init) => {
                self.ledger.on_list_begun();
                return;
            }
            Ok(Event::InitDone) => self.ledger.on_list_done(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                if let Some(shown) = Shown::read(&object) {
                    let acts = self.ledger.on_shown(shown, now);
                    self.act(acts);
                }
            }
            Ok(Event::Delete(object)) => {
                let acts = self.ledger.on_gone(object.metadata.uid.as_deref().unwrap_or_default());
                self.act(acts);
            }
        }
        self.blind = None;
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Created(ticket, created) => {
                self.creating -= 1;
                let error = match created {
                    Ok(Some(id)) => {
                        // Where requests can be made again, nobody waits until the watch is tried again.
                        self.is_to_look |=
                            self.blind.is_some() && !std::mem::replace(&mut self.has_looked, true);
                        let ticket = Some(ticket).filter(|ticket| self.replies.contains_key(ticket));
                        let acts = self.ledger.on_created(id, ticket, Instant::now());
                        return self.act(acts);
                    }
                    Ok(None) => IssuerError::unavailable("the API server made a request without a name"),
                    Err(error) => {
                        trouble::of_server("making a request to cert-manager", error, &self.options)
                    }
                };
                self.reply(ticket, Err(error));
            }
            Done::Deleted(id, deleted) => {
                self.deleting -= 1;
                match deleted {
                    Ok(()) => {}
                    // It is gone, or another has its name now.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                    Err(error) => {
                        tracing::warn!(name = id.name, %error, "a request to cert-manager cannot be deleted");
                        return;
                    }
                }
                let acts = self.ledger.on_gone(&id.uid);
                self.act(acts);
            }
        }
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Delete(id) => self.deletions.push_back(id),
                Act::Answer(ticket, outcome) => {
                    let answer = self.answer(outcome);
                    self.reply(ticket, answer);
                }
            }
        }
    }

    fn answer(&self, outcome: Outcome) -> Result<Issued, IssuerError> {
        let issuer = &self.options.issuer;
        match outcome {
            Outcome::Final(State::Issued(issued)) => Ok(issued),
            Outcome::Final(State::Refused(reason)) => {
                Err(IssuerError::refused(format!("the request to {issuer} has no certificate: {reason}")))
            }
            Outcome::Gone => Err(IssuerError::unavailable(format!(
                "somebody has deleted the request to {issuer} before it was answered"
            ))),
            Outcome::Silent(open) | Outcome::Final(State::Open(open)) => {
                Err(trouble::of_silence(&open, self.blind.as_ref(), &self.options))
            }
        }
    }

    fn reply(&mut self, ticket: Ticket, answer: Result<Issued, IssuerError>) {
        if let Some(reply) = self.replies.remove(&ticket) {
            // Who has gone needs no answer.
            drop(reply.send(answer));
        }
    }
}

impl fmt::Debug for CertManagerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertManagerDriver").field("options", &self.options).finish_non_exhaustive()
    }
}

fn identity(object: &DynamicObject) -> Option<Identity> {
    let uid = object.metadata.uid.clone()?;
    Some(Identity { uid, name: object.metadata.name.clone()? })
}
