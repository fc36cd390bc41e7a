//! The language of transcripts.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::rpc::Status;

use super::transcript::{seconds, version_of};
use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName, Version};

/// One line of a script.
pub(super) enum Line {
    View(u64, Vec<Arc<Resource>>),
    Request(Request),
    Answer {
        nonce: String,
        refusal: Option<String>,
        names: Vec<String>,
    },
    /// The text of the response, `None` for nothing.
    Response(Option<String>),
    Fails(String),
    Wait(Duration),
    Reconnect,
    InSync(bool),
    Refused(Vec<(ResourceKey, Version)>),
}

/// A request.
pub(super) struct Request {
    pub(super) node: Option<String>,
    pub(super) kind: ResourceKind,
    /// Names, with `+` and `-` before them in the incremental dialect.
    pub(super) names: Vec<String>,
    /// Names and contents that the proxy has.
    pub(super) having: Option<Vec<(String, String)>>,
    pub(super) nonce: Option<String>,
    pub(super) refusal: Option<String>,
}

impl Request {
    pub(super) fn delta(self, node: Option<String>) -> Result<discovery::DeltaDiscoveryRequest, String> {
        let (mut subscribe, mut unsubscribe) = (Vec::new(), Vec::new());
        for name in self.names {
            match name.split_at_checked(1) {
                Some(("+", name)) => subscribe.push(name.to_owned()),
                Some(("-", name)) => unsubscribe.push(name.to_owned()),
                _ => return Err(format!("{name:?} has neither + nor - before it")),
            }
        }
        let having = self.having.unwrap_or_default();
        Ok(discovery::DeltaDiscoveryRequest {
            node: node.map(node_named),
            type_url: self.kind.type_url().to_owned(),
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            initial_resource_versions: having
                .into_iter()
                .map(|(name, has)| (name, version_of(&has)))
                .collect(),
            response_nonce: self.nonce.unwrap_or_default(),
            error_detail: self.refusal.map(status),
            ..Default::default()
        })
    }

    pub(super) fn sotw(
        self,
        node: Option<String>,
        names: Vec<String>,
        version: String,
        nonce: String,
    ) -> discovery::DiscoveryRequest {
        discovery::DiscoveryRequest {
            version_info: version,
            node: node.map(node_named),
            resource_names: names,
            type_url: self.kind.type_url().to_owned(),
            response_nonce: nonce,
            error_detail: self.refusal.map(status),
            ..Default::default()
        }
    }
}

fn node_named(id: String) -> Node {
    Node { id, ..Node::default() }
}

fn status(message: String) -> Status {
    Status { code: 13, message, ..Status::default() }
}

/// Reads a line; `None` when it says nothing.
pub(super) fn parse(text: &str) -> Result<Option<Line>, String> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    Ok(Some(match first {
        "" => return Ok(None),
        comment if comment.starts_with('#') => return Ok(None),
        "view" => {
            let (version, resources) = rest.split_once(' ').unwrap_or((rest, ""));
            let version = version.parse().map_err(|_| "a view has a version")?;
            Line::View(version, words(resources).map(resource).collect::<Result<_, _>>()?)
        }
        "<-" => incoming(rest)?,
        "->" if rest == "nothing" => Line::Response(None),
        "->" => Line::Response(Some(words(rest).collect::<Vec<_>>().join(" "))),
        "fails" => Line::Fails(rest.to_owned()),
        "wait" => Line::Wait(seconds(rest).ok_or("how many seconds?")?),
        "reconnect" => Line::Reconnect,
        "in" if rest == "sync" => Line::InSync(true),
        "not" if rest == "in sync" => Line::InSync(false),
        "refused" => {
            let identify = |word| resource(word).map(|resource| (resource.key.clone(), resource.version));
            Line::Refused(words(rest).map(identify).collect::<Result<_, _>>()?)
        }
        _ => return Err("no line begins like this".to_owned()),
    }))
}

fn incoming(text: &str) -> Result<Line, String> {
    let mut words = words(text).peekable();
    let mut node = None;
    if words.next_if_eq(&"as").is_some() {
        node = words.next().map(ToOwned::to_owned);
    }
    match words.next().ok_or("a request of what?")? {
        "ack" => {
            let nonce = words.next().ok_or("of which response?")?.to_owned();
            Ok(Line::Answer { nonce, refusal: None, names: words.map(ToOwned::to_owned).collect() })
        }
        "nack" => {
            let nonce = words.next().ok_or("of which response?")?.to_owned();
            let message = words.collect::<Vec<_>>().join(" ");
            Ok(Line::Answer { nonce, refusal: Some(message), names: Vec::new() })
        }
        kind => {
            let kind = kind_of(kind)?;
            let mut request =
                Request { node, kind, names: Vec::new(), having: None, nonce: None, refusal: None };
            while let Some(word) = words.next() {
                match word {
                    "having" => {
                        let pairs = words.by_ref().map(|word| {
                            let (name, has) =
                                word.split_once('=').ok_or("having is followed by name=content")?;
                            Ok::<_, String>((name.to_owned(), has.to_owned()))
                        });
                        request.having = Some(pairs.collect::<Result<_, _>>()?);
                    }
                    "nonce" => request.nonce = words.next().map(ToOwned::to_owned),
                    name => request.names.push(name.to_owned()),
                }
            }
            Ok(Line::Request(request))
        }
    }
}

/// `kind:name=content>need,need`
fn resource(word: &str) -> Result<Arc<Resource>, String> {
    let (own, needs) = word.split_once('>').unwrap_or((word, ""));
    let (name, content) = own.split_once('=').ok_or_else(|| format!("{word:?} has no content"))?;
    let needs = needs.split(',').filter(|need| !need.is_empty()).map(key).collect::<Result<_, _>>()?;
    Ok(Arc::new(Resource::new(key(name)?, content.to_owned().into(), needs, vec![])))
}

/// `kind:name`
fn key(word: &str) -> Result<ResourceKey, String> {
    let (kind, name) = word.split_once(':').ok_or_else(|| format!("{word:?} has no kind"))?;
    Ok(ResourceKey::new(kind_of(kind)?, ResourceName::new(name)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

fn kind_of(word: &str) -> Result<ResourceKind, String> {
    let found = ResourceKind::ALL.into_iter().find(|kind| kind_word(*kind) == word);
    found.ok_or_else(|| format!("{word:?} is no kind of resource"))
}

/// The word for a kind.
pub(super) fn kind_word(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Cluster => "cds",
        ResourceKind::Endpoints => "eds",
        ResourceKind::Secret => "sds",
        ResourceKind::Listener => "lds",
        ResourceKind::Route => "rds",
    }
}
