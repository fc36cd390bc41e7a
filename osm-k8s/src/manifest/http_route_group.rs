//! HTTPRouteGroup (specs.smi-spec.io/v1alpha4).
//!
//! A match that can't be understood fits no request; the others count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use osm_core::model;
use osm_core::name::{Kind, ObjectRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::conversion::{Findings, shown};
use super::field::Ignored;
use super::{Conversion, Metadata, field};

/// The most matches of one group.
pub const MAX_MATCHES: usize = 256;
/// The most headers of one match.
pub const MAX_HEADERS: usize = 64;

/// The methods that the specification knows, besides `*`.
const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// The method that stands for all.
const ANY_METHOD: &str = "*";

/// An HTTPRouteGroup.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRouteGroup {
    #[serde(default, rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it matches.
    pub spec: HttpRouteGroupSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

/// What an HTTPRouteGroup matches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["matches"]))]
pub struct HttpRouteGroupSpec {
    /// The matches; a request that fits any of them fits the group.
    #[serde(default, deserialize_with = "field::nullable")]
    #[schemars(extend("maxItems" = MAX_MATCHES))]
    pub matches: Vec<HttpMatch>,
}

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// The name that targets refer to.
    pub name: String,
    /// An expression for the whole path; empty or `None` fits all.
    #[serde(default)]
    pub path_regex: Option<String>,
    /// The methods; an empty list or `*` fits all.
    #[serde(default, deserialize_with = "field::nullable")]
    #[schemars(schema_with = "methods")]
    pub methods: Vec<String>,
    /// Expressions for headers, all of which must fit: a map, or a list of maps.
    #[serde(default, deserialize_with = "headers")]
    #[schemars(schema_with = "crate::crds::schema::headers")]
    pub headers: Vec<(String, String)>,
}

/// The schema of a list of methods.
fn methods(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<_> = [ANY_METHOD].into_iter().chain(METHODS).collect();
    json_schema!({ "type": "array", "items": { "type": "string", "enum": words } })
}

impl HttpRouteGroup {
    /// The group as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let name = self.metadata.qualified_name();
        let mut findings = Findings::about(ObjectRef::namespaced(Kind::HttpRouteGroup, &name));
        let mut fact = model::HttpRouteGroup::new(name);
        fact.meta = self.metadata.meta();
        if self.spec.matches.len() > MAX_MATCHES {
            let message = format!("only the first {MAX_MATCHES} matches count; split the group");
            findings.error("too-many-matches", "spec.matches", message);
        }
        let mut names = BTreeSet::new();
        for (index, one) in self.spec.matches.iter().take(MAX_MATCHES).enumerate() {
            let path = format!("spec.matches[{index}]");
            if !names.insert(&one.name) {
                let message = format!("a second match is called `{}`; a target gets both", shown(&one.name));
                findings.warning("duplicate-match", format!("{path}.name"), message);
            }
            fact.matches.extend(one.fact(&path, &mut findings));
        }
        findings.with(fact)
    }
}

impl HttpMatch {
    fn fact(&self, path: &str, findings: &mut Findings) -> Option<model::HttpMatch> {
        let methods = self.methods(path, findings);
        let headers = self.checked_headers(path, findings);
        Some(model::HttpMatch {
            name: self.name.clone(),
            path_regex: self.path_regex.clone().filter(|regex| !regex.is_empty()),
            methods: methods?,
            headers: headers?,
        })
    }

    fn methods(&self, path: &str, findings: &mut Findings) -> Option<model::Methods> {
        let mut methods = BTreeSet::new();
        let mut any = self.methods.is_empty();
        for (index, method) in self.methods.iter().enumerate() {
            let upper = method.to_ascii_uppercase();
            if upper == ANY_METHOD {
                any = true;
            } else if METHODS.contains(&upper.as_str()) {
                methods.insert(upper);
            } else {
                let message = format!(
                    "`{}` is not a method; use {} or `{ANY_METHOD}`. Until then the match fits no request",
                    shown(method),
                    METHODS.join(", ")
                );
                findings.error("unknown-method", format!("{path}.methods[{index}]"), message);
                return None;
            }
        }
        Some(if any { model::Methods::Any } else { model::Methods::These(methods) })
    }

    fn checked_headers(&self, path: &str, findings: &mut Findings) -> Option<Vec<(String, String)>> {
        let path = format!("{path}.headers");
        if self.headers.len() > MAX_HEADERS {
            let message = format!("more than {MAX_HEADERS} headers; the match fits no request");
            findings.error("too-many-headers", path, message);
            return None;
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            if !is_header_name(name) {
                let message = format!(
                    "`{}` is not a header name (for the host write `host`); the match fits no request",
                    shown(name)
                );
                findings.error("bad-header-name", path, message);
                return None;
            }
            let header = (name.to_ascii_lowercase(), value.clone());
            if !headers.contains(&header) {
                headers.push(header);
            }
        }
        Some(headers)
    }
}

/// Whether a text is a `token` of RFC 9110, section 5.6.2.
fn is_header_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(is_token)
}

/// Reads headers as a map or as a list of maps, in order.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of header names and expressions, or a list of such maps")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let map = BTreeMap::<String, String>::deserialize(MapAccessDeserializer::new(map))?;
            Ok(map.into_iter().collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut headers = Vec::new();
            while let Some(map) = list.next_element::<BTreeMap<String, String>>()? {
                headers.extend(map);
            }
            Ok(headers)
        }
    }

    deserializer.deserialize_any(Headers)
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{convert, fact, findings, read_error};
    use osm_core::model::{HttpRouteGroup, MeshObject, Methods};

    fn text(matches: &str) -> String {
        format!(
            "{{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {{name: g}}, \
             spec: {{matches: {matches}}}}}"
        )
    }

    fn group(matches: &str) -> HttpRouteGroup {
        match fact(&text(matches)) {
            MeshObject::HttpRouteGroup(group) => group,
            other => panic!("{other:?} is not a group"),
        }
    }

    #[test]
    fn methods_are_upper_case_and_once_each() {
        let group = group("[{name: a, pathRegex: /b, methods: [get, GET, Post]}]");
        assert_eq!(
            group.matches[0].methods,
            Methods::These(["GET", "POST"].map(str::to_owned).into_iter().collect())
        );
        assert_eq!(group.matches[0].path_regex.as_deref(), Some("/b"));
    }

    #[test]
    fn a_star_and_an_empty_list_are_any_method_and_an_empty_path_is_any_path() {
        for methods in ["['*']", "[]", "null", "[GET, '*']"] {
            let group = group(&format!("[{{name: a, pathRegex: '', methods: {methods}}}]"));
            assert_eq!(group.matches[0].methods, Methods::Any, "{methods}");
            assert_eq!(group.matches[0].path_regex, None);
        }
    }

    #[test]
    fn headers_are_a_map_or_a_list_of_maps_in_lower_case() {
        let both = [("host".to_owned(), "a".to_owned()), ("x-b".to_owned(), "c.*".to_owned())];
        for headers in
            ["[{Host: a}, {X-B: 'c.*'}]", "{host: a, x-b: 'c.*'}", "[{host: a, x-b: 'c.*'}, {HOST: a}]"]
        {
            assert_eq!(
                group(&format!("[{{name: a, headers: {headers}}}]")).matches[0].headers,
                both,
                "{headers}"
            );
        }
    }

    #[test]
    fn a_match_that_is_not_understood_fits_nothing_and_the_others_count() {
        let cases = [
            ("methods: [FETCH]", "unknown-method spec.matches[0].methods[0]"),
            ("methods: ['*', FETCH]", "unknown-method spec.matches[0].methods[1]"),
            ("headers: {':path': x}", "bad-header-name spec.matches[0].headers"),
            ("headers: {'': x}", "bad-header-name spec.matches[0].headers"),
        ];
        for (bad, want) in cases {
            let text = text(&format!("[{{name: a, {bad}}}, {{name: b}}]"));
            assert_eq!(findings(&text), [want]);
            let MeshObject::HttpRouteGroup(group) = &convert(&text).objects[0] else { panic!("not a group") };
            assert_eq!(group.matches.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b"]);
        }
    }

    #[test]
    fn too_many_matches_and_two_of_one_name_are_named() {
        let matches: Vec<_> = (0..=super::MAX_MATCHES).map(|n| format!("{{name: m{n}}}")).collect();
        assert_eq!(findings(&text(&format!("[{}]", matches.join(", ")))), ["too-many-matches spec.matches"]);
        assert_eq!(findings(&text("[{name: a}, {name: a}]")), ["duplicate-match spec.matches[1].name"]);
    }

    #[test]
    fn an_unknown_field_or_a_header_without_text_does_not_read() {
        let error = read_error(&text("[{name: a, path: /x}]"));
        assert_eq!(error.field, "spec.matches[0].path", "{error}");
        let error = read_error(&text("[{name: a, headers: [{x: [1]}]}]"));
        assert!(error.field.starts_with("spec.matches[0].headers"), "{error}");
    }
}
