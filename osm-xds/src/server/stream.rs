//! One proxy's stream: the loop around its session.
//!
//! A stream is driven by the transport's own task, which asks for the next
//! response when it can send one: at most one is on its way to the transport, a
//! proxy that reads slowly holds up nobody else, and when it reads again it is
//! sent what is newest then. What the proxy may learn about a refusal is the text
//! of the status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use futures::{FutureExt, Stream, stream};
use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::authenticate::{AuthenticationError, Evidence, ProxyAuthenticator, expiry};
use super::dialect::{Protocol, is_synced};
use super::registry::{About, Entry, Live, Registration, Registry, Sent};
use super::{ServerOptions, account};
use crate::client::ClientKind;
use crate::metrics::Metrics;
use crate::resource::{ResourceKey, Version};
use crate::session::{Nack, Response, SessionOptions};
use crate::view::{RefusalKind, ViewSource, ViewWatch};

/// What all streams of a server share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) session_options: Arc<SessionOptions>,
    pub(super) views: Arc<dyn ViewSource>,
    pub(super) authenticator: Arc<dyn ProxyAuthenticator>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    /// Cancelled when the server is to end.
    pub(super) closing: CancellationToken,
    /// What was last warned of, so that a thousand proxies that refuse the same
    /// make one warning.
    pub(super) refused: Mutex<LastRefused>,
}

/// The first suspect of the last refusal that was warned of.
#[derive(Debug, Default)]
pub(super) struct LastRefused(Option<(ResourceKey, Version)>);

impl LastRefused {
    fn is_news(&mut self, nack: &Nack) -> bool {
        let suspect = nack.suspects.first().map(|suspect| (suspect.key.clone(), suspect.version));
        let is_news = suspect.is_none() || suspect != self.0;
        self.0 = suspect;
        is_news
    }
}

/// Whose connection a stream is on.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The verified chain, leaf first.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// The responses of a stream, made as they are asked for. The last item may be
/// the status that ends it.
pub(super) fn responses<P: Protocol>(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    bearer: Option<String>,
    requests: Streaming<P::Request>,
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
            Self::Opening(opening) => match opening.open::<P>().await {
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

/// A stream whose proxy has not said anything yet.
struct Opening<R> {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    bearer: Option<String>,
    requests: Streaming<R>,
}

impl<R: Send + Sync + 'static> Opening<R> {
    /// Reads the first request and lets the proxy prove itself. `None` if the
    /// client went away.
    async fn open<P: Protocol<Request = R>>(mut self) -> Result<Option<Open<P>>, Status> {
        let closing = self.shared.closing.clone();
        let first = tokio::time::timeout(self.shared.options.first_request_timeout, self.requests.message());
        let first = tokio::select! {
            biased;
            () = closing.cancelled() => return Err(shutting_down()),
            first = first => first.map_err(|_| Status::deadline_exceeded("no discovery request came"))??,
        };
        let Some(request) = first else { return Ok(None) };
        let nobody = Node::default();
        let node = P::node(&request).unwrap_or(&nobody);
        let proxy = self.authenticate(node).await?;
        let views =
            self.shared.views.subscribe_client(&proxy, ClientKind::of(node)).map_err(
                |refusal| match refusal.kind {
                    RefusalKind::Denied => Status::permission_denied(refusal.reason),
                    RefusalKind::Unavailable => Status::unavailable(refusal.reason),
                },
            )?;
        let mut open = self.begin::<P>(proxy, node, views);
        open.on_request(request)?;
        open.on_view();
        Ok(Some(open))
    }

    async fn authenticate(&self, node: &Node) -> Result<ProxyId, Status> {
        let Shared { options, authenticator, metrics, .. } = &*self.shared;
        if node.id.is_empty() {
            account::unauthenticated(metrics, "no_node");
            return Err(Status::invalid_argument("node.id is missing in the first request"));
        }
        let evidence = Evidence {
            peer_certificates: &self.peer.certificates,
            bearer: self.bearer.as_deref(),
            node,
            address: self.peer.address,
        };
        let decided =
            tokio::time::timeout(options.authentication_timeout, authenticator.authenticate(evidence));
        let error = match decided.await {
            Ok(Ok(proxy)) => return Ok(proxy),
            Ok(Err(error)) => error,
            Err(_) => AuthenticationError::Unavailable("who this is could not be decided in time".to_owned()),
        };
        tracing::debug!(address = %self.peer.address, %error, "stream refused");
        Err(match error {
            AuthenticationError::Unproved(reason) => {
                account::unauthenticated(metrics, "unproved");
                Status::unauthenticated(reason)
            }
            AuthenticationError::Denied(reason) => {
                account::unauthenticated(metrics, "denied");
                Status::permission_denied(reason)
            }
            AuthenticationError::Unavailable(reason) => {
                account::unauthenticated(metrics, "unavailable");
                Status::unavailable(reason)
            }
        })
    }

    fn begin<P: Protocol<Request = R>>(self, proxy: ProxyId, node: &Node, views: ViewWatch) -> Open<P> {
        let session = P::begin(&proxy, Arc::clone(&self.shared.session_options));
        let connected_since = SystemTime::now();
        let about =
            About { proxy, address: self.peer.address, envoy_version: envoy_version(node), connected_since };
        let entry = Arc::new(Entry { about, live: Mutex::new(Live { session, sent: Sent::default() }) });
        let registration = self.shared.registry.register(Arc::clone(&entry), &views);
        self.shared.metrics.streams.get_or_create(&P::DIALECT.into()).inc();
        let expires = self.peer.certificates.first().and_then(expiry).and_then(|end| {
            let left = end.duration_since(connected_since).unwrap_or_default();
            tokio::time::Instant::now().checked_add(left + self.shared.options.certificate_grace)
        });
        Open {
            shared: self.shared,
            requests: self.requests,
            views,
            entry,
            registration,
            seen: 0,
            expires,
            behind_since: None,
            seen_gate_timeouts: 0,
        }
    }
}

/// A stream of a proxy that has proved who it is.
struct Open<P: Protocol> {
    shared: Arc<Shared>,
    requests: Streaming<P::Request>,
    views: ViewWatch,
    entry: Arc<Entry<P>>,
    registration: Registration,
    /// The number of the view that was looked at last.
    seen: u64,
    /// When the proxy has to prove itself anew.
    expires: Option<tokio::time::Instant>,
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
        loop {
            if self.shared.closing.is_cancelled() {
                return Err(shutting_down());
            }
            // There may always be something to say: then no event is waited for.
            if self.expires.is_some_and(|moment| moment <= tokio::time::Instant::now()) {
                return Err(expired());
            }
            // What has come in meanwhile is seen first: the newest view, and one
            // request, so that one who only asks is still answered.
            if let Some(changed) = self.views.changed().now_or_never() {
                changed.map_err(|_| views_ended())?;
                self.on_view();
            }
            if let Some(request) = self.requests.message().now_or_never() {
                let Some(request) = request? else { return Ok(None) };
                self.on_request(request)?;
            }
            if let Some(response) = self.respond() {
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
        let deadline = self.entry.live.lock().session.deadline().map(tokio::time::Instant::from_std);
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => Err(shutting_down()),
            () = until(self.expires) => Err(expired()),
            request = self.requests.message() => Ok(request?.map_or(Event::Ended, Event::Request)),
            changed = self.views.changed() => changed.map(|()| Event::View).map_err(|_| views_ended()),
            () = until(deadline) => Ok(Event::Look),
        }
    }

    fn on_request(&mut self, request: P::Request) -> Result<(), Status> {
        let received = self.entry.live.lock().session.on_request(request, now());
        let received = received.map_err(|error| Status::invalid_argument(error.to_string()))?;
        account::received(&self.shared.metrics, &received);
        if let Some(nack) = received.nack {
            let proxy = &self.entry.about.proxy;
            if self.shared.refused.lock().is_news(&nack) {
                tracing::warn!(%proxy, %nack, "proxy refuses resources");
            } else {
                tracing::debug!(%proxy, %nack, "proxy refuses resources");
            }
        }
        Ok(())
    }

    fn on_view(&mut self) {
        let (view, number) = self.views.look();
        self.seen = number;
        if let Some(view) = view {
            self.behind_since.get_or_insert_with(now);
            self.entry.live.lock().session.on_view(view);
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
        let status = self.entry.live.lock().session.status();
        let (synced, gate_timeouts) = (is_synced(&status), status.gate_timeouts);
        self.shared.metrics.gate_timeouts.inc_by(gate_timeouts.saturating_sub(self.seen_gate_timeouts));
        self.seen_gate_timeouts = gate_timeouts;
        let now = now();
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

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn shutting_down() -> Status {
    Status::unavailable("this control plane is shutting down; connect to another one")
}

fn views_ended() -> Status {
    Status::unavailable("this proxy's configuration is no longer provided here; connect anew")
}

fn expired() -> Status {
    Status::unauthenticated("the client certificate has expired; connect anew with the renewed one")
}

/// The version in a node's user agent.
fn envoy_version(node: &Node) -> Option<String> {
    match node.user_agent_version_type.as_ref()? {
        UserAgentVersionType::UserAgentBuildVersion(build) => {
            let version = build.version.as_ref()?;
            Some(format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
        }
        UserAgentVersionType::UserAgentVersion(text) => Some(text.chars().take(64).collect()),
    }
}
