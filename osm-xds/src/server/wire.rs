//! The bytes of discovery messages on a gRPC stream.
//!
//! Responses are written straight from shared resources: a body is copied once,
//! into the frame that goes to the transport, and no protobuf struct is built.
//! A response is handed on as soon as it is written, so that no second one is
//! made while the transport has not taken the first.
//!
//! Specification: the messages of `envoy/service/discovery/v3/discovery.proto`.

use std::marker::PhantomData;

use bytes::BufMut;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::resource::Resource;
use crate::session::{Dialect, Response};

/// Reads requests of one dialect, writes responses of both.
#[derive(Debug)]
pub(super) struct DiscoveryCodec<Request>(PhantomData<fn() -> Request>);

impl<Request> DiscoveryCodec<Request> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Request: Message + Default + 'static> Codec for DiscoveryCodec<Request> {
    type Encode = Response;
    type Decode = Request;
    type Encoder = ResponseEncoder;
    type Decoder = RequestDecoder<Request>;

    fn encoder(&mut self) -> ResponseEncoder {
        ResponseEncoder
    }

    fn decoder(&mut self) -> RequestDecoder<Request> {
        RequestDecoder(PhantomData)
    }
}

/// Nothing is allocated before there is a message, and every message is a frame
/// of its own.
fn buffers() -> BufferSettings {
    BufferSettings::new(0, 1)
}

/// Reads requests.
#[derive(Debug)]
pub(super) struct RequestDecoder<Request>(PhantomData<fn() -> Request>);

impl<Request: Message + Default> Decoder for RequestDecoder<Request> {
    type Item = Request;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Request>, Status> {
        let refuse = |error| Status::invalid_argument(format!("a request is no discovery request: {error}"));
        Request::decode(source).map(Some).map_err(refuse)
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Writes responses.
#[derive(Debug)]
pub(super) struct ResponseEncoder;

impl Encoder for ResponseEncoder {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(response_length(&response));
        write_response(&response, to);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`, which
/// agree where both have a field.
mod response {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED: u32 = 6;
}

/// Field numbers of `Resource`, the envelope of the incremental dialect.
mod envelope {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCE: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// Field numbers of `google.protobuf.Any`.
mod any {
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// The text of a version has always this length.
const VERSION_LENGTH: usize = 16;

/// How many bytes [`write_response`] writes.
fn response_length(response: &Response) -> usize {
    let resources = response.resources.iter().map(|resource| {
        field_length(match response.dialect {
            Dialect::Delta => envelope_length(resource),
            Dialect::Sotw => any_length(resource),
        })
    });
    let removed = response.removed.iter().map(|name| field_length(name.as_str().len()));
    text_length(&response.version_info)
        + resources.sum::<usize>()
        + text_length(response.kind.type_url())
        + text_length(&response.nonce.to_string())
        + removed.sum::<usize>()
}

fn write_response(response: &Response, to: &mut impl BufMut) {
    write_text(response::VERSION, &response.version_info, to);
    for resource in &response.resources {
        match response.dialect {
            Dialect::Delta => {
                begin(response::RESOURCES, envelope_length(resource), to);
                write_text(envelope::VERSION, &resource.version.to_string(), to);
                begin(envelope::RESOURCE, any_length(resource), to);
                write_any(resource, to);
                write_text(envelope::NAME, resource.key.name.as_str(), to);
            }
            Dialect::Sotw => {
                begin(response::RESOURCES, any_length(resource), to);
                write_any(resource, to);
            }
        }
    }
    write_text(response::TYPE_URL, response.kind.type_url(), to);
    write_text(response::NONCE, &response.nonce.to_string(), to);
    for name in &response.removed {
        // An element of a list is written even if it is empty.
        begin(response::REMOVED, name.as_str().len(), to);
        to.put_slice(name.as_str().as_bytes());
    }
}

fn envelope_length(resource: &Resource) -> usize {
    field_length(VERSION_LENGTH)
        + field_length(any_length(resource))
        + text_length(resource.key.name.as_str())
}

fn any_length(resource: &Resource) -> usize {
    let value = if resource.body.is_empty() { 0 } else { field_length(resource.body.len()) };
    text_length(resource.key.kind.type_url()) + value
}

fn write_any(resource: &Resource, to: &mut impl BufMut) {
    write_text(any::TYPE_URL, resource.key.kind.type_url(), to);
    if !resource.body.is_empty() {
        begin(any::VALUE, resource.body.len(), to);
        to.put_slice(&resource.body);
    }
}

/// The length of a field of this many bytes, with its key (one byte for all the
/// numbers above) and its length.
fn field_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn text_length(text: &str) -> usize {
    if text.is_empty() { 0 } else { field_length(text.len()) }
}

fn begin(field: u32, length: usize, to: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
}

fn write_text(field: u32, text: &str, to: &mut impl BufMut) {
    if !text.is_empty() {
        begin(field, text.len(), to);
        to.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::resource::{ResourceKey, ResourceKind, ResourceName};
    use crate::session::Nonce;

    fn response(dialect: Dialect, sizes: &[usize]) -> Response {
        let resource = |(place, size): (usize, &usize)| {
            let key = ResourceKey::new(ResourceKind::Cluster, ResourceName::new(format!("ns/c-{place}")));
            Arc::new(Resource::new(key, vec![b'x'; *size].into(), vec![], vec![]))
        };
        let removed = match dialect {
            Dialect::Delta => vec![ResourceName::new("gone"), ResourceName::new("y".repeat(300))],
            Dialect::Sotw => vec![],
        };
        Response {
            dialect,
            kind: ResourceKind::Cluster,
            nonce: Nonce::parse("4711").expect("a nonce"),
            version_info: "12".to_owned(),
            resources: sizes.iter().enumerate().map(resource).collect(),
            removed,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_messages() {
        for sizes in [&[][..], &[0], &[1, 127, 128, 70_000]] {
            let (delta, sotw) = (response(Dialect::Delta, sizes), response(Dialect::Sotw, sizes));
            for (response, expected) in
                [(&delta, delta.to_delta().encode_to_vec()), (&sotw, sotw.to_sotw().encode_to_vec())]
            {
                let mut bytes = Vec::new();
                write_response(response, &mut bytes);
                assert!(bytes == expected, "{:?} with {sizes:?}", response.dialect);
                assert_eq!(bytes.len(), response_length(response));
            }
        }
    }
}
