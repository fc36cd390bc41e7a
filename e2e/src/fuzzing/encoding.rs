//! Any message, encoded canonically.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http_rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, Secret, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use osm_xds::encode::{Canonical, encode};
use prost_reflect::{DynamicMessage, Value};

use super::script::Script;
use crate::descriptors;

/// Reads bytes as a message, writes it, and reads that: the bytes are stable, and
/// the same whatever the order in which its maps were filled.
pub fn encoding(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    match script.below(10) {
        0 => check::<Cluster>(script.rest()),
        1 => check::<ClusterLoadAssignment>(script.rest()),
        2 => check::<Listener>(script.rest()),
        3 => check::<RouteConfiguration>(script.rest()),
        4 => check::<Secret>(script.rest()),
        5 => check::<HttpConnectionManager>(script.rest()),
        6 => check::<http_rbac::RbacPerRoute>(script.rest()),
        7 => check::<DownstreamTlsContext>(script.rest()),
        8 => check::<HttpProtocolOptions>(script.rest()),
        _ => check::<UpstreamTlsContext>(script.rest()),
    }
}

fn check<M: Canonical + Default>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let written = encode(&message);
    assert_eq!(written.len(), message.encoded_len(), "putting entries in order loses and adds nothing");
    let again = M::decode(&written[..]).expect("what is written can be read");
    assert_eq!(again.encoded_len(), message.encoded_len());
    // Each reading fills its maps anew, and each map has an order of its own.
    let other = M::decode(bytes).expect("it was read before");
    let is_stable = encode(&again) == written && encode(&other) == written;
    assert!(is_stable || has_other_maps::<M>(&written), "{} has no stable bytes", M::full_name());
}

/// Whether a message has entries in a map that nothing generated has, whose order
/// is open therefore. The answer for what can't be told is yes.
fn has_other_maps<M: Canonical>(written: &[u8]) -> bool {
    let mut filled = Vec::new();
    let descriptor = descriptors::pool().expect("descriptors").get_message_by_name(&M::full_name());
    let Some(Ok(message)) = descriptor.map(|known| DynamicMessage::decode(known, written)) else {
        return true;
    };
    filled_maps(&message, &mut Vec::new(), &mut filled);
    filled.iter().any(|path| !M::MAPS.contains(&path.as_slice()))
}

/// The maps with entries in a message and the messages in it, as paths of field numbers.
fn filled_maps(message: &DynamicMessage, path: &mut Vec<u32>, filled: &mut Vec<Vec<u32>>) {
    for (field, value) in message.fields() {
        path.push(field.number());
        match value {
            Value::Message(message) => filled_maps(message, path, filled),
            Value::List(values) => {
                values.iter().filter_map(Value::as_message).for_each(|one| filled_maps(one, path, filled));
            }
            Value::Map(entries) => {
                if entries.len() > 1 {
                    filled.push(path.clone());
                }
                // An entry's value is its field 2.
                path.push(2);
                entries.values().filter_map(Value::as_message).for_each(|one| filled_maps(one, path, filled));
                path.pop();
            }
            _ => {}
        }
        path.pop();
    }
}
