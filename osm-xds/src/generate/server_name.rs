//! By which name a member of a headless service is asked for, where it has one.
//!
//! The listener of a member knows the name; its cluster is that of all members. A connection
//! hands the name on to those that follow from it. Requests may also lead away from the
//! member, to other services: so their connection only notes the name, and a route that
//! leads to the member asks for what was noted.

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{DataSource, SubstitutionFormatString};
use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::FilterStateValue;
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::filter_state_value::{
    Key, Value,
};
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3 as http_filter_state;
use envoy_types::pb::envoy::extensions::filters::network::set_filter_state::v3 as network_filter_state;
use envoy_types::pb::google::protobuf::Any;

use super::listener;
use crate::encode::pack;

/// The filter by which requests ask for what was noted.
pub(super) const HTTP_FILTER: &str = "envoy.filters.http.set_filter_state";
/// What Envoy calls the name that a connection asks its server for.
const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";
/// Where the name of the member is noted.
const MEMBER: &str = "osm.member";
/// What Envoy calls a text that means nothing to itself.
const TEXT: &str = "envoy.string";

/// Has the connections that follow from this one ask their server for this name, whatever
/// their cluster would ask for.
pub(super) fn ask(server_name: &str) -> Filter {
    on_connection(named(UPSTREAM_SERVER_NAME, text(server_name)))
}

/// Notes this name for the requests of a connection.
pub(super) fn note(server_name: &str) -> Filter {
    on_connection(FilterStateValue { factory_key: TEXT.to_owned(), ..named(MEMBER, text(server_name)) })
}

/// What a route says to that filter, by its name: the server is asked for by what was
/// noted, and if nothing was, as its cluster asks for it.
pub(super) fn of_noted() -> (String, Any) {
    let noted = text(&format!("%FILTER_STATE({MEMBER}:PLAIN)%"));
    let noted = SubstitutionFormatString { omit_empty_values: true, ..noted };
    let asked = FilterStateValue { skip_if_empty: true, ..named(UPSTREAM_SERVER_NAME, noted) };
    let config = http_filter_state::Config { on_request_headers: vec![asked], ..none() };
    (HTTP_FILTER.to_owned(), pack(&config))
}

/// What that filter does on routes that say nothing to it.
pub(super) fn none() -> http_filter_state::Config {
    http_filter_state::Config::default()
}

fn on_connection(value: FilterStateValue) -> Filter {
    let config = network_filter_state::Config { on_new_connection: vec![value], ..Default::default() };
    listener::filter("envoy.filters.network.set_filter_state", pack(&config))
}

fn named(key: &str, value: SubstitutionFormatString) -> FilterStateValue {
    FilterStateValue {
        key: Some(Key::ObjectKey(key.to_owned())),
        value: Some(Value::FormatString(value)),
        ..Default::default()
    }
}

fn text(text: &str) -> SubstitutionFormatString {
    let source =
        DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() };
    SubstitutionFormatString { format: Some(Format::TextFormatSource(source)), ..Default::default() }
}
