//! What has happened, for whoever looks for a fault.

use std::collections::VecDeque;
use std::time::Duration;

use osm_core::identity::ServiceIdentity;
use osm_core::source::SourceEvent;

use super::super::Request;
use super::StreamId;
use crate::resource::ResourceKind;
use crate::session::Response;

/// How many events are remembered.
const REMEMBERED: usize = 120;

/// Something that happened. It is written down only when somebody asks.
#[derive(Debug)]
pub(super) enum Happened {
    Changed(Vec<SourceEvent>),
    Replayed,
    Trust(u32),
    Certificate(ServiceIdentity, u32),
    Connected(String, StreamId),
    Lost(StreamId),
    Noticed(StreamId),
    Viewed(StreamId, u64),
    Sent(StreamId, Response),
    Read(StreamId, String, ResourceKind),
    Heard(StreamId, Box<Request>),
    Silence(String, bool),
    GaveUp(String),
    ProxyRestarted(String),
    ControlPlaneRestarted,
    Phase(&'static str),
}

/// The last things that happened.
#[derive(Debug, Default)]
pub(super) struct Trace(VecDeque<(Duration, Happened)>);

impl Trace {
    pub(super) fn add(&mut self, at: Duration, happened: Happened) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((at, happened));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(at, happened)| format!("{:>9.3} ms  {}", at.as_secs_f64() * 1e3, happened.text()))
            .collect()
    }
}

impl Happened {
    fn text(&self) -> String {
        match self {
            Self::Changed(events) => {
                let events: Vec<_> = events.iter().map(change).collect();
                format!("the mesh changes: {}", events.join(", "))
            }
            Self::Replayed => "the source tells everything".to_owned(),
            Self::Trust(number) => format!("roots of trust, number {number}"),
            Self::Certificate(identity, number) => format!("certificate {number} of {identity}"),
            Self::Connected(proxy, stream) => format!("{proxy} begins {stream}"),
            Self::Lost(stream) => format!("{stream} breaks"),
            Self::Noticed(stream) => format!("the control plane sees the end of {stream}"),
            Self::Viewed(stream, version) => format!("{stream}: view {version}"),
            Self::Sent(stream, response) => format!("{stream}: -> {}", sent(response)),
            Self::Read(stream, nonce, kind) => format!("{stream}: response {nonce} ({kind}) is read"),
            Self::Heard(stream, request) => format!("{stream}: <- {}", heard(request)),
            Self::Silence(proxy, true) => format!("{proxy} falls silent"),
            Self::Silence(proxy, false) => format!("{proxy} answers again"),
            Self::GaveUp(proxy) => format!("{proxy} gives up waiting for what its clusters lack"),
            Self::ProxyRestarted(proxy) => format!("{proxy} starts anew"),
            Self::ControlPlaneRestarted => "the control plane starts anew".to_owned(),
            Self::Phase(phase) => format!("-- {phase}"),
        }
    }
}

fn change(event: &SourceEvent) -> String {
    match event {
        SourceEvent::Apply(object) => format!("{} is applied", object.object_ref()),
        SourceEvent::Delete(name) => format!("{name} is deleted"),
        other => format!("{other:?}"),
    }
}

fn sent(response: &Response) -> String {
    let resources =
        response.resources.iter().map(|resource| format!("{}={}", resource.key.name, resource.version));
    let removed = response.removed.iter().map(|name| format!("-{name}"));
    let what: Vec<_> = resources.chain(removed).collect();
    format!("{} {} [{}]", response.nonce, response.kind, what.join(" "))
}

fn heard(request: &Request) -> String {
    let (type_url, nonce, refusal, rest) = match request {
        Request::Delta(request) => {
            let added = request.resource_names_subscribe.iter().map(|name| format!(" +{name}"));
            let gone = request.resource_names_unsubscribe.iter().map(|name| format!(" -{name}"));
            let has = request.initial_resource_versions.iter();
            let mut has: Vec<_> = has.map(|(name, version)| format!(" {name}={version}")).collect();
            has.sort();
            let rest: String = added.chain(gone).chain(has).collect();
            (&request.type_url, &request.response_nonce, &request.error_detail, rest)
        }
        Request::Sotw(request) => {
            let names: String = request.resource_names.iter().map(|name| format!(" {name}")).collect();
            let rest = format!("{names} having {:?}", request.version_info);
            (&request.type_url, &request.response_nonce, &request.error_detail, rest)
        }
    };
    let kind =
        ResourceKind::from_type_url(type_url).map_or_else(|| type_url.clone(), |kind| kind.to_string());
    let answer = match refusal {
        Some(refusal) => format!("nack {nonce} ({})", refusal.message),
        None if nonce.is_empty() => "first".to_owned(),
        None => format!("after {nonce}"),
    };
    format!("{kind} {answer}{rest}")
}
