//! The bytes of discovery responses.
//!
//! Responses are written straight from shared resources, each of which is
//! encoded already ([`Resource`]): it is copied once, into the piece that goes to
//! the transport, and no protobuf struct is built.
//!
//! Specification: the messages of `envoy/service/discovery/v3/discovery.proto`.

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::resource::Resource;
use crate::session::{Dialect, Response};

/// Field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`, which
/// agree where both have a field.
mod response {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED: u32 = 6;
}

/// What stands before each message: whether it is compressed, and its length.
pub(super) const HEADER: usize = 5;

/// How long a piece is, as far as the length of a resource allows: as much as a
/// frame of HTTP/2 and a record of TLS carry.
const PIECE: usize = 16 * 1024;

/// A response as the pieces of a gRPC message, each written when it is asked for.
pub(super) struct Pieces {
    response: Response,
    /// How many of the resources are written.
    written: usize,
    begun: bool,
    over: bool,
}

impl Pieces {
    pub(super) fn of(response: Response) -> Self {
        Self { response, written: 0, begun: false, over: false }
    }

    /// How many of the resources that are left go into a piece that has so many
    /// bytes already, and how long it is then.
    fn fill(&self, mut length: usize) -> (usize, usize) {
        let mut count = 0;
        for resource in &self.response.resources[self.written..] {
            let more = field_length(carried(&self.response, resource).len());
            if count > 0 && length + more > PIECE {
                break;
            }
            (count, length) = (count + 1, length + more);
        }
        (count, length)
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let response = &self.response;
        let head = if self.begun { 0 } else { HEADER + text_length(&response.version_info) };
        let (count, length) = self.fill(head);
        let (from, to) = (self.written, self.written + count);
        let is_last = to == response.resources.len();
        let mut piece = Vec::with_capacity(length + if is_last { tail_length(response) } else { 0 });
        if !self.begun {
            write_head(response, &mut piece);
        }
        for resource in &response.resources[from..to] {
            write(response::RESOURCES, carried(response, resource), &mut piece);
        }
        if is_last {
            write_tail(response, &mut piece);
        }
        (self.written, self.begun, self.over) = (to, true, is_last);
        Some(piece.into())
    }
}

/// How long the message is, without its header.
fn message_length(response: &Response) -> usize {
    let resources = response.resources.iter().map(|resource| field_length(carried(response, resource).len()));
    text_length(&response.version_info) + resources.sum::<usize>() + tail_length(response)
}

/// How long is what follows the resources.
fn tail_length(response: &Response) -> usize {
    let removed = response.removed.iter().map(|name| field_length(name.as_str().len()));
    text_length(response.kind.type_url()) + text_length(&response.nonce.to_string()) + removed.sum::<usize>()
}

fn write_head(response: &Response, to: &mut Vec<u8>) {
    to.push(0);
    // A message that is longer than can be said would be refused anyway.
    let length = u32::try_from(message_length(response)).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    write_text(response::VERSION, &response.version_info, to);
}

fn write_tail(response: &Response, to: &mut Vec<u8>) {
    write_text(response::TYPE_URL, response.kind.type_url(), to);
    write_text(response::NONCE, &response.nonce.to_string(), to);
    for name in &response.removed {
        // An element of a list is written even if it is empty.
        write(response::REMOVED, name.as_str().as_bytes(), to);
    }
}

/// What a response carries of a resource.
fn carried<'a>(response: &Response, resource: &'a Resource) -> &'a [u8] {
    match response.dialect {
        Dialect::Delta => resource.enveloped(),
        Dialect::Sotw => resource.any(),
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

fn write(field: u32, bytes: &[u8], to: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.put_slice(bytes);
}

fn write_text(field: u32, text: &str, to: &mut Vec<u8>) {
    if !text.is_empty() {
        write(field, text.as_bytes(), to);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message;

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
    fn a_large_response_is_written_in_pieces_of_exactly_their_size() {
        let mut sizes = Vec::new();
        for piece in Pieces::of(response(Dialect::Delta, &[1_000; 100])) {
            sizes.push(piece.len());
            // A buffer with room to spare could not become `Bytes` as it is.
            assert_eq!(Vec::from(piece).capacity(), sizes[sizes.len() - 1]);
        }
        assert_eq!(sizes.len(), 7, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= PIECE), "{sizes:?}");
        assert_eq!(Pieces::of(response(Dialect::Sotw, &[])).count(), 1, "nothing is an answer, too");
    }

    #[test]
    fn the_bytes_are_those_of_the_messages() {
        for sizes in [&[][..], &[0], &[1, 127, 128, 70_000]] {
            let (delta, sotw) = (response(Dialect::Delta, sizes), response(Dialect::Sotw, sizes));
            for (response, expected) in
                [(&delta, delta.to_delta().encode_to_vec()), (&sotw, sotw.to_sotw().encode_to_vec())]
            {
                let pieces: Vec<Bytes> = Pieces::of(response.clone()).collect();
                let bytes = pieces.concat();
                assert!(bytes[HEADER..] == expected, "{:?} with {sizes:?}", response.dialect);
                assert_eq!(bytes[0], 0, "it is not compressed");
                assert_eq!(bytes[1..HEADER], u32::try_from(expected.len()).expect("short").to_be_bytes());
            }
        }
    }
}
