//! Requests out of a script: of any bytes, or of parts that make sense.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use osm_xds::resource::ResourceKind;
use osm_xds::session::Dialect;
use osm_xds::testing::Request;
use prost::Message;

use super::world::{NODE, VERSIONS};
use crate::fuzzing::script::Script;

/// Names that there are, that there never are, and that no resource can have.
const NAMES: [&str; 14] = [
    "c0",
    "c1",
    "c2",
    "l0",
    "l1",
    "r0",
    "r1",
    "certificate",
    "trust",
    "*",
    "nothing",
    "",
    "a-name-that-is-long",
    "ä",
];
const TYPE_URLS: usize = ResourceKind::ALL.len() + 1;

/// Any bytes that are a request of a dialect.
pub(super) fn raw(dialect: Dialect, bytes: &[u8]) -> Option<Request> {
    match dialect {
        Dialect::Delta => DeltaDiscoveryRequest::decode(bytes).ok().map(Request::Delta),
        Dialect::Sotw => DiscoveryRequest::decode(bytes).ok().map(Request::Sotw),
    }
}

/// A request that could be a proxy's.
pub(super) fn sensible(dialect: Dialect, nonces: &[String], script: &mut Script<'_>) -> Request {
    let flags = script.byte();
    let node = match flags % 8 {
        0 => None,
        1 => Some("other"),
        _ => Some(NODE),
    };
    let node = node.map(|id| Node { id: id.to_owned(), ..Node::default() });
    let type_url = match script.below(TYPE_URLS) {
        known if known < ResourceKind::ALL.len() => ResourceKind::ALL[known].type_url(),
        _ => "type.googleapis.com/unknown",
    };
    let type_url = type_url.to_owned();
    let response_nonce = nonce(nonces, script);
    let error_detail =
        (flags & 64 != 0).then(|| Status { code: 13, message: "no".to_owned(), ..Status::default() });
    match dialect {
        Dialect::Delta => Request::Delta(DeltaDiscoveryRequest {
            node,
            type_url,
            response_nonce,
            error_detail,
            resource_names_subscribe: names(script),
            resource_names_unsubscribe: names(script),
            initial_resource_versions: names(script)
                .into_iter()
                .map(|name| (name, script.one_of(&VERSIONS).to_owned()))
                .collect(),
            ..DeltaDiscoveryRequest::default()
        }),
        Dialect::Sotw => Request::Sotw(DiscoveryRequest {
            node,
            type_url,
            response_nonce,
            error_detail,
            version_info: script.one_of(&VERSIONS).to_owned(),
            resource_names: names(script),
            ..DiscoveryRequest::default()
        }),
    }
}

/// What is asked for.
pub(super) fn type_url(request: &Request) -> &str {
    match request {
        Request::Delta(request) => &request.type_url,
        Request::Sotw(request) => &request.type_url,
    }
}

fn names(script: &mut Script<'_>) -> Vec<String> {
    let count = script.byte();
    // Mostly few; sometimes more than are allowed.
    let count = if count < 240 { count % 4 } else { count - 235 };
    (0..count)
        .map(|number| {
            let name = script.one_of(&NAMES);
            if count > 4 { format!("{name}{number}") } else { name.to_owned() }
        })
        .collect()
}

/// The nonce of a response, the newest most often, or of none.
fn nonce(nonces: &[String], script: &mut Script<'_>) -> String {
    let choice = usize::from(script.byte());
    match choice {
        0..=63 => String::new(),
        64..=159 => nonces.last().cloned().unwrap_or_default(),
        160..=239 => nonces.get(choice % nonces.len().max(1)).cloned().unwrap_or_default(),
        _ => ["x", "0", "-1", "18446744073709551616"][choice % 4].to_owned(),
    }
}
