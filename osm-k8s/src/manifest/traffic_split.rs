//! TrafficSplit (split.smi-spec.io/v1alpha2 to v1alpha4).

use osm_core::model;
use osm_core::name::{Kind, NamespaceName, ObjectName, ObjectRef, ServiceName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::conversion::{Findings, shown};
use super::field::Ignored;
use super::{Conversion, ManifestKind, Metadata};

/// The most backends of one split.
pub const MAX_BACKENDS: usize = 64;
/// The most route groups that one split can name.
pub const MAX_GROUPS: usize = 16;
/// The largest weight. All weights of a split together stay far below what a
/// proxy can add up.
pub const MAX_WEIGHT: u32 = 1_000_000;

/// The version that has no `matches` yet.
const WITHOUT_MATCHES: &str = "split.smi-spec.io/v1alpha2";

/// The forms in which a name of a service may go on after its namespace.
const DOMAIN_SUFFIXES: [&str; 4] = ["", ".svc", ".svc.cluster", ".svc.cluster.local"];

/// A TrafficSplit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSplit {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is divided.
    pub spec: TrafficSplitSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

/// What is divided, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficSplitSpec {
    /// The service that clients dial.
    pub service: String,
    /// Who serves it instead.
    #[schemars(extend("maxItems" = MAX_BACKENDS))]
    pub backends: Vec<SplitBackend>,
    /// The groups of requests that are divided, from v1alpha3 on; `None` divides
    /// everything.
    #[serde(default)]
    #[schemars(extend("maxItems" = MAX_GROUPS))]
    pub matches: Option<Vec<RouteGroupRef>>,
}

/// A group of requests, in the split's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteGroupRef {
    /// `specs.smi-spec.io`, which need not be written.
    #[serde(default)]
    pub api_group: Option<String>,
    /// `HTTPRouteGroup`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A backend and its share.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitBackend {
    /// The service that serves.
    pub service: String,
    /// Its share, relative to the sum of all; at most [`MAX_WEIGHT`].
    #[serde(deserialize_with = "weight")]
    #[schemars(extend("minimum" = 0, "maximum" = MAX_WEIGHT))]
    pub weight: u32,
}

impl TrafficSplit {
    /// The split as a fact; none when it is not in force. A split divides
    /// wholly or not at all: with one backend left out, the others would get
    /// more than was meant for them.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let namespace = self.metadata.namespace();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::TrafficSplit, &name));
        let service = service_name(&self.spec.service, &namespace, "spec.service", &mut findings);
        let backends = self.backends(&namespace, &mut findings);
        let matches = self.matches(&mut findings);
        let (Some(service), Some(backends), Some(matches)) = (service, backends, matches) else {
            return findings.without_fact();
        };
        let mut fact = model::TrafficSplit::new(name, service);
        fact.meta = self.metadata.meta();
        fact.backends = backends;
        fact.matches = matches;
        findings.with(fact)
    }

    /// The groups that are named, if any may be; `None` after saying why they
    /// can't be understood.
    fn matches(&self, findings: &mut Findings) -> Option<Option<Vec<ObjectName>>> {
        let Some(written) = &self.spec.matches else { return Some(None) };
        if self.api_version.as_deref() == Some(WITHOUT_MATCHES) {
            let message = format!(
                "{WITHOUT_MATCHES} has no matches; write `apiVersion: {}`. Until then the split is not in force",
                ManifestKind::TrafficSplit.api_version()
            );
            findings.error("matches-in-old-version", "spec.matches", message);
            return None;
        }
        if written.len() > MAX_GROUPS {
            let message = format!("more than {MAX_GROUPS} route groups; the split is not in force");
            findings.error("too-many-matches", "spec.matches", message);
            return None;
        }
        let groups: Vec<_> = (written.iter().enumerate())
            .map(|(index, group)| group.name(&format!("spec.matches[{index}]"), findings))
            .collect();
        groups.into_iter().collect::<Option<_>>().map(Some)
    }

    fn backends(
        &self,
        namespace: &NamespaceName,
        findings: &mut Findings,
    ) -> Option<Vec<model::SplitBackend>> {
        if self.spec.backends.len() > MAX_BACKENDS {
            let message = format!("more than {MAX_BACKENDS} backends; the split is not in force");
            findings.error("too-many-backends", "spec.backends", message);
            return None;
        }
        if self.spec.backends.is_empty() {
            findings.error("no-backends", "spec.backends", "no backend is named; the split is not in force");
            return None;
        }
        let all: Vec<_> = (self.spec.backends.iter().enumerate())
            .map(|(index, backend)| {
                let path = format!("spec.backends[{index}].service");
                let service = service_name(&backend.service, namespace, &path, findings)?;
                Some(model::SplitBackend { service, weight: backend.weight })
            })
            .collect();
        all.into_iter().collect()
    }
}

impl RouteGroupRef {
    fn name(&self, path: &str, findings: &mut Findings) -> Option<ObjectName> {
        let kind = ManifestKind::HttpRouteGroup;
        if self.kind != kind.name() {
            let message = format!(
                "`{}` describes no requests; use {kind}. Until then the split is not in force",
                shown(&self.kind)
            );
            findings.error("unknown-match-kind", format!("{path}.kind"), message);
            return None;
        }
        if let Some(group) =
            self.api_group.as_deref().filter(|group| !matches!(*group, "" | "specs.smi-spec.io"))
        {
            let message = format!(
                "{kind} belongs to `{}`, not to `{}`. Until then the split is not in force",
                kind.group(),
                shown(group)
            );
            findings.error("unknown-match-kind", format!("{path}.apiGroup"), message);
            return None;
        }
        let name = self.name.parse();
        name.map_err(|error| {
            findings.error("bad-name", format!("{path}.name"), format!("{error}; the split is not in force"));
        })
        .ok()
    }
}

/// The service that a split means by a text: its name alone, or followed by the
/// split's namespace and any part of the cluster's domain.
fn service_name(
    text: &str,
    namespace: &NamespaceName,
    path: &str,
    findings: &mut Findings,
) -> Option<ServiceName> {
    let bare = DOMAIN_SUFFIXES
        .iter()
        .find_map(|suffix| text.strip_suffix(&format!(".{namespace}{suffix}")))
        .unwrap_or(text);
    if bare.contains('.') {
        let message = format!(
            "`{}` is not a service of the split's namespace `{namespace}`; write `<service>` or \
             `<service>.{namespace}`. Until then the split is not in force",
            shown(text)
        );
        findings.error("service-in-other-namespace", path, message);
        return None;
    }
    match bare.parse() {
        Ok(name) => Some(ServiceName::new(namespace.clone(), name)),
        Err(error) => {
            findings.error("bad-name", path, format!("{error}; the split is not in force"));
            None
        }
    }
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let weight = i64::deserialize(deserializer)?;
    u32::try_from(weight)
        .ok()
        .filter(|weight| *weight <= MAX_WEIGHT)
        .ok_or_else(|| D::Error::custom(format!("{weight} is not a weight; weights are 0 to {MAX_WEIGHT}")))
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{MeshObject, TrafficSplit};

    fn text(service: &str, backends: &str) -> String {
        format!(
            "{{apiVersion: split.smi-spec.io/v1alpha2, kind: TrafficSplit, metadata: {{name: s, namespace: shop}}, \
             spec: {{service: '{service}', backends: [{backends}]}}}}"
        )
    }

    fn split(text: &str) -> TrafficSplit {
        match fact(text) {
            MeshObject::TrafficSplit(split) => split,
            other => panic!("{other:?} is not a split"),
        }
    }

    #[test]
    fn a_service_may_be_written_in_every_form_of_its_own_namespace() {
        for form in ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster", "web.shop.svc.cluster.local"]
        {
            let split =
                split(&text(form, &format!("{{service: {form}, weight: 1}}, {{service: v2, weight: 0}}")));
            assert_eq!(split.service.to_string(), "shop/web", "{form}");
            assert_eq!(split.backends[0].service.to_string(), "shop/web", "{form}");
            assert_eq!(split.backends[1].weight, 0);
        }
    }

    fn text_by(version: &str, matches: &str) -> String {
        let text = text("web", "{service: v1, weight: 1}").replace("v1alpha2", version);
        text.replace("spec: {", &format!("spec: {{matches: {matches}, "))
    }

    #[test]
    fn the_requests_that_are_divided_are_named_by_route_groups() {
        let groups =
            "[{kind: HTTPRouteGroup, name: b}, {apiGroup: specs.smi-spec.io, kind: HTTPRouteGroup, name: a}]";
        for version in ["v1alpha3", "v1alpha4"] {
            let named = split(&text_by(version, groups)).matches.expect("matches");
            assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "a"]);
            assert_eq!(split(&text_by(version, "null")).matches, None);
            assert_eq!(split(&text_by(version, "[]")).matches, Some(vec![]), "none is not all");
            assert_eq!(
                split(&text("web", "{service: v1, weight: 1}").replace("v1alpha2", version)).matches,
                None
            );
        }
    }

    #[test]
    fn matches_that_can_not_be_understood_put_the_split_out_of_force() {
        let good = "{kind: HTTPRouteGroup, name: a}";
        for (version, matches, want) in [
            ("v1alpha2", format!("[{good}]"), "matches-in-old-version spec.matches"),
            (
                "v1alpha4",
                format!("[{good}, {{kind: TCPRoute, name: a}}]"),
                "unknown-match-kind spec.matches[1].kind",
            ),
            (
                "v1alpha4",
                "[{apiGroup: apps, kind: HTTPRouteGroup, name: a}]".to_owned(),
                "unknown-match-kind spec.matches[0].apiGroup",
            ),
            ("v1alpha4", "[{kind: HTTPRouteGroup, name: A/b}]".to_owned(), "bad-name spec.matches[0].name"),
            ("v1alpha4", format!("[{}]", [good; 17].join(",")), "too-many-matches spec.matches"),
        ] {
            let text = text_by(version, &matches);
            assert_eq!(convert(&text).objects.len(), 0, "{matches}");
            assert_eq!(findings(&text), [want]);
        }
        let error = read_error(&text_by("v1alpha4", "[{kind: HTTPRouteGroup, nam: a}]"));
        assert_eq!(error.field, "spec.matches[0].nam");
    }

    #[test]
    fn a_service_elsewhere_puts_the_whole_split_out_of_force() {
        let good = "{service: v1, weight: 1}";
        for (service, backends, want) in [
            ("web.bank", good, "service-in-other-namespace spec.service"),
            ("web.shop.svc.example.org", good, "service-in-other-namespace spec.service"),
            ("", good, "bad-name spec.service"),
            ("Web", good, "bad-name spec.service"),
            (
                "web",
                "{service: v1, weight: 1}, {service: v2.bank.svc.cluster.local, weight: 1}",
                "service-in-other-namespace spec.backends[1].service",
            ),
            ("web", "", "no-backends spec.backends"),
        ] {
            let text = text(service, backends);
            assert_eq!(findings(&text), [want]);
            assert_eq!(convert(&text).objects, [], "{want}");
        }
    }

    #[test]
    fn a_weight_out_of_range_does_not_read() {
        for weight in ["-1", "1000001", "4294967297", "1.5", "half"] {
            let error = read_error(&text("web", &format!("{{service: v1, weight: {weight}}}")));
            assert_eq!(error.field, "spec.backends[0].weight", "{error}");
        }
        assert!(read_error(&text("web", "{service: v1}")).message.contains("weight"));
    }

    #[test]
    fn too_many_backends_are_not_in_force() {
        let backends = vec!["{service: v1, weight: 1}"; super::MAX_BACKENDS + 1].join(", ");
        let text = text("web", &backends);
        assert_eq!(findings(&text), ["too-many-backends spec.backends"]);
        assert_eq!(convert(&text).objects, []);
    }
}
