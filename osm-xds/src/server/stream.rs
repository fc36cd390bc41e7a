//! One proxy's stream: the loop around its session.
//!
//! A stream is driven by the transport's own task, which asks for the next
//! response when it can send one: at most one is on its way to the transport, a
//! proxy that reads slowly holds up nobody else, and when it reads again it is
//! sent what is newest then. What the proxy may learn about a refusal is the text
//! of the status.

mod opening;

use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, Stream, stream};
use tonic::{Code, Status};

use super::account;
use super::dialect::{Protocol, is_synced};
use super::farewell::Reason;
use super::grpc::Requests;
use super::pace::Pace;
use super::peer::{Peer, Stay};
use super::refused::Refusing;
use super::registry::{Entry, Registration};
use super::shared::Shared;
use super::watch::{now, until};
use crate::metrics::Metrics;
use crate::session::Response;
use crate::view::ViewWatch;
use opening::Opening;

/// So many names cost as much as a request.
const NAMES_PER_CREDIT: usize = 32;

/// The responses of a stream, made as they are asked for. The last item may be
/// the status that ends it.
pub(super) fn responses<P: Protocol>(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    bearer: Option<String>,
    requests: Requests<P::Request>,
) -> impl Stream<Item = Result<Response, Status>> + Send + 'static {
    // A stream that is dropped before it ends was cancelled by the transport.
    let end = End { metrics: shared.metrics.clone(), code: Code::Cancelled };
    let stage = Stage::<P>::Opening(Box::new(Opening { shared, peer, bearer, requests }));
    stream::unfold((stage, end), |(stage, mut end)| async move {
        match stage.next().await? {
            Ok(Some((response, open))) => Some((Ok(response), (Stage::Open(open), end))),
            Ok(None) => {
                end.finish(Code::Ok);
                None
            }
            Err(status) => {
                end.finish(status.code());
                Some((Err(status), (Stage::Over, end)))
            }
        }
    })
}

/// Counts the end of a stream when it is dropped.
struct End {
    metrics: Metrics,
    code: Code,
}

impl End {
    fn finish(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        account::ended(&self.metrics, self.code);
    }
}

enum Stage<P: Protocol> {
    Opening(Box<Opening<P::Request>>),
    Open(Box<Open<P>>),
    Over,
}

/// What comes next in a stream: a response, and the stream to go on with; or
/// nothing, when the proxy ended it.
type Next<P> = Result<Option<(Response, Box<Open<P>>)>, Status>;

impl<P: Protocol> Stage<P> {
    async fn next(self) -> Option<Next<P>> {
        let mut open = match self {
            // Boxed: what authentication needs is not kept for as long as the stream is open.
            Self::Opening(opening) => match Box::pin(opening.open::<P>()).await {
                Ok(Some(open)) => Box::new(open),
                Ok(None) => return Some(Ok(None)),
                Err(status) => return Some(Err(status)),
            },
            Self::Open(open) => open,
            Self::Over => return None,
        };
        let next = open.next().await;
        if let Err(status) = &next {
            let stream = open.registration.id();
            tracing::debug!(stream, proxy = %open.entry.about.proxy, %status, "stream ends");
        }
        Some(next.map(|response| response.map(|response| (response, open))))
    }
}

/// A stream of a proxy that has proved who it is.
struct Open<P: Protocol> {
    shared: Arc<Shared>,
    requests: Requests<P::Request>,
    views: ViewWatch,
    entry: Arc<Entry<P>>,
    registration: Registration,
    /// The number of the view that was looked at last.
    seen: u64,
    stay: Stay,
    pace: Pace,
    refusing: Refusing,
    /// Since when the proxy lacks something.
    behind_since: Option<Instant>,
    seen_gate_timeouts: u64,
}

/// What an open stream waits for.
enum Event<R> {
    Request(R),
    View,
    Look,
    Ended,
}

impl<P: Protocol> Open<P> {
    /// The next response; `None` when the proxy ended the stream.
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        self.stay.gives(None);
        loop {
            // There may always be something to say: then no event is waited for.
            if self.shared.closing.is_cancelled() {
                return Err(shutting_down());
            }
            if let Some(reason) = self.stay.reason() {
                return Err(self.end(reason));
            }
            // What has come in meanwhile is seen first: the newest view, and one
            // request, so that one who only asks is still answered.
            if let Some(changed) = self.views.changed().now_or_never() {
                changed.map_err(|_| views_ended())?;
                self.on_view();
            }
            if self.may_read()
                && let Some(request) = self.requests.message().now_or_never()
            {
                let Some(request) = request? else { return Ok(None) };
                self.on_request(request)?;
            }
            if let Some(response) = self.respond() {
                self.stay.gives(Some(now()));
                return Ok(Some(response));
            }
            self.report();
            match self.event().await? {
                Event::Request(request) => self.on_request(request)?,
                Event::View => self.on_view(),
                Event::Look => {}
                Event::Ended => return Ok(None),
            }
        }
    }

    async fn event(&mut self) -> Result<Event<P::Request>, Status> {
        let may_read = self.may_read();
        let deadline = self.entry.live.lock().session.deadline();
        let resumes = self.pace.resumes(self.shared.options.rate());
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => Err(shutting_down()),
            reason = self.stay.ends() => Err(self.end(reason)),
            request = self.requests.message(), if may_read => Ok(request?.map_or(Event::Ended, Event::Request)),
            changed = self.views.changed() => changed.map(|()| Event::View).map_err(|_| views_ended()),
            () = until(deadline.into_iter().chain(resumes).min()) => Ok(Event::Look),
        }
    }

    /// Whether the proxy may make more work now.
    fn may_read(&mut self) -> bool {
        self.pace.allows(self.shared.options.rate(), now())
    }

    fn end(&self, reason: Reason) -> Status {
        if reason == Reason::Displaced {
            account::rejected(&self.shared.metrics, reason);
        }
        reason.status(self.stay.admitted.number())
    }

    fn on_request(&mut self, request: P::Request) -> Result<(), Status> {
        let received = self.entry.live.lock().session.on_request(request, now());
        let received = received.map_err(|error| Status::invalid_argument(error.to_string()))?;
        account::received(&self.shared.metrics, &received);
        // Answers are as many as what was sent: they cost what else they ask for.
        let is_answer = received.acknowledged.is_some() || received.nack.is_some();
        self.pace.spend(usize::from(!is_answer) + received.names / NAMES_PER_CREDIT);
        if self.pace.resumes(self.shared.options.rate()).is_some() {
            self.shared.metrics.throttled.inc();
        }
        if let Some(nack) = received.nack {
            tracing::debug!(proxy = %self.entry.about.proxy, %nack, "proxy refuses a response");
        }
        Ok(())
    }

    fn on_view(&mut self) {
        let (view, number) = self.views.look();
        self.seen = number;
        if let Some(view) = view {
            self.behind_since.get_or_insert_with(now);
            let mut live = self.entry.live.lock();
            live.acceptance.on_view(view.domains(), now());
            live.session.on_view(view);
        }
    }

    fn respond(&mut self) -> Option<Response> {
        let mut live = self.entry.live.lock();
        let response = live.session.next_response(now())?;
        let bytes = response.resource_bytes();
        live.sent.add(response.resources.len(), bytes, response.removed.len());
        drop(live);
        self.registration.fell_behind(now());
        account::sent(&self.shared.metrics, &response, bytes);
        Some(response)
    }

    /// Tells the registry whether this proxy has everything now.
    fn report(&mut self) {
        let mut live = self.entry.live.lock();
        let status = live.session.status();
        let (synced, gate_timeouts) = (is_synced(&status), status.gate_timeouts);
        // Of what it refused it has an older version, of what it has not asked for perhaps one from before.
        if synced && status.refused.is_empty() && live.session.has_asked() {
            live.acceptance.on_synced(now());
        }
        drop(live);
        self.shared.metrics.gate_timeouts.inc_by(gate_timeouts.saturating_sub(self.seen_gate_timeouts));
        self.seen_gate_timeouts = gate_timeouts;
        let now = now();
        self.refusing.update(&self.entry.about.proxy, &status.refused, now);
        if synced {
            self.stay.admitted.started();
        }
        if synced && let Some(since) = self.behind_since.take() {
            self.shared.metrics.synchronization.observe((now - since).as_secs_f64());
        }
        self.registration.report(now, synced, self.seen);
    }
}

impl<P: Protocol> Drop for Open<P> {
    fn drop(&mut self) {
        self.shared.metrics.streams.get_or_create(&P::DIALECT.into()).dec();
    }
}

fn shutting_down() -> Status {
    Status::unavailable("this control plane is shutting down; connect to another one")
}

fn views_ended() -> Status {
    Status::unavailable("this proxy's configuration is no longer provided here; connect anew")
}
