//! The one place where messages become bytes.
//!
//! Equal messages give equal bytes, in every process and on every replica:
//! resource versions are hashes of them. Protobuf leaves the order of map
//! entries open, and `envoy-types` keeps maps in hash maps, so entries are put
//! in the order of their keys here, after encoding. [`Canonical::MAPS`] says for
//! each message where its maps are.
//!
//! Not here: what messages say.

use bytes::Bytes;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

mod canonical;
mod messages;

/// A message that may become bytes.
///
/// A message inside an [`Any`] is packed by [`pack`] first, and so is canonical
/// when the message around it is encoded.
pub trait Canonical: Message + Name {
    /// The map fields that the message and the messages in it use: field
    /// numbers from the outside in.
    const MAPS: &'static [&'static [u32]];
}

/// Encodes a message canonically.
#[must_use]
pub fn encode<M: Canonical>(message: &M) -> Bytes {
    let bytes = message.encode_to_vec();
    if M::MAPS.is_empty() {
        return bytes.into();
    }
    canonical::in_key_order(&bytes, M::MAPS).into()
}

/// Wraps a message in an `Any`, encoded canonically.
#[must_use]
pub fn pack<M: Canonical>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: encode(message).into() }
}
