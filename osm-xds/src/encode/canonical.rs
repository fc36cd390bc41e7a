//! Puts map entries in the order of their keys, at the level of the wire format.
//!
//! Written after "Encoding" of the Protocol Buffers documentation: a message is
//! a sequence of fields, a map is a repeated message with the key in field 1.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint};

/// The message with the entries of its maps in the order of their keys. `maps`
/// are paths of field numbers. Bytes that are no message come back unchanged.
pub(super) fn in_key_order(message: &[u8], maps: &[&[u32]]) -> Vec<u8> {
    rewrite(message, maps).unwrap_or_else(|| message.to_vec())
}

fn rewrite(message: &[u8], maps: &[&[u32]]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    let mut entries: Vec<(u32, &[u8])> = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let field = Field::read(&mut rest)?;
        let Some(content) = field.content else {
            out.extend_from_slice(field.whole);
            continue;
        };
        let deeper: Vec<&[u32]> = maps
            .iter()
            .filter(|path| path.first() == Some(&field.number))
            .filter_map(|path| path.get(1..))
            .collect();
        if deeper.is_empty() {
            out.extend_from_slice(field.whole);
        } else if deeper.iter().any(|path| path.is_empty()) {
            entries.push((field.number, content));
        } else {
            put(&mut out, field.number, &rewrite(content, &deeper)?);
        }
    }
    // Maps come last; decoders take fields in any order.
    entries.sort_by(|a, b| (a.0, map_key(a.1)).cmp(&(b.0, map_key(b.1))));
    for (number, entry) in entries {
        put(&mut out, number, entry);
    }
    Some(out)
}

fn put(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    out.reserve(content.len() + encoded_len_varint(content.len() as u64) + 5);
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// The key of a map entry: the content of its field 1; absent means empty.
fn map_key(entry: &[u8]) -> &[u8] {
    let mut rest = entry;
    while !rest.is_empty() {
        match Field::read(&mut rest) {
            Some(Field { number: 1, content, whole }) => return content.unwrap_or(whole),
            Some(_) => {}
            None => break,
        }
    }
    &[]
}

struct Field<'a> {
    number: u32,
    /// All bytes of the field.
    whole: &'a [u8],
    /// What a length-delimited field holds.
    content: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Takes a field off the front; `None` when there is none.
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let start = *rest;
        let (number, wire_type) = decode_key(rest).ok()?;
        let mut content = None;
        match wire_type {
            WireType::Varint => {
                decode_varint(rest).ok()?;
            }
            WireType::SixtyFourBit => *rest = rest.get(8..)?,
            WireType::ThirtyTwoBit => *rest = rest.get(4..)?,
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
                content = Some(rest.get(..length)?);
                *rest = rest.get(length..)?;
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        }
        let whole = start.get(..start.len() - rest.len())?;
        Some(Self { number, whole, content })
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::rbac::v3::{Policy, Rbac};
    use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac as HttpRbac, RbacPerRoute};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::encode::{Canonical, encode};

    fn with_policies(names: &[String]) -> RbacPerRoute {
        let policies = names.iter().map(|name| (name.clone(), Policy::default())).collect();
        let rules = Rbac { policies, ..Rbac::default() };
        RbacPerRoute { rbac: Some(HttpRbac { rules: Some(rules), ..HttpRbac::default() }) }
    }

    #[test]
    fn bytes_that_are_no_message_come_back_unchanged() {
        for bytes in [&[0xff; 12][..], &[0x0a, 0x7f, 1], &[0x0b], &[0x08]] {
            assert_eq!(in_key_order(bytes, &[&[1]]), bytes);
        }
    }

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let names: Vec<String> = (0..50).map(|n| format!("policy-{n:02}")).collect();
        let bytes = encode(&with_policies(&names));
        let places: Vec<_> = names
            .iter()
            .map(|name| bytes.windows(name.len()).position(|part| part == name.as_bytes()).expect("present"))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn equal_messages_have_equal_bytes_whatever_the_order_they_were_filled_in(
            names in proptest::collection::btree_set("[a-z]{0,12}", 0..20),
            seed in any::<u64>(),
        ) {
            let forward: Vec<String> = names.into_iter().collect();
            let mut shuffled = forward.clone();
            shuffled.sort_by_key(|name| xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), seed));
            let (one, other) = (with_policies(&forward), with_policies(&shuffled));
            prop_assert_eq!(encode(&one), encode(&other));
            let read = RbacPerRoute::decode(&encode(&one)[..]).expect("a message");
            prop_assert_eq!(read, other);
            prop_assert!(!RbacPerRoute::MAPS.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            in_key_order(&bytes, &[&[1], &[2, 3], &[2, 1]]);
        }
    }
}
