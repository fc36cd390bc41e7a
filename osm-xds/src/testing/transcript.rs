//! Transcripts: what goes over a stream, written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::identity::ProxyId;

use super::script::{Line, Request, parse};
use crate::resource::{ResourceKind, Version};
use crate::session::{
    DeltaSession, Dialect, ProtocolError, Response, SessionOptions, SessionStatus, SotwSession,
};
use crate::view::{Layer, LayerId, View};

/// Who plays the proxy's part.
const NODE: &str = "till-1";

/// Plays scripts against a session, line by line.
///
/// | line | meaning |
/// |---|---|
/// | `view 2 cds:a=1 lds:l=1>cds:a` | a view of version 2: resources of a kind with name, content, and what they need |
/// | `<- cds` | a request; the first of a kind without names is a wildcard |
/// | `<- eds +a -b` | names to add and to give up (incremental) |
/// | `<- eds a b` | all names asked for (state of the world) |
/// | `<- cds having a=1 b=?` | a first request that tells what the proxy has; `?` is nothing of ours |
/// | `<- cds having` | the same in state of the world: the version told last |
/// | `<- ack 3`, `<- nack 3 no such filter` | the answer to response 3 |
/// | `<- as NODE cds`, `<- as nobody cds` | a request that names another node, or none |
/// | `fails TEXT` | the request before ends the stream with a message that contains this |
/// | `-> 3 cds a=2 -b` | the next response is just this: its number, what it holds and removes |
/// | `-> nothing` | there is no response now |
/// | `wait 20s` | time passes |
/// | `reconnect` | a new stream; the view stays |
/// | `in sync`, `not in sync` | whether anything is left to send or to wait for |
/// | `refused cds:a=2` | exactly these are refused (without any: nothing is) |
///
/// Empty lines and those that begin with `#` say nothing.
///
/// ```
/// use osm_xds::testing::Transcript;
///
/// Transcript::delta().play("
///     view 1 cds:a=1 cds:b=1
///     <- cds
///     -> 1 cds a=1 b=1
///     <- ack 1
///     view 2 cds:a=1 cds:b=2
///     -> 2 cds b=2
///     -> nothing
/// ");
/// ```
pub struct Transcript {
    dialect: Dialect,
    options: Arc<SessionOptions>,
    session: Session,
    view: Option<Arc<View>>,
    now: Instant,
    /// Whether the stream's first request is still to come.
    is_new: bool,
    /// The kinds of the responses that were sent.
    kinds: BTreeMap<String, ResourceKind>,
    /// The last version, nonce and names of each kind (state of the world).
    last: BTreeMap<ResourceKind, Last>,
    failure: Option<ProtocolError>,
}

#[derive(Default)]
struct Last {
    version: String,
    nonce: String,
    names: Vec<String>,
}

/// A session of either dialect.
enum Session {
    Delta(DeltaSession),
    Sotw(SotwSession),
}

impl Transcript {
    /// A stream of the incremental dialect.
    #[must_use]
    pub fn delta() -> Self {
        Self::new(Dialect::Delta, SessionOptions::default())
    }

    /// A stream of the state-of-the-world dialect.
    #[must_use]
    pub fn sotw() -> Self {
        Self::new(Dialect::Sotw, SessionOptions::default())
    }

    /// A stream with these bounds.
    #[must_use]
    pub fn new(dialect: Dialect, options: SessionOptions) -> Self {
        let options = Arc::new(options);
        Self {
            dialect,
            session: Session::new(dialect, &options),
            options,
            view: None,
            now: Instant::now(),
            is_new: true,
            kinds: BTreeMap::new(),
            last: BTreeMap::new(),
            failure: None,
        }
    }

    /// Plays a script; the next one goes on where it ended.
    ///
    /// # Panics
    /// At the first line that does not hold, or that can't be read.
    pub fn play(&mut self, script: &str) -> &mut Self {
        for (number, text) in script.lines().enumerate() {
            let text = text.trim();
            let outcome = parse(text).and_then(|line| line.map_or(Ok(()), |line| self.step(line)));
            if let Err(reason) = outcome {
                panic!("line {} of the script, {text:?}: {reason}", number + 1);
            }
        }
        if let Some(error) = &self.failure {
            panic!("the last request ends the stream: {error}");
        }
        self
    }

    /// The state of the session.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        match &self.session {
            Session::Delta(session) => session.status(),
            Session::Sotw(session) => session.status(),
        }
    }

    fn step(&mut self, line: Line) -> Result<(), String> {
        match (self.failure.take(), line) {
            (Some(error), Line::Fails(text)) if error.to_string().contains(&text) => Ok(()),
            (Some(error), _) => Err(format!("the request before ends the stream: {error}")),
            (None, Line::Fails(_)) => Err("the request before does not end the stream".to_owned()),
            (None, line) => self.go_on(line),
        }
    }

    fn go_on(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::View(version, resources) => {
                let layer = Layer::new(LayerId::unique(), resources);
                let view = Arc::new(View::new(version, [Arc::new(layer)]));
                self.view = Some(Arc::clone(&view));
                self.session.on_view(view);
            }
            Line::Request(request) => self.request(request)?,
            Line::Answer { nonce, refusal, names } => {
                let kind = *self.kinds.get(&nonce).ok_or("no response had this number")?;
                let node = None;
                self.request(Request { node, kind, names, having: None, nonce: Some(nonce), refusal })?;
            }
            Line::Response(expected) => {
                let found = self.respond();
                if found != expected {
                    let tell = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
                    return Err(format!("expected {}, found {}", tell(expected), tell(found)));
                }
            }
            Line::Wait(time) => self.now += time,
            Line::Reconnect => {
                self.session = Session::new(self.dialect, &self.options);
                self.is_new = true;
                self.kinds.clear();
                self.last.values_mut().for_each(|last| last.nonce.clear());
                self.view.iter().for_each(|view| self.session.on_view(Arc::clone(view)));
            }
            Line::InSync(expected) => {
                let status = self.status();
                let is = status.kinds.iter().all(|kind| kind.ready == 0 && kind.in_flight == 0)
                    && status.synced_version == status.view_version;
                if is != expected {
                    return Err(format!("{status:?}"));
                }
            }
            Line::Refused(expected) => {
                let found = self.status().refused;
                let found: Vec<_> = found.into_iter().map(|(found, _)| (found.key, found.version)).collect();
                if found != expected {
                    return Err(format!("{found:?} are refused"));
                }
            }
            Line::Fails(_) => {}
        }
        Ok(())
    }

    fn request(&mut self, request: Request) -> Result<(), String> {
        let node = match request.node.as_deref() {
            None => std::mem::take(&mut self.is_new).then(|| NODE.to_owned()),
            Some("nobody") => None,
            Some(other) => Some(other.to_owned()),
        };
        let last = self.last.entry(request.kind).or_default();
        if self.dialect == Dialect::Sotw && request.nonce.is_some() && request.names.is_empty() {
            // An answer says again what is asked for.
        } else if self.dialect == Dialect::Sotw {
            last.names.clone_from(&request.names);
        }
        let outcome = match &mut self.session {
            Session::Delta(session) => session.on_request(request.delta(node)?, self.now),
            Session::Sotw(session) => {
                let nonce = request.nonce.clone().unwrap_or_else(|| last.nonce.clone());
                let having = request.having.is_some() || request.nonce.is_some();
                let version = if having { last.version.clone() } else { String::new() };
                session.on_request(request.sotw(node, last.names.clone(), version, nonce), self.now)
            }
        };
        self.failure = outcome.err();
        Ok(())
    }

    fn respond(&mut self) -> Option<String> {
        let response = match &mut self.session {
            Session::Delta(session) => session.next_response(self.now),
            Session::Sotw(session) => session.next_response(self.now),
        };
        if response.is_none() {
            let is_later = self.session.deadline().is_none_or(|deadline| deadline > self.now);
            assert!(is_later, "it has nothing to say, and wants to be asked at once for ever");
        }
        let response = response?;
        self.kinds.insert(response.nonce.to_string(), response.kind);
        let last = self.last.entry(response.kind).or_default();
        last.version.clone_from(&response.version_info);
        last.nonce = response.nonce.to_string();
        Some(write(&response))
    }
}

impl Session {
    fn new(dialect: Dialect, options: &Arc<SessionOptions>) -> Self {
        let identity = "shop/till".parse().expect("a valid identity");
        let proxy = ProxyId::new(NODE.parse().expect("a valid UUID"), identity);
        match dialect {
            Dialect::Delta => Self::Delta(DeltaSession::new(&proxy, Arc::clone(options))),
            Dialect::Sotw => Self::Sotw(SotwSession::new(&proxy, Arc::clone(options))),
        }
    }

    fn on_view(&mut self, view: Arc<View>) {
        match self {
            Self::Delta(session) => session.on_view(view),
            Self::Sotw(session) => session.on_view(view),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Delta(session) => session.deadline(),
            Self::Sotw(session) => session.deadline(),
        }
    }
}

/// A response as scripts write it.
fn write(response: &Response) -> String {
    let mut words = vec![response.nonce.to_string(), super::script::kind_word(response.kind).to_owned()];
    for resource in &response.resources {
        words.push(format!("{}={}", resource.key.name, String::from_utf8_lossy(&resource.body)));
    }
    words.extend(response.removed.iter().map(|name| format!("-{name}")));
    words.join(" ")
}

/// How long a unit of time is.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

/// The text of the version that a resource of this content has.
pub(super) fn version_of(content: &str) -> String {
    match content {
        "?" => "not one of ours".to_owned(),
        content => Version::of(content.as_bytes()).to_string(),
    }
}
