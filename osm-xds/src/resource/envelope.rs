//! A resource as responses carry it, encoded once with the resource itself: to
//! write a response is to copy this.
//!
//! It is not the place that writes responses; the server's `wire` does.
//! Specification: `Resource` in `envoy/service/discovery/v3/discovery.proto`, and
//! `google.protobuf.Any`, which is a part of it.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::{ResourceKey, Version};

/// Field numbers of `Resource`.
mod message {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCE: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// Field numbers of `Any`.
mod any {
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// An encoded `Resource` message, and where in it the `Any` lies.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    message: Bytes,
    any: Range<usize>,
}

impl Envelope {
    /// The envelope of a resource, and the resource's own bytes within it.
    pub(super) fn new(key: &ResourceKey, version: Version, body: &[u8]) -> (Self, Bytes) {
        let (version, type_url, name) = (version.to_string(), key.kind.type_url(), key.name.as_str());
        let any_length = field_length(type_url.len()) + field_length(body.len());
        let length = field_length(version.len()) + field_length(any_length) + field_length(name.len());
        let mut to = Vec::with_capacity(length);
        write(message::VERSION, version.as_bytes(), &mut to);
        begin(message::RESOURCE, any_length, &mut to);
        let start = to.len();
        write(any::TYPE_URL, type_url.as_bytes(), &mut to);
        write(any::VALUE, body, &mut to);
        let any = start..to.len();
        write(message::NAME, name.as_bytes(), &mut to);
        let message = Bytes::from(to);
        let body = message.slice(any.end - body.len()..any.end);
        (Self { message, any }, body)
    }

    /// The whole message.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The `Any` in it.
    pub(super) fn any(&self) -> &[u8] {
        &self.message[self.any.clone()]
    }
}

/// The length of a field of this many bytes, with its key (one byte for all the
/// numbers above) and its length. An empty field is left out, as protobuf does.
fn field_length(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + encoded_len_varint(length as u64) + length }
}

fn begin(field: u32, length: usize, to: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
}

fn write(field: u32, bytes: &[u8], to: &mut Vec<u8>) {
    if !bytes.is_empty() {
        begin(field, bytes.len(), to);
        to.put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::Resource as Message;
    use envoy_types::pb::google::protobuf::Any;
    use prost::Message as _;

    use super::*;
    use crate::resource::{ResourceKind, ResourceName};

    #[test]
    fn the_bytes_are_those_of_the_messages() {
        for size in [0, 1, 127, 128, 70_000] {
            let key = ResourceKey::new(ResourceKind::Cluster, ResourceName::new("shop/till|80"));
            let bytes = vec![b'x'; size];
            let (envelope, body) = Envelope::new(&key, Version::of(&bytes), &bytes);
            assert!(body == bytes, "{size}");
            let any = Any { type_url: key.kind.type_url().to_owned(), value: bytes.clone() };
            assert!(envelope.any() == any.encode_to_vec(), "{size}");
            let message = Message {
                name: key.name.to_string(),
                version: Version::of(&bytes).to_string(),
                resource: Some(any),
                ..Message::default()
            };
            assert!(envelope.message() == message.encode_to_vec(), "{size}");
        }
    }
}
