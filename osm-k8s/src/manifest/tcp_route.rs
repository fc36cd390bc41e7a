//! TCPRoute (specs.smi-spec.io/v1alpha4).

use std::num::NonZeroU16;

use osm_core::model;
use schemars::JsonSchema;
use serde::Deserialize;

use super::field::Ignored;
use super::{Conversion, Metadata, field};

/// A TCPRoute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpRoute {
    #[serde(default, rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(default, rename = "kind")]
    _kind: Ignored,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it matches.
    #[serde(default, deserialize_with = "field::nullable")]
    pub spec: TcpRouteSpec,
    #[serde(default, rename = "status")]
    _status: Ignored,
}

/// What a TCPRoute matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpRouteSpec {
    /// The match.
    #[serde(default, deserialize_with = "field::nullable")]
    pub matches: TcpMatch,
}

/// The ports of a TCPRoute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpMatch {
    /// A name, which nothing refers to.
    #[serde(default)]
    pub name: Option<String>,
    /// The destination ports; an empty list means all, as the specification says.
    #[serde(default, deserialize_with = "field::nullable")]
    pub ports: Vec<NonZeroU16>,
}

impl TcpRoute {
    /// The route as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let mut fact = model::TcpRoute::new(self.metadata.qualified_name());
        fact.meta = self.metadata.meta();
        let ports = &self.spec.matches.ports;
        fact.ports = (!ports.is_empty()).then(|| ports.iter().map(|port| port.get()).collect());
        Conversion::of(fact)
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::{fact, read_error};
    use osm_core::model::{MeshObject, TcpRoute};

    fn text(spec: &str) -> String {
        format!(
            "{{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {{name: r}}, spec: {spec}}}"
        )
    }

    fn route(spec: &str) -> TcpRoute {
        match fact(&text(spec)) {
            MeshObject::TcpRoute(route) => route,
            other => panic!("{other:?} is not a route"),
        }
    }

    #[test]
    fn listed_ports_count_once_each() {
        let ports = route("{matches: {name: db, ports: [3306, 3307, 3306]}}").ports.expect("a list");
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [3306, 3307]);
    }

    #[test]
    fn no_list_means_all_ports() {
        for spec in ["{}", "null", "{matches: {}}", "{matches: {ports: []}}", "{matches: {ports: null}}"] {
            assert_eq!(route(spec).ports, None, "{spec}");
        }
    }

    #[test]
    fn a_port_out_of_range_and_an_unknown_field_do_not_read() {
        for ports in ["[0]", "[65536]", "[-1]", "[web]"] {
            let error = read_error(&text(&format!("{{matches: {{ports: {ports}}}}}")));
            assert_eq!(error.field, "spec.matches.ports[0]", "{error}");
        }
        let error = read_error(&text("{matches: {port: [80]}}"));
        assert_eq!(error.field, "spec.matches.port", "{error}");
    }
}
