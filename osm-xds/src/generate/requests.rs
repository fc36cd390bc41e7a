//! Kinds of requests, as routes and rules match them.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use osm_core::ir::RequestMatch;
use osm_core::model::Methods;

use super::outbound::every_request;

/// A route's match that a request fits when it fits all parts of `request`.
pub(super) fn fitting(request: &RequestMatch) -> RouteMatch {
    let RequestMatch { path, methods, headers } = request;
    let mut fits = every_request();
    if let Some(path) = path {
        fits.path_specifier = Some(PathSpecifier::SafeRegex(regex(path)));
    }
    if let Methods::These(methods) = methods {
        // Methods are words of the specification: nothing in them is special in an expression.
        let any_of = methods.iter().map(String::as_str).collect::<Vec<_>>().join("|");
        fits.headers.push(header(":method", MatchPattern::SafeRegex(regex(&any_of.into()))));
    }
    fits.headers.extend(headers.iter().map(|(name, value)| header(name, whole(value))));
    fits
}

/// A header whose value fits a pattern.
pub(super) fn header(name: &str, pattern: MatchPattern) -> HeaderMatcher {
    let matcher = StringMatcher { match_pattern: Some(pattern), ignore_case: false };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..Default::default()
    }
}

/// Envoy matches the whole text.
pub(super) fn whole(expression: &Arc<str>) -> MatchPattern {
    MatchPattern::SafeRegex(regex(expression))
}

fn regex(expression: &Arc<str>) -> RegexMatcher {
    RegexMatcher { regex: expression.to_string(), ..Default::default() }
}
