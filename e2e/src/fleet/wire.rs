//! Discovery messages as a simulated proxy reads and writes them: responses
//! only as far as it looks at them, so that bodies are not copied.

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use osm_xds::resource::ResourceKind;
use prost::Message;

use super::plan::DialectKind;
use super::proxy::Outgoing;

/// The path of a stream of a dialect.
pub(super) fn path(dialect: DialectKind) -> &'static str {
    match dialect {
        DialectKind::Delta => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        }
        DialectKind::Sotw => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        }
    }
}

/// A response of the incremental dialect.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct DeltaResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) resources: Vec<Envelope>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(super) removed_resources: Vec<String>,
}

/// A resource in it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Envelope {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    #[prost(message, optional, tag = "2")]
    pub(super) resource: Option<Body>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
}

/// An `Any` whose type is known from the response.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Body {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// A response of the state of the world.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SotwResponse {
    #[prost(string, tag = "1")]
    pub(super) version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) resources: Vec<Body>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
}

/// What messages of all kinds of resource have first: their name.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// A request of the incremental dialect.
pub(super) fn delta_request(outgoing: Outgoing, node: Option<Node>) -> DeltaDiscoveryRequest {
    let Outgoing { kind, nonce, version: _, names, dropped } = outgoing;
    DeltaDiscoveryRequest {
        node,
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
        resource_names_unsubscribe: dropped.iter().map(|name| name.to_string()).collect(),
        response_nonce: nonce,
        ..Default::default()
    }
}

/// A request for the state of the world.
pub(super) fn sotw_request(outgoing: Outgoing, node: Option<Node>) -> DiscoveryRequest {
    let Outgoing { kind, nonce, version, names, dropped: _ } = outgoing;
    DiscoveryRequest {
        node,
        type_url: kind.type_url().to_owned(),
        version_info: version,
        resource_names: names.iter().map(|name| name.to_string()).collect(),
        response_nonce: nonce,
        ..Default::default()
    }
}

/// The kind of resource of a response.
pub(super) fn kind(type_url: &str) -> anyhow::Result<ResourceKind> {
    ResourceKind::from_type_url(type_url).ok_or_else(|| anyhow::anyhow!("a response of type {type_url}"))
}
