//! TrafficTarget (access.smi-spec.io/v1alpha3).
//!
//! A grant is only as wide as what was understood of it: a source that can't
//! be understood is left out, and a rule that can't be understood takes the
//! whole target with it, because what it would have narrowed is unknown.

use osm_core::identity::ServiceIdentity;
use osm_core::model;
use osm_core::name::{Kind, NamespaceName, ObjectName, ObjectRef};
use schemars::JsonSchema;
use serde::Deserialize;

use super::conversion::{Findings, shown};
use super::field::Ignored;
use super::{Conversion, Metadata, field};

/// The most sources of one target.
pub const MAX_SOURCES: usize = 1024;
/// The most rules of one target.
pub const MAX_RULES: usize = 256;
/// The most matches that one rule can name.
pub const MAX_RULE_MATCHES: usize = 256;

/// A TrafficTarget.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficTarget {
    #[serde(default, rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// Who may reach whom.
    pub spec: TrafficTargetSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

/// Who may reach whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["destination", "sources", "rules"]))]
pub struct TrafficTargetSpec {
    /// Who is reached.
    pub destination: IdentityRef,
    /// Who may reach it.
    #[serde(default, deserialize_with = "field::nullable")]
    #[schemars(extend("maxItems" = MAX_SOURCES))]
    pub sources: Vec<IdentityRef>,
    /// By which routes.
    #[serde(default, deserialize_with = "field::nullable")]
    #[schemars(extend("maxItems" = MAX_RULES))]
    pub rules: Vec<TargetRule>,
}

/// An identity: a service account by name and namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityRef {
    /// `ServiceAccount`, the only kind of identity there is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; it must be written.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// One rule: a route object, and which matches of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetRule {
    /// `HTTPRouteGroup` or `TCPRoute`.
    #[schemars(extend("enum" = ["HTTPRouteGroup", "TCPRoute", "UDPRoute"]))]
    pub kind: String,
    /// The route object, in the target's namespace.
    pub name: String,
    /// The matches of an HTTPRouteGroup that count; `None` counts all.
    #[serde(default)]
    #[schemars(extend("maxItems" = MAX_RULE_MATCHES))]
    pub matches: Option<Vec<String>>,
}

impl TrafficTarget {
    /// The target as a fact; none when it is not in force as a whole.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::TrafficTarget, &name));
        let namespace = self.metadata.namespace();
        // Both are read even if one fails, so that all mistakes are shown at once.
        let destination = self.spec.destination(&namespace, &mut findings);
        let rules = self.spec.rules(&mut findings);
        let sources = self.spec.sources(&mut findings);
        let (Some(destination), Some(rules), Some(sources)) = (destination, rules, sources) else {
            return findings.without_fact();
        };
        let mut fact = model::TrafficTarget::new(name, destination);
        fact.meta = self.metadata.meta();
        fact.sources = sources;
        fact.rules = rules;
        findings.with(fact)
    }
}

impl TrafficTargetSpec {
    fn destination(&self, namespace: &NamespaceName, findings: &mut Findings) -> Option<ServiceIdentity> {
        let path = "spec.destination";
        let identity = self.destination.identity(path, "the target is not in force", findings)?;
        if identity.namespace != *namespace {
            let message = format!(
                "a target can only open what is in its own namespace, and `{}` is not `{namespace}`; the target is not \
                 in force",
                identity.namespace
            );
            findings.error("destination-in-other-namespace", format!("{path}.namespace"), message);
            return None;
        }
        Some(identity)
    }

    fn sources(&self, findings: &mut Findings) -> Option<Vec<ServiceIdentity>> {
        if self.sources.len() > MAX_SOURCES {
            findings.error(
                "too-many-sources",
                "spec.sources",
                format!("more than {MAX_SOURCES} sources; split the target, it is not in force"),
            );
            return None;
        }
        let mut sources = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let path = format!("spec.sources[{index}]");
            match source.identity(&path, "it is allowed nothing", findings) {
                Some(identity) if sources.contains(&identity) => {}
                Some(identity) => sources.push(identity),
                None => {}
            }
        }
        Some(sources)
    }

    fn rules(&self, findings: &mut Findings) -> Option<Vec<model::RouteRule>> {
        if self.rules.len() > MAX_RULES {
            findings.error(
                "too-many-rules",
                "spec.rules",
                format!("more than {MAX_RULES} rules; split the target, it is not in force"),
            );
            return None;
        }
        let rules: Vec<_> =
            self.rules.iter().enumerate().map(|(index, rule)| rule.fact(index, findings)).collect();
        rules.into_iter().collect()
    }
}

impl IdentityRef {
    /// The identity that is meant; `None` after saying why it is none.
    fn identity(&self, path: &str, effect: &str, findings: &mut Findings) -> Option<ServiceIdentity> {
        if self.kind != "ServiceAccount" {
            let message = format!(
                "`{}` is not an identity; use ServiceAccount. Until then {effect}",
                shown(&self.kind)
            );
            findings.error("unknown-identity-kind", format!("{path}.kind"), message);
            return None;
        }
        let Some(namespace) = self.namespace.as_deref().filter(|namespace| !namespace.is_empty()) else {
            let message = format!("write the namespace of the service account. Until then {effect}");
            findings.error("missing-namespace", format!("{path}.namespace"), message);
            return None;
        };
        let namespace = checked(namespace, "namespace", path, effect, findings)?;
        let name = checked(&self.name, "name", path, effect, findings)?;
        Some(ServiceIdentity::new(namespace, name))
    }
}

/// Parses a name of an identity; `None` after saying what is wrong with it.
fn checked<T>(text: &str, part: &str, path: &str, effect: &str, findings: &mut Findings) -> Option<T>
where
    T: std::str::FromStr<Err = osm_core::name::InvalidName>,
{
    text.parse()
        .map_err(|error| findings.error("bad-name", format!("{path}.{part}"), format!("{error}; {effect}")))
        .ok()
}

impl TargetRule {
    fn fact(&self, index: usize, findings: &mut Findings) -> Option<model::RouteRule> {
        let path = format!("spec.rules[{index}]");
        let effect = "the target is not in force";
        if !matches!(self.kind.as_str(), "HTTPRouteGroup" | "TCPRoute") {
            let message = format!(
                "`{}` is not carried; use HTTPRouteGroup or TCPRoute. Until then {effect}",
                shown(&self.kind)
            );
            findings.error("unknown-rule-kind", format!("{path}.kind"), message);
            return None;
        }
        let name: ObjectName = checked(&self.name, "name", &path, effect, findings)?;
        let matches = self.matches.as_deref();
        if matches.is_some_and(|matches| matches.len() > MAX_RULE_MATCHES) {
            let message = format!("more than {MAX_RULE_MATCHES} matches; {effect}");
            findings.error("too-many-matches", format!("{path}.matches"), message);
            return None;
        }
        if self.kind == "TCPRoute" {
            if matches.is_some_and(|matches| !matches.is_empty()) {
                let message = "a TCPRoute has no named matches; the list has no effect";
                findings.warning("matches-without-effect", format!("{path}.matches"), message);
            }
            return Some(model::RouteRule::Tcp { route: name });
        }
        Some(model::RouteRule::Http { group: name, matches: self.matches.clone() })
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{MeshObject, RouteRule, TrafficTarget};

    const DESTINATION: &str = "destination: {kind: ServiceAccount, name: store, namespace: shop}";
    const SOURCE: &str = "{kind: ServiceAccount, name: buyer, namespace: shop}";
    const RULE: &str = "{kind: HTTPRouteGroup, name: books}";

    fn text(destination: &str, sources: &str, rules: &str) -> String {
        format!(
            "{{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {{name: t, namespace: shop}}, \
             spec: {{{destination}, sources: [{sources}], rules: [{rules}]}}}}"
        )
    }

    fn target(text: &str) -> TrafficTarget {
        match fact(text) {
            MeshObject::TrafficTarget(target) => target,
            other => panic!("{other:?} is not a target"),
        }
    }

    #[test]
    fn a_target_names_who_reaches_whom_by_what() {
        let rules = "{kind: HTTPRouteGroup, name: books, matches: [buy]}, {kind: TCPRoute, name: db}";
        let target = target(&text(DESTINATION, &format!("{SOURCE}, {SOURCE}"), rules));
        assert_eq!(target.destination.to_string(), "shop/store");
        assert_eq!(target.sources.len(), 1, "the same source twice is one source");
        assert_eq!(
            target.rules,
            [
                RouteRule::Http {
                    group: "books".parse().expect("a name"),
                    matches: Some(vec!["buy".to_owned()])
                },
                RouteRule::Tcp { route: "db".parse().expect("a name") }
            ]
        );
    }

    #[test]
    fn a_source_that_is_not_understood_is_allowed_nothing() {
        let cases = [
            ("{kind: Group, name: x, namespace: shop}", "unknown-identity-kind spec.sources[0].kind"),
            ("{kind: ServiceAccount, name: x}", "missing-namespace spec.sources[0].namespace"),
            ("{kind: ServiceAccount, name: x, namespace: ''}", "missing-namespace spec.sources[0].namespace"),
            ("{kind: ServiceAccount, name: '*', namespace: shop}", "bad-name spec.sources[0].name"),
            ("{kind: ServiceAccount, name: x, namespace: A}", "bad-name spec.sources[0].namespace"),
        ];
        for (source, want) in cases {
            let text = text(DESTINATION, &format!("{source}, {SOURCE}"), RULE);
            assert_eq!(findings(&text), [want]);
            let MeshObject::TrafficTarget(target) = &convert(&text).objects[0] else {
                panic!("not a target")
            };
            assert_eq!(target.sources.len(), 1, "{source}: only the other source counts");
        }
    }

    #[test]
    fn nobody_and_nothing_stay_nobody_and_nothing() {
        // That this lets nobody in is said where targets are linked.
        let target = target(&text(DESTINATION, "", ""));
        assert!(target.sources.is_empty() && target.rules.is_empty());
    }

    #[test]
    fn an_empty_list_of_matches_is_not_all_matches() {
        let target = target(&text(DESTINATION, SOURCE, "{kind: HTTPRouteGroup, name: books, matches: []}"));
        assert!(
            matches!(&target.rules[0], RouteRule::Http { matches: Some(matches), .. } if matches.is_empty())
        );
    }

    #[test]
    fn a_target_is_not_in_force_when_a_rule_or_the_destination_is_not_understood() {
        let cases = [
            (DESTINATION, "{kind: UDPRoute, name: u}", "unknown-rule-kind spec.rules[0].kind"),
            (DESTINATION, "{kind: TCPRoute, name: A B}", "bad-name spec.rules[0].name"),
            (
                "destination: {kind: ServiceAccount, name: store, namespace: bank}",
                RULE,
                "destination-in-other-namespace spec.destination.namespace",
            ),
            (
                "destination: {kind: ServiceAccount, name: store}",
                RULE,
                "missing-namespace spec.destination.namespace",
            ),
            (
                "destination: {kind: Service, name: store, namespace: shop}",
                RULE,
                "unknown-identity-kind spec.destination.kind",
            ),
        ];
        for (destination, rule, want) in cases {
            let text = text(destination, SOURCE, &format!("{rule}, {RULE}"));
            assert_eq!(findings(&text), [want]);
            assert_eq!(convert(&text).objects, [], "{want}");
        }
    }

    #[test]
    fn more_than_the_limits_is_not_in_force() {
        let many = |one: &str, count: usize| vec![one; count].join(", ");
        let sources = text(DESTINATION, &many(SOURCE, super::MAX_SOURCES + 1), RULE);
        assert_eq!(findings(&sources), ["too-many-sources spec.sources"]);
        assert_eq!(convert(&sources).objects, []);
        let rules = text(DESTINATION, SOURCE, &many(RULE, super::MAX_RULES + 1));
        assert_eq!(findings(&rules), ["too-many-rules spec.rules"]);
        assert_eq!(convert(&rules).objects, []);
    }

    #[test]
    fn an_unknown_field_does_not_read_at_any_depth() {
        for (at, text) in [
            ("spec.source", text(&format!("source: [], {DESTINATION}"), SOURCE, RULE)),
            (
                "spec.sources[0].names",
                text(DESTINATION, "{kind: ServiceAccount, names: x, namespace: shop}", RULE),
            ),
            ("spec.rules[0].match", text(DESTINATION, SOURCE, "{kind: TCPRoute, name: x, match: [a]}")),
        ] {
            let error = read_error(&text);
            assert_eq!(error.field, at, "{error}");
        }
    }
}
