//! The HTTP connection managers of both sides, hardened.
//!
//! What a stranger may send is bounded and cleaned before policy looks at it:
//! paths are normalised, so that one path has one spelling; headers by which
//! proxies talk among themselves are taken off; connections of strangers can't
//! hold memory without end. Follows "Configuring Envoy as an edge proxy" of
//! Envoy's documentation, except where long-lived streams would be cut.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Mutation;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::{Action, RemoveOnMatch};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, InternalAddressConfig, PathWithEscapedSlashesAction, RouteSpecifier,
    ServerHeaderTransformation, SetCurrentClientCertDetails, UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration, UInt32Value};

use super::{access, cluster, listener, server_name, tls};
use crate::encode::pack;

/// A request's headers must be complete within so many seconds.
const REQUEST_HEADERS_TIMEOUT_S: i64 = 60;
/// Streams that one HTTP/2 connection may have open.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Prefix of the headers by which Envoys talk among themselves.
const ENVOY_HEADERS: &str = "x-envoy-";

/// Requests of the workload to a service, by the route configuration `routes`. Where a
/// member was dialled, those of its routes that lead to the member ask for it by its name.
pub(super) fn outbound(routes: &str, asks_for_members: bool) -> Filter {
    let asking = asks_for_members.then(|| http_filter(server_name::HTTP_FILTER, pack(&server_name::none())));
    let manager = HttpConnectionManager {
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::KeepUnchanged.into(),
        forward_client_cert_details: ForwardClientCertDetails::Sanitize.into(),
        http_protocol_options: Some(Http1ProtocolOptions {
            // Reverse proxies speak it to what is behind them unless told otherwise.
            accept_http_10: true,
            ..Default::default()
        }),
        http_filters: asking.into_iter().chain([router()]).collect(),
        ..manager(routes)
    };
    filter(&manager)
}

/// Requests of other proxies to the workload, by the route configuration
/// `routes`, whose routes say who may make them. A route that does not say so
/// lets nobody in.
pub(super) fn inbound(routes: &str) -> Filter {
    let manager = HttpConnectionManager {
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::RejectRequest.into(),
        forward_client_cert_details: ForwardClientCertDetails::SanitizeSet.into(),
        set_current_client_cert_details: Some(SetCurrentClientCertDetails {
            uri: true,
            dns: true,
            ..Default::default()
        }),
        http_filters: vec![http_filter(access::HTTP_FILTER, pack(&access::closed())), router()],
        ..manager(routes)
    };
    filter(&manager)
}

/// Requests of a program that routes them itself, by the route configuration
/// `routes`. What strangers may do is no matter there.
pub(super) fn library(routes: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        route_specifier: Some(routed_by(routes)),
        http_filters: vec![router()],
        ..Default::default()
    }
}

fn routed_by(routes: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(Rds { config_source: Some(tls::ads()), route_config_name: routes.to_owned() })
}

fn manager(routes: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: routes.to_owned(),
        route_specifier: Some(routed_by(routes)),
        normalize_path: Some(BoolValue { value: true }),
        merge_slashes: true,
        early_header_mutation_extensions: vec![without_envoy_headers()],
        // No address is trusted for being private.
        internal_address_config: Some(InternalAddressConfig::default()),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        request_headers_timeout: seconds(REQUEST_HEADERS_TIMEOUT_S),
        // Streams, long polls and WebSockets may be silent for as long as they like.
        stream_idle_timeout: seconds(0),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: Some(UInt32Value { value: MAX_CONCURRENT_STREAMS }),
            ..cluster::http2_options()
        }),
        ..Default::default()
    }
}

/// Takes off what only another proxy of this mesh could mean well.
fn without_envoy_headers() -> TypedExtensionConfig {
    let prefix = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(ENVOY_HEADERS.to_owned())),
        ignore_case: true,
    };
    let mutation =
        Mutation { action: Some(Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(prefix) })) };
    TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
        typed_config: Some(pack(&HeaderMutation { mutations: vec![mutation] })),
    }
}

fn router() -> HttpFilter {
    let router = Router { suppress_envoy_headers: true, ..Default::default() };
    http_filter("envoy.filters.http.router", pack(&router))
}

fn http_filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn filter(manager: &HttpConnectionManager) -> Filter {
    listener::filter("envoy.filters.network.http_connection_manager", pack(manager))
}

/// A duration; 0 means without end where Envoy takes it so.
pub(super) fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}
