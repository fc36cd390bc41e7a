//! Who may do what: for HTTP as Envoy's role-based access control, for TCP as
//! the clients that the handshake lets in.
//!
//! A request is allowed if any policy fits it; without policies nothing is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::rbac::v3::permission::Rule;
use envoy_types::pb::envoy::config::rbac::v3::principal::{Authenticated, Identifier};
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, permission};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac as HttpRbac, RbacPerRoute};
use envoy_types::pb::envoy::r#type::matcher::v3::path_matcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, StringMatcher};
use osm_core::identity::Principal as Identity;
use osm_core::ir::{Access, HttpRule, RequestMatch, Requests, TcpRule};
use osm_core::model::Methods;

use super::{requests, tls};

/// The name of the filter, under which routes carry their rules.
pub(super) const HTTP_FILTER: &str = "envoy.filters.http.rbac";

/// Lets no request through: for routes that carry no rules.
pub(super) fn closed() -> HttpRbac {
    HttpRbac { rules: Some(rules(HashMap::new())), ..Default::default() }
}

/// The rules of a route.
pub(super) fn http(access: &Access<Vec<HttpRule>>) -> RbacPerRoute {
    let policies = match access {
        Access::Everyone(origin) => {
            HashMap::from([(origin.name(), policy(vec![permit(Rule::Any(true))], vec![everyone()]))])
        }
        Access::Nobody(_) => HashMap::new(),
        Access::These(rules) => named(rules.iter().map(|rule| (&rule.name, http_policy(rule)))),
    };
    RbacPerRoute { rbac: Some(HttpRbac { rules: Some(rules(policies)), ..Default::default() }) }
}

/// Whom the handshake of a TCP service lets in. There is no such thing as an
/// empty list: it would be written as "everyone".
#[derive(Debug)]
pub(super) enum Clients {
    /// Everyone with a certificate of the mesh.
    Everyone,
    /// These; never empty.
    These(BTreeSet<Identity>),
}

/// Whom a TCP service lets in; `None` when that is nobody.
pub(super) fn tcp(access: &Access<Vec<TcpRule>>) -> Option<Clients> {
    match access {
        Access::Everyone(_) => Some(Clients::Everyone),
        Access::Nobody(_) => None,
        Access::These(rules) => {
            let named: BTreeSet<_> = rules.iter().flat_map(|rule| rule.principals.iter().cloned()).collect();
            (!named.is_empty()).then_some(Clients::These(named))
        }
    }
}

fn http_policy(rule: &HttpRule) -> Policy {
    let HttpRule { name: _, principals: who, requests, origin: _ } = rule;
    let permissions = match requests {
        Requests::Any => vec![permit(Rule::Any(true))],
        Requests::These(matches) => matches.iter().map(permission_for).collect(),
    };
    policy(permissions, principals(who))
}

/// All parts of a match must fit.
fn permission_for(request: &RequestMatch) -> Permission {
    let RequestMatch { path, methods, headers } = request;
    let mut parts = Vec::new();
    if let Some(path) = path {
        let matcher = StringMatcher { match_pattern: Some(requests::whole(path)), ignore_case: false };
        parts.push(permit(Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(matcher)) })));
    }
    if let Methods::These(methods) = methods {
        let method = |method: &String| {
            permit(Rule::Header(requests::header(":method", MatchPattern::Exact(method.clone()))))
        };
        let mut methods: Vec<Permission> = methods.iter().map(method).collect();
        parts.push(match methods.len() {
            1 => methods.remove(0),
            _ => permit(Rule::OrRules(permission::Set { rules: methods })),
        });
    }
    parts.extend(
        headers
            .iter()
            .map(|(name, value)| permit(Rule::Header(requests::header(name, requests::whole(value))))),
    );
    match parts.len() {
        0 => permit(Rule::Any(true)),
        1 => parts.remove(0),
        _ => permit(Rule::AndRules(permission::Set { rules: parts })),
    }
}

fn principals(identities: &BTreeSet<Identity>) -> Vec<Principal> {
    let one =
        |identity: &Identity| Authenticated { principal_name: Some(tls::exactly(identity.to_string())) };
    identities.iter().map(|identity| principal(Identifier::Authenticated(one(identity)))).collect()
}

/// Everyone with a certificate of the mesh.
fn everyone() -> Principal {
    principal(Identifier::Authenticated(Authenticated::default()))
}

/// Policies under their names; a name that is there already gets a number.
fn named<'a>(policies: impl Iterator<Item = (&'a Arc<str>, Policy)>) -> HashMap<String, Policy> {
    let mut named = HashMap::new();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, policy) in policies {
        let before = count.entry(name).or_default();
        *before += 1;
        let unique = if *before == 1 { name.to_string() } else { format!("{name}#{before}") };
        named.insert(unique, policy);
    }
    named
}

fn rules(policies: HashMap<String, Policy>) -> Rbac {
    Rbac { action: Action::Allow.into(), policies, ..Default::default() }
}

fn policy(permissions: Vec<Permission>, principals: Vec<Principal>) -> Policy {
    Policy { permissions, principals, ..Default::default() }
}

fn permit(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}
